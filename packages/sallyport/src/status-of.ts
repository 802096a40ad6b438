import { formatIpv4 } from "@sallyport/core";
import type { Counters, Enforcement } from "@sallyport/enforce";
import { livenessOf } from "@sallyport/policy/legs";
import type { Status } from "./status.ts";

/** The gateway's state in a person's words, from what the enforcer holds and the kernels count. */
export function statusOf(
  instance: string,
  enforcement: Enforcement,
  counters: Counters,
  nowMs: number,
): Status {
  const { confirmed, pending, islands, timeTrusted, confirmBy } = enforcement.status();
  const legs = enforcement.legs();
  const hits = (name: string) => counters.hits.filter((hit) => hit.name === name);
  const grantPackets = (id: string) =>
    counters.hits.filter((hit) => hit.grant === id).reduce((total, hit) => total + hit.packets, 0);
  const sum = (name: string, field: "packets" | "bytes") =>
    hits(name).reduce((total, hit) => total + hit[field], 0);
  return {
    instance,
    ...(legs === undefined ? {} : { site: legs.site }),
    ...(confirmed === undefined ? {} : { generation: confirmed.number }),
    ...(pending === undefined || confirmBy === undefined
      ? {}
      : { pending: { generation: pending.number, confirmBy: new Date(confirmBy).toISOString() } }),
    degraded: enforcement.degraded(),
    timeTrusted,
    islands,
    conduits: (legs?.conduits ?? []).map((conduit) => {
      const live = livenessOf(conduit, nowMs, new Set(islands), timeTrusted);
      return {
        ...{ name: conduit.name, via: conduit.via },
        ...{ from: conduit.fromZones.join(", "), to: conduit.toZones.join(", ") },
        open: live.open,
        ...(live.until === null ? {} : { until: new Date(live.until).toISOString() }),
        ...(live.open ? {} : { reason: live.closedReason }),
        ...{ packets: sum(conduit.name, "packets"), bytes: sum(conduit.name, "bytes") },
      };
    }),
    grants: enforcement.listGrants().map(({ id, person, conduit, asset, source, notAfter }) => ({
      ...{ id, person, conduit, asset, source: formatIpv4(source) },
      ...{ until: new Date(notAfter).toISOString(), packets: grantPackets(id) },
    })),
    denials: counters.denials.map(({ id: _id, name: conduit, ...told }) => ({ ...told, conduit })),
    tripwire: counters.tripwires.map(({ room, inAddrErrors, inNoRoutes, forwDatagrams }) => ({
      room,
      packets: inAddrErrors + inNoRoutes + forwDatagrams,
    })),
  };
}
