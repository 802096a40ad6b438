/**
 * What the policy costs a packet. Each engine on its own, in rooms as the product makes them, beside
 * the same rooms with one allow-all rule; and with 10,000 conduits beside 100. Packets are UDP of 60
 * bytes, spread evenly over all conduits, denial events off; the smallest packet with the cheapest
 * tracking, so that the rules weigh most.
 *
 * A packet's price is the kernel's time from its arrival on an interface to its end behind another,
 * on one core, without whoever sent it (`engine.packets.c`).
 *
 * Growth of eBPF is that of the program alone by `bpftool prog run … repeat`. A repeated frame belongs
 * to the session that its first run opened, so for first packets the same program gets the same policy
 * with a time-out of 0 for UDP: every run finds its session over, removes it, and opens it again by
 * the whole way through the policy. The removal is paid at both sizes. Repeated runs find all they
 * read in the processor's caches, and packets of 10,000 conduits in turn don't: what they pay for that
 * is in the figure of the rooms, printed beside.
 */
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { run } from "@sallyport/enforce";
import type { Legs } from "@sallyport/policy";
import type { Bench, Result } from "./bench.ts";
import { inside } from "./engine.doors.ts";
import { FRAME_SLOT_BYTES, innerOnly, plantLegs } from "./engine.plant.ts";
import { PacketRoom, PacketSource, type RoomOptions } from "./engine.rooms.ts";
import { BareProgram, OneRule, OneRuleInFrame, OneRuleProgram } from "./engine.variants.ts";
import type { Engine } from "./engine.words.ts";
import { interleaved, median, roundsOr, spread } from "./ratio.ts";

const ROUNDS = 7;
/** The same in every room, whatever the number of conduits: what differs is the policy alone. */
const SESSIONS = 10_000;
/** Packets of each session once it is open. */
const TIMES = 10;
/** After a round all sessions end by themselves, so that the next round's are first packets again. */
const UDP_SECONDS = 1;
const SETTLE_MS = 1500;
const SESSIONS_PER_ZONE = 60_000;
const CONDUITS = { hundred: 100, thousand: 1000, tenThousand: 10_000 } as const;
/** Of the program's own runs: conduits picked evenly, runs of each. */
const SAMPLE = 100;
const REPEAT = 20_000;

type Kind = "nftables" | "ebpf";
/** Printed beside: the same question with the other idea of what the rooms are without a policy. */
const OTHER = {
  nftables: "to one rule in the product's own hooks",
  ebpf: "to a program that only marks",
} as const;
type Size = keyof typeof CONDUITS;
interface Price {
  readonly first: number;
  readonly established: number;
}

export const bench: Bench = {
  name: "engine.packets",
  goals: (["nftables", "ebpf"] as const).flatMap((kind) => [
    ...(["first", "established"] as const).map((which) => ({
      id: `${kind}-${which}`,
      what: `${kind}, 1,000 conduits, ${which} packets: throughput to the same rooms with one rule`,
      goal: ">= 0.8",
    })),
    ...(["first", "established"] as const).map((which) => ({
      id: `${kind}-growth-${which}`,
      what: `${kind}, ${which} packets: cost at 10,000 conduits to cost at 100`,
      goal: "<= 1.6",
    })),
  ]),

  async run() {
    const missing = await whyNot();
    if (missing !== undefined) {
      return bench.goals.map(({ id }) => ({ id, ratio: null, skipped: missing }));
    }
    await using source = await PacketSource.open();
    const results: Result[] = [];
    for (const kind of ["nftables", "ebpf"] as const) {
      // `BENCH_ENGINE=ebpf` for one engine alone.
      if (kind !== (process.env["BENCH_ENGINE"] ?? kind)) {
        const goals = bench.goals.filter(({ id }) => id.startsWith(kind));
        results.push(
          ...goals.map(({ id }) => ({ id, ratio: null, skipped: "left out by BENCH_ENGINE" })),
        );
        continue;
      }
      try {
        results.push(...(await measure(kind, source)));
      } catch (error) {
        // One engine that cannot be measured must not hide the other.
        const note = error instanceof Error ? error.message : String(error);
        const goals = bench.goals.filter(({ id }) => id.startsWith(kind));
        results.push(...goals.map(({ id }) => ({ id, ratio: null, note })));
      }
    }
    return results;
  },
};

async function whyNot(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return "needs root: network namespaces, eBPF";
  const { canBuild } = await inside("ebpf/build");
  return canBuild() ? undefined : "needs clang-14 and llvm-14";
}

