/**
 * What the policy costs a packet. Each engine on its own, in rooms as the product makes them, beside
 * the same rooms with one allow-all rule; and with 10,000 conduits beside 100. Packets are UDP of 60
 * bytes, spread evenly over all conduits, denial events off; the smallest packet with the cheapest
 * tracking, so that the rules weigh most.
 *
 * What "the same rooms with one allow-all rule" holds, the same idea for both engines: the room and the
 * engine are the product's, with screen, sessions, live set, budget, counters of hits and peers, and the
 * refusals; only the look-ups of source, target and conduit gave way to one rule, under whose one
 * number everything passes. For nftables that is `OneRule` (`nftables/allow-all.ts`, `oneRule`), for eBPF the
 * program built with ALLOW_ALL. The goal is about this one. It leaves out what sessions, budgets and
 * counting cost, which every policy pays, however small; so notes tell stricter ratios too:
 * - nftables "one rule in its hooks": the product's hooks, screen and connection tracking, and one rule
 *   that takes any tracked packet. No live set, no budget, nothing counted.
 * - nftables "bare conntrack and one rule": connection tracking and one rule. None of the product's hooks either.
 * - eBPF "a program that only marks": no sessions, nothing tracked or counted.
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
import {
  BareProgram,
  BareRule,
  OneRule,
  OneRuleInHooks,
  OneRuleProgram,
} from "./engine.variants.ts";
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
  const hundred = await room("c", "hundred", make.ours);
  const tenThousand = await room("x", "tenThousand", make.ours);
  const rooms = new Map([
    ["one", await room("o", "thousand", make.oneRule)],
    ["hundred", hundred],
    ["thousand", await room("k", "thousand", make.ours)],
    ["tenThousand", tenThousand],
  ]);
  for (const [index, [name, engine]] of make.stricter.entries()) {
    rooms.set(name, await room(`s${index}`, "thousand", engine));
  }
  const contestants = [...rooms].map(
    ([name, each]) => [name, (round: number) => price(kind, each, round)] as const,
  );
  const seen = await interleaved<Readonly<Record<string, Price>>>(
    roundsOr(ROUNDS),
    Object.fromEntries(contestants),
  );
  const of = (name: string, which: keyof Price): number[] =>
    (seen[name] ?? []).map((found) => found[which]);
  const ratio = (above: string, below: string, which: keyof Price): number =>
    median(of(above, which)) / median(of(below, which));
  const results = (["first", "established"] as const).flatMap((which): Result[] => {
    const stricter = make.stricter.map(
      ([name]) => `to ${name} ${ratio(name, "thousand", which).toFixed(2)}`,
    );
    return [
      {
        id: `${kind}-${which}`,
        ratio: ratio("one", "thousand", which),
        note: [spread(of("one", which), of("thousand", which)), ...stricter].join("; "),
      },
      {
        id: `${kind}-growth-${which}`,
        ratio: ratio("tenThousand", "hundred", which),
        note: spread(of("tenThousand", which), of("hundred", which)),
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
    const { ratio: seenInRooms, note = "" } = inRooms;
    return {
      ...growth,
      id: inRooms.id,
      note: `${growth.note}; in the rooms ${seenInRooms?.toFixed(2) ?? "–"}, ${note}`,
    };
  });
}

type Maker = RoomOptions["makeEngine"];

interface Makers {
  readonly ours: Maker;
  readonly oneRule: Maker;
  /** Printed beside, by what it is: the same question with less left in the rooms. */
  readonly stricter: readonly (readonly [string, Maker])[];
}

async function makers(kind: Kind, source: PacketSource): Promise<Makers> {
  if (kind === "nftables") {
    const { NftablesEngine } = await inside("nftables/engine");
    const ours = (netns: string): Engine => new NftablesEngine({ point: "inner", netns });
    return {
      ours,
      oneRule: (netns) => new OneRule(netns, ours(netns)),
      stricter: [
        ["one rule in its hooks", (netns) => new OneRuleInHooks(netns, ours(netns))],
        ["bare conntrack and one rule", (netns) => new BareRule(netns)],
      ],
    };
  }
  const [{ EbpfEngine }, { build }] = [await inside("ebpf/engine"), await inside("ebpf/build")];
  const object = path.join(source.directory, "one-rule.o");
  build(object, ["ALLOW_ALL"]);
  return {
    ours: (netns, directory) => new EbpfEngine({ point: "inner", netns, directory }),
    oneRule: (netns, directory) => new OneRuleProgram(netns, directory, object),
    stricter: [
      [
        "a program that only marks",
        (netns) => new BareProgram(netns, source.at("programs", "bare")),
      ],
    ],
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
