import type { Json } from "@sallyport/core";
import type { ConduitStatus, Status } from "../status.ts";
import { zonesText } from "./flow-commands.ts";
import { table } from "./table.ts";

const DENIALS_SHOWN = 12;

/** The status as a person reads it: state, what flows, what was denied and why, what to look at. */
export function statusText(answer: Json): string {
  const status = answer as unknown as Status;
  return [
    ...head(status),
    ...conduits(status),
    ...grants(status),
    ...denials(status),
    ...alarms(status),
  ].join("\n");
}

function head(status: Status): string[] {
  if (status.generation === undefined) {
    return [
      "No policy is in force: nothing passes.",
      "  next: sallyport policy validate FILE, then sallyport apply FILE",
    ];
  }
  const pending =
    status.pending === undefined
      ? []
      : [
          `generation ${status.pending.generation} is PENDING until ${status.pending.confirmBy}: sallyport confirm`,
        ];
  return [`${status.site ?? ""}: generation ${status.generation}`, ...pending, ""];
}

function conduits(status: Status): string[] {
  if (status.conduits.length === 0) return [];
  const rows = status.conduits.map((conduit) => [
    conduit.name,
    conduit.via,
    `${conduit.from} → ${conduit.to}`,
    stateOf(conduit, status),
    String(conduit.packets),
  ]);
  return [table(["conduit", "via", "from → to", "state", "packets"], rows), ""];
}

/** A session conduit is closed by itself; what is open are the grants under it. */
function stateOf({ name, open, until, reason = "" }: ConduitStatus, status: Status): string {
  const live = status.grants.filter(({ conduit }) => conduit === name).length;
  if (!open && live > 0) return live === 1 ? "open for a grant" : `open for ${live} grants`;
  if (!open) return `closed: ${reason}`;
  return until === undefined ? "open" : `open until ${shortTime(until)}`;
}

function grants(status: Status): string[] {
  if (status.grants.length === 0) return [];
  const rows = status.grants.map((grant) => [
    grant.id,
    grant.person,
    `${grant.source} → ${grant.asset}`,
    `${grant.until.slice(0, 19).replace("T", " ")} UTC`,
    String(grant.packets),
  ]);
  return [table(["grant", "person", "from → to", "ends", "packets"], rows), ""];
}

function denials(status: Status): string[] {
  if (status.denials.length === 0) return ["No packet was denied so far.", ""];
  const most = [...status.denials].sort((a, b) => b.packets - a.packets);
  const rows = most
    .slice(0, DENIALS_SHOWN)
    .map((denial) => [
      denial.reason,
      zonesText(denial.sourceZone, denial.destinationZone, denial.reason),
      denial.conduit,
      denial.point,
      String(denial.packets),
    ]);
  const rest = most.length - rows.length;
  return [
    table(["denied because", "from → to", "conduit", "at", "packets"], rows),
    ...(rest > 0 ? [`and ${rest} more kinds (sallyport flows)`] : []),
    "single packets, and requests that gates refused: sallyport denials",
    "",
  ];
}

function alarms(status: Status): string[] {
  const crossing = status.tripwire.filter(({ packets }) => packets > 0);
  return [
    ...status.islands.map((zone) => `island: ${zone} is cut off`),
    ...crossing.map(({ room, packets }) =>
      room === "outer" || room === "inner"
        ? `tripwire: ${packets} packets in ${room} that its engine did not judge were stopped by the guard`
        : `tripwire: ${packets} packets tried to cross dmz/${room} by themselves`,
    ),
    ...(status.timeTrusted
      ? []
      : ["the clock stepped: windows are shut and grants are refused until it is trusted"]),
    ...status.degraded.map((sentence) => `degraded: ${sentence}`),
  ];
}

function shortTime(iso: string): string {
  return iso.replace("T", " ").replace(/:\d\d\.\d+Z$/, " UTC");
}
