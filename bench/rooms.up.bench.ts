/**
 * The demo plant's rooms, guard routes and both engines from nothing to the last read-back, beside
 * one start of Node that does nothing: an instance that comes up is not waited for.
 */
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { type Engines, netnsOf, RoomSet, run } from "@sallyport/enforce";
import { compilePolicy, type Legs } from "@sallyport/policy";
import { buildPlant } from "../lab/topology.ts";
import type { Bench } from "./bench.ts";
import { inside } from "./engine.doors.ts";
import { loweringOf, NOW } from "./engine.plant.ts";
import { interleaved, median, roundsOr, spread, tookMs } from "./ratio.ts";

const ROUNDS = 9;

export const bench: Bench = {
  name: "rooms.up",
  goals: [
    {
      id: "up-to-node",
      what: "the plant's rooms, guards and both engines up and read back, to one `node -e 0`",
      goal: "<= 15",
    },
  ],

  async run() {
    if (process.getuid?.() !== 0) {
      const skipped = "needs root: network namespaces, eBPF";
      return bench.goals.map(({ id }) => ({ id, ratio: null, skipped }));
    }
    const legs = plantLegs();
    const plant = await buildPlant({ prefix: `spb${process.pid}`, devices: false });
    const directory = fs.mkdtempSync(`/dev/shm/sallyport-bench-${process.pid}-`);
    try {
      const rooms = await roomsAt(directory, plant.box);
      const seen = await interleaved(roundsOr(ROUNDS), {
        up: () => upMs(rooms, legs),
        node: () => tookMs(() => run(process.execPath, ["-e", "0"])),
      });
      const ratio = median(seen.up) / median(seen.node);
      return [{ id: "up-to-node", ratio, note: spread(seen.up, seen.node) }];
    } finally {
      await plant.destroy();
      fs.rmSync(directory, { recursive: true, force: true });
    }
  },
};

function plantLegs(): Legs {
  const name = "site.yaml";
  const bytes = fs.readFileSync(path.join(import.meta.dirname, "../lab/plant", name));
  const { legs } = compilePolicy([{ name, bytes }], { now: NOW });
  if (legs === undefined) throw new Error(`${name} was refused`);
  return legs;
}

async function roomsAt(directory: string, box: string): Promise<RoomSet> {
  const { NftablesEngine } = await inside("nftables/engine");
  const { EbpfEngine } = await inside("ebpf/engine");
  const { TranslatedEngine } = await inside("apply/translation");
  const name = `sbr${process.pid}`;
  const [runDir, stateDir] = [path.join(directory, "run"), path.join(directory, "state")];
  const instance = { name, runDir, stateDir, netnsPrefix: name };
  const netns = netnsOf(instance, "inner");
  const samples = { interface: "mirror0", perSecond: 5, burst: 10 };
  const bpf = path.join(directory, "bpf");
  const program = new EbpfEngine({ point: "inner", netns, directory: bpf, samples });
  const engines: Engines = {
    outer: new NftablesEngine({ point: "outer", netns: netnsOf(instance, "outer") }),
    inner: new TranslatedEngine(program, netns),
  };
  return new RoomSet(instance, engines, `/run/netns/${box}`);
}

/** As the enforcer boots; going down again is not measured. */
async function upMs(rooms: RoomSet, legs: Legs): Promise<number> {
  const { outer, inner } = rooms.engines;
  try {
    return await tookMs(async () => {
      await rooms.up(legs);
      const lowerings = { outer: loweringOf(legs, "outer"), inner: loweringOf(legs, "inner") };
      await Promise.all([outer.load(lowerings.outer), inner.load(lowerings.inner)]);
      await inner.select({ confirmed: lowerings.inner.slot });
      await outer.select({ confirmed: lowerings.outer.slot });
      const read = await Promise.all([outer.readBack(), inner.readBack()]);
      if (read.some(({ slot }) => slot !== lowerings.outer.slot)) throw new Error("not in force");
    });
  } finally {
    await rooms.down();
  }
}
