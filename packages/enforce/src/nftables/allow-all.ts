/** What benchmarks compare with. Nothing else loads it. */
import { MARKS, type Slot } from "../engine.ts";
import * as nft from "./json.ts";

/** Connection tracking and one rule, without the engine. */
export function allowAll(): nft.Document {
  const chain = { name: "judge", type: "filter", hook: "prerouting", prio: -110, policy: "drop" };
  const tracked = nft.match(nft.ct("state"), "in", ["new", "established", "related"]);
  return {
    nftables: [
      nft.addTable("ip"),
      nft.add("chain", chain),
      nft.rule("judge", tracked, nft.set(nft.meta("mark"), MARKS.pass), nft.ACCEPT),
    ],
  };
}

/**
 * The same engine with one rule instead of a policy, as `ALLOW_ALL` builds the other one: sessions, budgets,
 * hits and peers as ever, no lookup of source, target or cell. To be loaded over a filled slot.
 */
export function oneRule(slot: Slot, id: number): nft.Document {
  const mark = nft.meta("mark");
  const insert = (...expr: nft.Json[]): nft.Command => ({
    insert: { rule: { family: "ip", table: nft.TABLE, chain: `slot_${slot}`, expr } },
  });
  const fresh = nft.match(nft.ct("mark"), "==", 0);
  // Each insert puts its rule before all others.
  return {
    nftables: [
      insert(nft.goto(`sourced_${slot}`)),
      insert(fresh, nft.set(mark, id), nft.goto(`found_${slot}`)),
    ],
  };
}
