/**
 * The program without a network: the kernel runs it on frames that are handed to it, in order, with
 * its own maps and its own clock. For tests and the agreement check; no root process loads this.
 */
import fs from "node:fs";
import path from "node:path";
import { type PacketReason, REASONS } from "@sallyport/policy/legs";
import { run, tryRun } from "../apply/run.ts";
import type { Lowering } from "../engine.ts";
import { batchText, fillSlot, type MapName, type MapWrite, select } from "./lower.ts";
import { readBootNs } from "./read.ts";

export interface Frame {
  readonly interface: string;
  readonly bytes: Uint8Array;
}

export interface EngineVerdict {
  readonly verdict: "allow" | "deny";
  readonly reason: PacketReason | undefined;
  /** Conduit or grant number, 0 if none was involved. */
  readonly id: number;
  readonly mark: number;
}

/** Frames of one `bpftool batch`: its answer about each is about 600 characters. */
const BATCH_FRAMES = 2000;
const ERROR_CHARACTERS = 400;
/** `struct __sk_buff`. */
const CONTEXT_BYTES = 192;
const AT = { mark: 8, ingressIfindex: 36, reason: 48, id: 52 } as const;
const NO_REASON = 255;
const ETHERNET_BYTES = 14;
/** Below these the kernel's test run refuses a frame; links don't. */
const RUNNABLE_BYTES: ReadonlyMap<number, number> = new Map([
  [0x0800, ETHERNET_BYTES + 20],
  [0x86dd, ETHERNET_BYTES + 40],
]);
const SHOT = 2;

export class Harness {
  readonly directory: string;
  readonly #scratch: string;
  readonly #ifindexes = new Map<string, number>();

  private constructor(scratch: string) {
    this.#scratch = scratch;
    this.directory = path.join(scratch, "bpf");
  }

  /** Loads the program into maps of its own. `object` is `inner.bpf.o` or a variant of it. */
  static async open(object: string): Promise<Harness> {
    const scratch = fs.mkdtempSync("/dev/shm/sallyport-ebpf-");
    const harness = new Harness(scratch);
    fs.mkdirSync(harness.directory);
    await run("mount", ["-t", "bpf", "bpf", harness.directory]);
    try {
      const maps = path.join(harness.directory, "maps");
      fs.mkdirSync(maps);
      const program = path.join(harness.directory, "inner");
      await run("bpftool", ["prog", "load", object, program, "pinmaps", maps]);
    } catch (cause) {
      await harness.close();
      throw cause;
    }
    return harness;
  }

  async close(): Promise<void> {
    await run("umount", [this.directory]);
    fs.rmSync(this.#scratch, { recursive: true });
  }

  get maps(): string {
    return path.join(this.directory, "maps");
  }

  /** Interfaces need not exist: each name has a number of its own. */
  ifindexOf(name: string): number {
    const known = this.#ifindexes.get(name);
    if (known !== undefined) return known;
    const ifindex = this.#ifindexes.size + 1000;
    this.#ifindexes.set(name, ifindex);
    return ifindex;
  }

  /** Fills the lowering's slot and puts it in force. */
  async load(lowering: Lowering): Promise<void> {
    const ifindexOf = (name: string): number => this.ifindexOf(name);
    const writes = fillSlot(lowering, ifindexOf, { bootNs: readBootNs(), nowMs: lowering.now });
    await this.write([...writes, select(lowering.slot)]);
  }

  async write(writes: readonly MapWrite[]): Promise<void> {
    await this.#batch(batchText(this.maps, writes));
  }

  /** `bpftool -j map dump` of one map. */
  dump(map: MapName): Promise<string> {
    return run("bpftool", ["-j", "map", "dump", "pinned", path.join(this.maps, map)]);
  }

  async run(frames: readonly Frame[]): Promise<EngineVerdict[]> {
    const verdicts: EngineVerdict[] = [];
    for (let start = 0; start < frames.length; start += BATCH_FRAMES) {
      verdicts.push(...(await this.#runSome(frames.slice(start, start + BATCH_FRAMES))));
    }
    return verdicts;
  }

  /** What the program makes of a frame's bytes. */
  async frameAfter({ interface: name, bytes }: Frame): Promise<Uint8Array> {
    const [line = ""] = this.#lines([{ interface: name, bytes }]);
    const answers = JSON.parse(await this.#batch(`${line} data_out -\n`)) as {
      readonly output: { readonly data_out: readonly string[] };
    }[];
    return Uint8Array.from(answers[0]?.output.data_out ?? [], Number);
  }

  async #runSome(frames: readonly Frame[]): Promise<EngineVerdict[]> {
    const lines = this.#lines(frames);
    const answers = JSON.parse(await this.#batch(`${lines.join("\n")}\n`)) as {
      readonly output: { readonly retval: number; readonly ctx_out: readonly number[] };
    }[];
    return answers.map(({ output }) => verdictOf(output.retval, output.ctx_out));
  }

  #lines(frames: readonly Frame[]): string[] {
    const program = path.join(this.directory, "inner");
    return frames.map(({ interface: name, bytes }, index) => {
      const data = path.join(this.#scratch, `frame-${index}`);
      fs.writeFileSync(data, runnable(bytes));
      const context = path.join(this.#scratch, `context-${name}`);
      if (!fs.existsSync(context)) fs.writeFileSync(context, contextOf(this.ifindexOf(name)));
      return `prog run pinned ${program} data_in ${data} ctx_in ${context} ctx_out - repeat 1`;
    });
  }

  async #batch(text: string): Promise<string> {
    const { exitCode, stdout } = await tryRun("bpftool", ["-j", "batch", "file", "-"], {
      input: text,
    });
    if (exitCode === 0) return stdout;
    // The refused line is the last that bpftool names; everything before it was done.
    throw new Error(`bpftool refused: ${stdout.slice(-ERROR_CHARACTERS)}`);
  }
}

/**
 * A frame that the kernel's test run takes, with the same answer. Where an IPv4 header is cut off its
 * version becomes 0, which step 3 refuses as it does the cut one (that is tested on a real link).
 */
function runnable(bytes: Uint8Array): Uint8Array {
  const type = bytes.length < ETHERNET_BYTES ? 0 : ((bytes[12] ?? 0) << 8) | (bytes[13] ?? 0);
  const least = RUNNABLE_BYTES.get(type) ?? ETHERNET_BYTES + 1;
  if (bytes.length >= least) return bytes;
  const padded = new Uint8Array(least);
  padded.set(bytes.length < ETHERNET_BYTES ? [] : bytes);
  padded[ETHERNET_BYTES] = 0;
  return padded;
}

function contextOf(ifindex: number): Uint8Array {
  const context = new DataView(new ArrayBuffer(CONTEXT_BYTES));
  // A mark that the sender's side left: the program must not believe it.
  context.setUint32(AT.mark, 0x5a000001, true);
  context.setUint32(AT.ingressIfindex, ifindex, true);
  return new Uint8Array(context.buffer);
}

function verdictOf(action: number, contextBytes: readonly number[]): EngineVerdict {
  const context = new DataView(Uint8Array.from(contextBytes).buffer);
  const reason = context.getUint32(AT.reason, true);
  const mark = context.getUint32(AT.mark, true);
  return {
    // Without a mark an unmarked packet has no route; a redirect is a sample on its way to the tap.
    verdict: action === 0 && mark !== 0 ? "allow" : "deny",
    reason: reason === NO_REASON ? undefined : REASONS[reason],
    id: context.getUint32(AT.id, true),
    mark: action === SHOT ? 0 : mark,
  };
}
