/**
 * Both kernels' own records of one grant, read and changed by hand: with root's tools and none of the
 * product's code, so that one leg can be held open while the other runs out.
 */
import fs from "node:fs";
import path from "node:path";
import { must } from "../../lab/shell.ts";
import type { Instance } from "sallyport";

/** What `grants.json` says: the number that both kernels know the grant by. */
export function numberOf(instance: Instance, grant: string): number {
  const text = fs.readFileSync(path.join(instance.runDir, "grants.json"), "utf8");
  const held = JSON.parse(text) as readonly {
    readonly id: number;
    readonly grant: { id: string };
  }[];
  const found = held.find((one) => one.grant.id === grant);
  if (found === undefined) throw new RangeError(`no grant ${grant} is held`);
  return found.id;
}

const SLOTS = [0, 1] as const;
const FOREVER_S = 3600;

/** The outer engine's set of grants that are open. */
export class OuterLeg {
  readonly #netns: string;
  readonly #id: number;

  constructor(instance: Instance, id: number) {
    this.#netns = `${instance.netnsPrefix}-outer`;
    this.#id = id;
  }

  /** In each slot that has it open: milliseconds that are left. */
  async leftMs(): Promise<readonly number[]> {
    const listings = await Promise.all(SLOTS.map((slot) => this.#nft(`list set ${set(slot)}`)));
    return listings.flatMap((listing) => {
      const expires = new RegExp(`${this.#mark} timeout \\S+ expires ([0-9a-z]+)`).exec(
        listing,
      )?.[1];
      return expires === undefined ? [] : [durationMs(expires)];
    });
  }

  /** Opens it for longer than any test, in every slot. */
  async hold(): Promise<void> {
    const element = `{ ${this.#mark} timeout ${FOREVER_S}s }`;
    const lines = SLOTS.flatMap((slot) => [
      // Deleting what is not there fails, and kernels before 6.12 keep the first end.
      `add element ${set(slot)} ${element}`,
      `delete element ${set(slot)} { ${this.#mark} }`,
      `add element ${set(slot)} ${element}`,
    ]);
    await this.#nft(lines.join("\n"));
  }

  get #mark(): string {
    return `0x${this.#id.toString(16).padStart(8, "0")}`;
  }

  #nft(lines: string): Promise<string> {
    return must(["nft", "-f", "-"], { netns: this.#netns, input: `${lines}\n` });
  }
}

function set(slot: number): string {
  return `ip sallyport granted_live_${slot}`;
}

const UNIT_MS: Readonly<Record<string, number>> = {
  d: 86_400_000,
  h: 3_600_000,
  m: 60_000,
  s: 1000,
};

/** As nft prints it: `1h2m3s456ms`. */
export function durationMs(text: string): number {
  let sum = 0;
  for (const [, count = "", unit = ""] of text.matchAll(/([0-9]+)(ms|[dhms])/g)) {
    sum += Number(count) * (unit === "ms" ? 1 : (UNIT_MS[unit] ?? Number.NaN));
  }
  return sum;
}

interface MapEntry {
  readonly key: readonly string[];
  readonly value: readonly string[];
}

/** The inner engine's map of what is open: (table, number) → (end on the boot clock, …). */
export class InnerLeg {
  readonly #live: string;
  readonly #id: number;
  /** Keys that were there once: after a revoke, those to put back. */
  #keys: readonly string[] = [];

  constructor(instance: Instance, id: number) {
    this.#live = path.join(mapsOf(instance), "live");
    this.#id = id;
  }

  /** In each slot that has it open: milliseconds that are left. */
  async leftMs(): Promise<readonly number[]> {
    const entries = await this.#entries();
    this.#keys = entries.map(({ key }) => key.map(hexDigits).join(" "));
    const now = bootMs();
    return entries.map(({ value }) => Number(bytesOf(value).readBigUInt64LE(0) / 1_000_000n) - now);
  }

  /** Opens it for longer than any test, wherever `leftMs` has seen it. */
  async hold(): Promise<void> {
    const end = Buffer.alloc(16);
    end.writeBigUInt64LE(BigInt(Math.round(bootMs() + FOREVER_S * 1000)) * 1_000_000n);
    const value = [...end].map((byte) => byte.toString(16).padStart(2, "0"));
    for (const key of this.#keys) {
      const where = ["key", "hex", ...key.split(" "), "value", "hex", ...value];
      await must(["bpftool", "map", "update", "pinned", this.#live, ...where]);
    }
    if (this.#keys.length === 0) throw new RangeError("the inner leg was never seen open");
  }

  async #entries(): Promise<readonly MapEntry[]> {
    const all = await dump(this.#live);
    return all.filter(({ key }) => bytesOf(key).readUInt32LE(4) === this.#id);
  }
}

/** One instance has one program: its maps lie in a folder of its own. */
export function mapsOf(instance: Instance): string {
  const home = path.join(instance.runDir, "bpf");
  const [program] = fs.readdirSync(home);
  return path.join(home, program ?? "", "maps");
}

export async function dump(map: string): Promise<readonly MapEntry[]> {
  const text = await must(["bpftool", "-j", "map", "dump", "pinned", map]);
  return JSON.parse(text) as readonly MapEntry[];
}

/** bpftool gives bytes as `0x0a`. */
export function bytesOf(bytes: readonly string[]): Buffer {
  return Buffer.from(bytes.map((byte) => Number(byte)));
}

function hexDigits(byte: string): string {
  return byte.replace("0x", "").padStart(2, "0");
}

/** What `bpf_ktime_get_boot_ns` counts, to a hundredth of a second. */
export function bootMs(): number {
  const [uptime = ""] = fs.readFileSync("/proc/uptime", "utf8").split(" ");
  return Number(uptime) * 1000;
}
