/** Appending to the Merkle ledger beside a hash chain, and beside a bare insert when each record is a commit. */
import fs from "node:fs";
import { canonicalJson } from "@sallyport/core";
import type { Bench } from "./bench.ts";
import { act, makeFolder, openBare, openBenchLedger, openChain } from "./ledger.chain.ts";
import { interleaved, median, roundsOr, spread, tookMs } from "./ratio.ts";

const ROUNDS = 9;
/** As many as a checkpoint covers. */
const GROUP = 256;
const GROUPS = 24;
/** Each waits for the disk. */
const SINGLES = 200;

export const bench: Bench = {
  name: "ledger.append",
  goals: [
    {
      id: "append-to-chain",
      what: "rate of appends, 256 a commit, to that of a hash chain with the same JSON, commitments and commits",
      goal: ">= 0.8",
    },
    {
      id: "commit-to-insert",
      what: "rate with one commit per record, to that of a bare SQLite insert",
      goal: ">= 0.5",
    },
  ],

  async run() {
    const folder = makeFolder();
    const ledger = openBenchLedger(`${folder}/ledger`);
    const chain = openChain(folder);
    const bare = openBare(folder);
    let number = 0;
    const group = () => Array.from({ length: GROUP }, () => act(number++));
    try {
      const grouped = await interleaved(roundsOr(ROUNDS), {
        ledger: async () => {
          const groups = Array.from({ length: GROUPS }, group);
          return tookMs(async () => {
            for (const one of groups) await ledger.append(one);
          });
        },
        chain: async () => {
          const groups = Array.from({ length: GROUPS }, group);
          return tookMs(async () => {
            for (const one of groups) chain.append(one);
          });
        },
      });
      const single = await interleaved(roundsOr(ROUNDS), {
        ledger: () =>
          tookMs(async () => {
            for (let at = 0; at < SINGLES; at++) await ledger.append([act(number++)]);
          }),
        bare: () =>
          tookMs(async () => {
            for (let at = 0; at < SINGLES; at++) bare.insert(canonicalJson(act(number++)));
          }),
      });
      // Rates are the other way around than times.
      return [
        {
          id: "append-to-chain",
          ratio: median(grouped.chain) / median(grouped.ledger),
          note: spread(grouped.chain, grouped.ledger),
        },
        {
          id: "commit-to-insert",
          ratio: median(single.bare) / median(single.ledger),
          note: spread(single.bare, single.ledger),
        },
      ];
    } finally {
      await ledger.close();
      chain.close();
      bare.close();
      fs.rmSync(folder, { recursive: true });
    }
  },
};
