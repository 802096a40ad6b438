/**
 * Legs of 10,000 conduits into both engines, beside plain `nft -f` of the same outer rule set with its
 * counters. Every conduit goes through a gate, so each has a leg at both points.
 */
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { run } from "@sallyport/enforce";
import type { Legs } from "@sallyport/policy";
import type { Bench } from "./bench.ts";
import { inside } from "./engine.doors.ts";
import { loweringOf, plantLegs } from "./engine.plant.ts";
import type { Engine, Lowering } from "./engine.words.ts";
import { interleaved, median, roundsOr, spread, tookMs } from "./ratio.ts";

const CONDUITS = 10_000;
const ROUNDS = 7;

export const bench: Bench = {
  name: "engine.load",
  goals: [
    {
      id: "legs-to-nft",
      what: "10,000 conduits, legs into both engines: time to that of nft -f of the outer rule set",
      goal: "<= 6",
    },
  ],

  async run() {
    if (process.getuid?.() !== 0) {
      const skipped = "needs root: network namespaces, eBPF";
      return bench.goals.map(({ id }) => ({ id, ratio: null, skipped }));
    }
    await using engines = await BothEngines.open(plantLegs(CONDUITS, "proxy"));
    const seen = await interleaved(roundsOr(ROUNDS), {
      nft: () => engines.plainNft(),
      apply: () => engines.apply(),
    });
    const load = seen.apply.map(({ loadMs }) => loadMs);
    const whole = seen.apply.map(({ loadMs, readMs }) => loadMs + readMs);
    const readToo = (median(whole) / median(seen.nft)).toFixed(1);
    return [
      {
        id: "legs-to-nft",
        ratio: median(load) / median(seen.nft),
        note: `${spread(load, seen.nft)}; ${readToo} with a whole read-back`,
      },
    ];
  },
};

class BothEngines implements AsyncDisposable {
  readonly #legs: Legs;
  readonly #engines: { readonly outer: Engine; readonly inner: Engine };
  readonly #prefix: string;
  readonly #directory: string;
  #generation = 0;

  static async open(legs: Legs): Promise<BothEngines> {
    const { NftablesEngine } = await inside("nftables/engine");
    const { EbpfEngine } = await inside("ebpf/engine");
    const { TranslatedEngine } = await inside("apply/translation");
    const prefix = `spb${process.pid}`;
    const directory = fs.mkdtempSync(`/dev/shm/sallyport-bench-${process.pid}-`);
    const netns = `${prefix}-inner`;
    const program = new EbpfEngine({
      point: "inner",
      netns,
      directory: path.join(directory, "bpf"),
    });
    const outer = new NftablesEngine({ point: "outer", netns: `${prefix}-outer` });
    const inner = new TranslatedEngine(program, netns);
    const both = new BothEngines(legs, { outer, inner }, prefix, directory);
    try {
      await both.#stand();
    } catch (cause) {
      await both[Symbol.asyncDispose]();
      throw cause;
    }
    return both;
  }

  private constructor(
    legs: Legs,
    engines: { readonly outer: Engine; readonly inner: Engine },
    prefix: string,
    directory: string,
  ) {
    this.#legs = legs;
    this.#engines = engines;
    this.#prefix = prefix;
    this.#directory = directory;
  }

  get #ruleset(): string {
    return path.join(this.#directory, "outer.nft");
  }

  async #stand(): Promise<void> {
    for (const room of ["outer", "inner"])
      await run("ip", ["netns", "add", `${this.#prefix}-${room}`]);
    await this.#both((engine) => engine.install(this.#legs));
    // Both slots once: from then on each load replaces what stood in its slot, as in daily life.
    await this.apply();
    const netns = `${this.#prefix}-outer`;
    fs.writeFileSync(this.#ruleset, await run("nft", ["list", "ruleset"], { netns }));
    await this.apply();
  }

  /** What nft itself takes for the rules, sets and counters, from nothing. */
  async plainNft(): Promise<number> {
    const netns = `${this.#prefix}-nft`;
    await run("ip", ["netns", "add", netns]);
    try {
      return await tookMs(() => run("nft", ["-f", this.#ruleset], { netns }));
    } finally {
      await run("ip", ["netns", "del", netns]);
    }
  }

  async apply(): Promise<{ readonly loadMs: number; readonly readMs: number }> {
    this.#generation++;
    const loadMs = await tookMs(async () => {
      const { outer, inner } = this.#lowerings();
      await this.#both((engine, point) => engine.load(point === "outer" ? outer : inner));
      await this.#engines.inner.select({ confirmed: inner.slot });
      await this.#engines.outer.select({ confirmed: outer.slot });
    });
    return { loadMs, readMs: await this.#readMs() };
  }

  #lowerings(): { readonly outer: Lowering; readonly inner: Lowering } {
    return {
      outer: loweringOf(this.#legs, "outer", this.#generation),
      inner: loweringOf(this.#legs, "inner", this.#generation),
    };
  }

  #readMs(): Promise<number> {
    return tookMs(() => this.#both((engine) => engine.readBack()));
  }

  async #both<Value>(
    work: (engine: Engine, point: "outer" | "inner") => Promise<Value>,
  ): Promise<void> {
    await Promise.all(
      (["outer", "inner"] as const).map((point) => work(this.#engines[point], point)),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#both((engine) => engine.remove()).catch(() => {});
    for (const netns of fs.readdirSync("/run/netns")) {
      if (netns.startsWith(`${this.#prefix}-`)) await run("ip", ["netns", "del", netns]);
    }
    fs.rmSync(this.#directory, { recursive: true, force: true });
  }
}
