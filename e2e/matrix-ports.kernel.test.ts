import assert from "node:assert/strict";
import process from "node:process";
import { after, before, test } from "node:test";
import { whyNoNamespaces } from "../lab/namespaces.ts";
import { HOSTS, type HostName } from "../lab/plant.ts";
import { othersOf } from "./matrix/plant-ports.ts";
import { conversations, judge, type Round, scanRound } from "./matrix/rounds.ts";
import { buildStand, type Stand } from "./matrix/stand.ts";

const why = process.getuid?.() === 0 ? await whyNoNamespaces() : "needs root: rooms, eBPF and uids";
const SOURCES: readonly HostName[] = HOSTS.map(({ name }) => name);
let stand: Stand | undefined;
const rounds: Round[] = [];

before(async () => {
  if (why === undefined) stand = await buildStand("p");
});
after(async () => {
  await stand?.site.destroy();
});

test("all 65,535 ports of one target from every source are as the matrix says", async (t) => {
  if (stand === undefined) {
    t.skip(why ?? "no plant");
    return;
  }
  const here = stand;
  const faults: string[] = [];
  const probes = SOURCES.map((from, index) => {
    const others = othersOf(from);
    const [open] = conversations(here.first, { from, targets: others, ports: "-" }, "syn");
    // Where the matrix gives nothing, each source takes another target.
    return { from, targets: [open?.target ?? others[index % others.length] ?? ""], ports: "-" };
  });
  rounds.push(await scanRound(here.site, "syn", probes, faults, "all ports"));
  assert.deepEqual(faults, []);
});

test("no link showed anything that the matrix does not say", async (t) => {
  if (stand === undefined) {
    t.skip(why ?? "no plant");
    return;
  }
  const seen = await stand.links.stop();
  const [round] = rounds;
  assert.ok(round !== undefined && round.required.size > 0);
  assert.deepEqual(judge(round, seen), []);
});
