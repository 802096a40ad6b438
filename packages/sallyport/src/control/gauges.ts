/** What Prometheus is told beside the API's own counters: docs/reference/metrics.md. */
import type { EventHub, Metrics, Sample } from "@sallyport/api";
import type { Forwarder } from "../forward/forwarder.ts";
import type { Status } from "../status.ts";
import type { AccessFile } from "./access-log.ts";
import type { LiveNews } from "./live.ts";

export interface GaugeMeans {
  readonly metrics: Metrics;
  readonly live: LiveNews;
  readonly hub: EventHub;
  readonly forwarder: Forwarder;
  readonly access: Pick<AccessFile, "lost">;
  /** Sign-ins that are alive, as counted last. */
  readonly sessions: () => number | undefined;
  readonly readiness: () => ReadonlyMap<string, boolean>;
}

export function addGauges(means: GaugeMeans): void {
  addStatus(means);
  addRecords(means);
  const { metrics, hub, access, sessions, readiness } = means;
  metrics.read("sallyport_sign_ins", "Sign-ins that are alive.", "gauge", () => one(sessions()));
  metrics.read("sallyport_process_ready", "Whether a process answers.", "gauge", () =>
    [...readiness()].map(([process, ready]) => ({ labels: { process }, value: Number(ready) })),
  );
  metrics.read(
    "sallyport_live_streams_too_slow_total",
    "Streams that were ended because their client read too slowly.",
    "counter",
    () => [{ value: hub.tooSlow }],
  );
  metrics.read(
    "sallyport_access_log_lost_total",
    "Lines of the access log that no disk took.",
    "counter",
    () => [{ value: access.lost }],
  );
}

function addStatus({ metrics, live }: GaugeMeans): void {
  const gauge = (name: string, help: string, read: (status: Status) => number | undefined): void =>
    metrics.read(`sallyport_${name}`, help, "gauge", () =>
      live.status === undefined ? [] : one(read(live.status)),
    );
  gauge("generation", "The confirmed generation.", ({ generation }) => generation);
  gauge("change_pending", "1 while a change waits to be confirmed.", ({ pending }) =>
    Number(pending !== undefined),
  );
  gauge("degraded", "Promises that do not hold.", ({ degraded }) => degraded.length);
  gauge("time_trusted", "0 after the clock stepped.", ({ timeTrusted }) => Number(timeTrusted));
  gauge("islands", "Zones that are cut off.", ({ islands }) => islands.length);
  gauge("conduits", "Conduits of the policy.", ({ conduits }) => conduits.length);
  gauge("conduits_open", "Conduits that are open now.", ({ conduits }) => {
    return conduits.filter(({ open }) => open).length;
  });
  gauge("grants", "Grants that live.", ({ grants }) => grants.length);
  metrics.read(
    "sallyport_status_age_seconds",
    "Since the enforcer told its status, from which these are.",
    "gauge",
    () => one(live.statusAgeMs === undefined ? undefined : live.statusAgeMs / 1000),
  );
  metrics.read(
    "sallyport_refused_packets",
    "Packets refused in this generation, by engine and reason.",
    "gauge",
    () => denials(live.status),
  );
}

/** A gauge: the kernels' counters begin anew with a generation. */
function denials(status: Status | undefined): readonly Sample[] {
  const sums = new Map<string, { point: string; reason: string; packets: number }>();
  for (const { point, reason, packets } of status?.denials ?? []) {
    const key = `${point} ${reason}`;
    sums.set(key, { point, reason, packets: (sums.get(key)?.packets ?? 0) + packets });
  }
  return [...sums.values()].map(({ point, reason, packets }) => ({
    labels: { point, reason },
    value: packets,
  }));
}

function addRecords({ metrics, live, forwarder }: GaugeMeans): void {
  metrics.read("sallyport_ledger_records", "Records in the ledger.", "gauge", () =>
    one(live.head?.size),
  );
  metrics.read(
    "sallyport_ledger_signed_records",
    "Records that the last signed head covers.",
    "gauge",
    () => one(live.head?.signedSize),
  );
  metrics.read(
    "sallyport_sign_in_failures_total",
    "Sign-ins that were refused, since this process started.",
    "counter",
    () => [{ value: live.counted.get("control.sign-in-refused") ?? 0 }],
  );
  const each = (read: (state: ReturnType<Forwarder["states"]>[number]) => number) => () =>
    forwarder
      .states()
      .map((state) => ({ labels: { destination: state.name }, value: read(state) }));
  metrics.read(
    "sallyport_forwarding_behind_records",
    "Records that a destination has not taken yet.",
    "gauge",
    each(({ behind }) => behind),
  );
  metrics.read(
    "sallyport_forwarding_failures",
    "Tries that failed since the last one that did not.",
    "gauge",
    each(({ failures }) => failures),
  );
}

function one(value: number | undefined): readonly Sample[] {
  return value === undefined ? [] : [{ value }];
}
