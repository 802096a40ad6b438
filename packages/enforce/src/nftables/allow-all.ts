/** What benchmarks compare with: the same hooks and connection tracking, and one rule. Nothing else loads it. */
import { MARKS } from "../engine.ts";
import * as nft from "./json.ts";

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