async function measure(kind: Kind, source: PacketSource): Promise<Result[]> {
  const make = await makers(kind, source);
  const plant = (size: Size): Legs =>
    innerOnly(plantLegs(CONDUITS[size], "direct"), UDP_SECONDS, SESSIONS_PER_ZONE);
  await using stack = new AsyncDisposableStack();
  const room = async (name: string, size: Size, engine: Maker): Promise<PacketRoom> =>
    stack.use(await PacketRoom.open(source, { name, legs: plant(size), makeEngine: engine }));
  const one = await room("o", "thousand", make.oneRule);
  const other = await room("f", "thousand", make.other);
  const hundred = await room("c", "hundred", make.ours);
  const thousand = await room("k", "thousand", make.ours);
  const tenThousand = await room("x", "tenThousand", make.ours);
  const seen = await interleaved(roundsOr(ROUNDS), {
    one: (round) => price(kind, one, round),
    other: (round) => price(kind, other, round),
    hundred: (round) => price(kind, hundred, round),
    thousand: (round) => price(kind, thousand, round),
    tenThousand: (round) => price(kind, tenThousand, round),
  });
  const of = (name: keyof typeof seen, which: keyof Price): number[] =>
    seen[name].map((found) => found[which]);
  const toOther = (which: keyof Price): string =>
    (median(of("other", which)) / median(of("thousand", which))).toFixed(2);
  const results = (["first", "established"] as const).flatMap((which): Result[] => {
    const [rule, policy] = [of("one", which), of("thousand", which)];
    const [small, large] = [of("hundred", which), of("tenThousand", which)];
    return [
      {
        id: `${kind}-${which}`,
        ratio: median(rule) / median(policy),
        note: `${spread(rule, policy)}; ${OTHER[kind]} ${toOther(which)}`,
      },
      {
        id: `${kind}-growth-${which}`,
        ratio: median(large) / median(small),
        note: spread(large, small),
      },
    ];
  });
  if (kind !== "ebpf") return results;
  const established = await programGrowth(source, hundred, tenThousand);
  await hundred.endSessionsAtOnce();
  await tenThousand.endSessionsAtOnce();
  const first = await programGrowth(source, hundred, tenThousand);
  const byId = new Map([
    ["ebpf-growth-first", first],
    ["ebpf-growth-established", established],
  ]);
  return results.map((inRooms) => {
    const growth = byId.get(inRooms.id);
    if (growth === undefined) return inRooms;
    const { ratio, note = "" } = inRooms;
    return {
      ...growth,
      id: inRooms.id,
      note: `${growth.note}; in the rooms ${ratio?.toFixed(2) ?? "–"}, ${note}`,
    };
  });
}

type Maker = RoomOptions["makeEngine"];

async function makers(
  kind: Kind,
  source: PacketSource,
): Promise<{ readonly ours: Maker; readonly oneRule: Maker; readonly other: Maker }> {
  if (kind === "nftables") {
    const { NftablesEngine } = await inside("nftables/engine");
    const ours = (netns: string): Engine => new NftablesEngine({ point: "inner", netns });
    return {
      ours,
      oneRule: (netns) => new OneRule(netns),
      other: (netns) => new OneRuleInFrame(netns, ours(netns)),
    };
  }
  const [{ EbpfEngine }, { build }] = [await inside("ebpf/engine"), await inside("ebpf/build")];
  const object = path.join(source.directory, "one-rule.o");
  build(object, ["ALLOW_ALL"]);
  return {
    ours: (netns, directory) => new EbpfEngine({ point: "inner", netns, directory }),
    oneRule: (netns, directory) => new OneRuleProgram(netns, directory, object),
    other: (netns) => new BareProgram(netns, source.at("programs", "bare")),
  };
}

/** Nanoseconds per packet: each session's first, then more of the same sessions. */
async function price(kind: Kind, room: PacketRoom, round: number): Promise<Price> {
  const frames = room.frames(SESSIONS, round);
  const first = await room.send(frames, 1);
  const established = await room.send(frames, TIMES);
  // Connection tracking keeps ended entries until somebody looks; the program's timers need a moment.
  if (kind === "nftables") await run("conntrack", ["-F"], { netns: room.netns });
  else await sleep(SETTLE_MS);
  return { first, established };
}

/** The program alone, by the kernel's test run: no room, no stack, the same packet over and over. */
async function programGrowth(
  source: PacketSource,
  hundred: PacketRoom,
  tenThousand: PacketRoom,
): Promise<{ readonly ratio: number; readonly note: string }> {
  const seen = await interleaved(roundsOr(ROUNDS), {
    hundred: () => programPrice(source, hundred),
    tenThousand: () => programPrice(source, tenThousand),
  });
  const ratio = median(seen.tenThousand) / median(seen.hundred);
  const nanoseconds = `${median(seen.tenThousand).toFixed(0)} to ${median(seen.hundred).toFixed(0)} ns`;
  const note = `bpftool prog run, ${nanoseconds}, ${spread(seen.tenThousand, seen.hundred)}`;
  return { ratio, note };
}

async function programPrice(source: PacketSource, room: PacketRoom): Promise<number> {
  const program = path.join(path.dirname(room.pinned), "inner");
  // Round 0 has a session per conduit, in the order of interfaces; every so-many-th is taken.
  const { bytes, bursts } = room.frames(SESSIONS, 0);
  const lines: string[] = [];
  for (let index = 0; index < SAMPLE; index++) {
    const at = index * Math.floor(SESSIONS / SAMPLE);
    const device = bursts.find(({ first, end }) => first <= at && at < end)?.interface ?? "";
    const data = path.join(source.directory, `frame-${index}`);
    const context = path.join(source.directory, `context-${device}`);
    fs.writeFileSync(
      data,
      bytes.subarray(at * FRAME_SLOT_BYTES, at * FRAME_SLOT_BYTES + FRAME_SLOT_BYTES - 4),
    );
    fs.writeFileSync(context, contextOf(room.ifindexOf(device)));
    lines.push(`prog run pinned ${program} data_in ${data} ctx_in ${context} repeat ${REPEAT}`);
  }
  const text = await run("bpftool", ["-j", "batch", "file", "-"], {
    input: `${lines.join("\n")}\n`,
    netns: room.netns,
  });
  const answers = JSON.parse(text) as readonly {
    readonly output: { readonly retval: number; readonly duration: number };
  }[];
  if (answers.some(({ output }) => output.retval !== 0)) throw new Error("a frame was refused");
  return answers.reduce((sum, { output }) => sum + output.duration, 0) / answers.length;
}

/** `struct __sk_buff` with nothing but where the packet came in. */
function contextOf(ifindex: number): Uint8Array {
  const context = new DataView(new ArrayBuffer(192));
  context.setUint32(36, ifindex, true);
  return new Uint8Array(context.buffer);
}
