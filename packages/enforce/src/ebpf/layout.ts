/** What `inner.bpf.c` and everything that fills or reads its maps have in common. */
import { SallyportError } from "@sallyport/core";

/** Flags of `struct candidate`. */
export const CANDIDATE = { diode: 1, redirect: 2, nowhere: 4 } as const;
/** IANA protocol numbers. */
export const PROTOCOL = { icmp: 1, tcp: 6, udp: 17 } as const;
export const PAGE_BYTES = 2048;
/** Pages of one slot in the program; those of slot 1 follow. */
export const SLOT_PAGES = 4096;
export const SLOT_WORDS: number = (SLOT_PAGES * PAGE_BYTES) / 4;
/** Counters that share an entry of `hits`. */
export const HIT_GROUP = 32;

export function tooLarge(why: string): SallyportError {
  return new SallyportError(
    "ebpf-policy-too-large",
    `the policy does not fit the eBPF program: ${why}`,
    { hint: "merge conduits that differ in little, or name networks instead of addresses" },
  );
}

const HEX: readonly string[] = Array.from({ length: 256 }, (_, byte) =>
  byte.toString(16).padStart(2, "0"),
);

/** Bytes in hex as bpftool takes them: `0a 00 ff`. */
export function toHex(bytes: Uint8Array): string {
  const out: string[] = [];
  for (const byte of bytes) out.push(HEX[byte] ?? "");
  return out.join(" ");
}

/** A 32-bit number as the program reads it: the commonest part of keys, so without a buffer. */
export function hex32(value: number): string {
  return toHex(Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24));
}

/** A key or value, filled from its start. Numbers are little-endian, as the program reads them. */
export class MapBytes {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(sizeBytes: number) {
    this.bytes = new Uint8Array(sizeBytes);
    this.#view = new DataView(this.bytes.buffer);
  }

  u8(value: number): this {
    this.#view.setUint8(this.#step(1), value);
    return this;
  }

  u16(value: number): this {
    this.#view.setUint16(this.#step(2), value, true);
    return this;
  }

  u32(value: number): this {
    this.#view.setUint32(this.#step(4), value, true);
    return this;
  }

  u64(value: bigint): this {
    this.#view.setBigUint64(this.#step(8), value, true);
    return this;
  }

  /** An address: in network order, as packets have it. */
  be32(value: number): this {
    this.#view.setUint32(this.#step(4), value, false);
    return this;
  }

  hex(): string {
    return toHex(this.bytes);
  }

  #step(sizeBytes: number): number {
    const at = this.#at;
    this.#at += sizeBytes;
    return at;
  }
}
