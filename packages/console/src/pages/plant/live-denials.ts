/** Refusals as they are told live: by zones and reason, seconds after they happened and before they are in any list. */
import type { Flow } from "../../api/queries.ts";

/** More kinds of refusals than a person looks at. */
export const LIVE_DENIALS_MAX = 200;
const MINUTE_MS = 60_000;

/** Without addresses: an event tells kinds, the list tells who. */
export function readDenial(text: string): Flow | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { at, data } = value as Readonly<Record<string, unknown>>;
  if (typeof at !== "string" || typeof data !== "object" || data === null) return undefined;
  const told = data as Readonly<Record<string, unknown>>;
  const word = (name: string): string => {
    const found = told[name];
    return typeof found === "string" ? found : "";
  };
  const packets = told["packets"];
  const [sourceZone, destinationZone] = [word("sourceZone"), word("destinationZone")];
  if (typeof packets !== "number" || packets <= 0) return undefined;
  return {
    ...{ start: at, point: word("point"), conduit: word("conduit"), reason: word("reason") },
    ...{ source: "", destination: "", sourceZone, destinationZone, protocol: "", port: 0 },
    ...{ function: "", accepted: 0, refused: packets, sampled: 0 },
  };
}

/** The list, and what was told live and is not in it yet: a minute's row begins before its last packet. */
export function withLive(listed: readonly Flow[], live: readonly Flow[]): readonly Flow[] {
  const isListed = (told: Flow): boolean =>
    listed.some(
      (row) =>
        row.sourceZone === told.sourceZone &&
        row.destinationZone === told.destinationZone &&
        row.reason === told.reason &&
        Date.parse(row.start) + MINUTE_MS >= Date.parse(told.start) - MINUTE_MS,
    );
  return [...listed, ...live.filter((told) => !isListed(told))];
}
