import type { Interval } from "./interval.ts";

/** An IPv4 address as an unsigned 32-bit number, host order: 10.0.0.1 is 0x0a000001. */
export type Ipv4 = number;

/** A CIDR prefix; `address` may have host bits (an interface address) where the caller says so. */
export interface Prefix {
  readonly address: Ipv4;
  /** 0 to 32. */
  readonly length: number;
}

const OCTET = /^(0|[1-9][0-9]{0,2})$/;

/**
 * Dotted quad only, no leading zeros: 010.0.0.1 is 8.0.0.1 to some parsers and 10.0.0.1 to
 * others, and a firewall must not guess. Answers undefined for anything else.
 */
export function parseIpv4(text: string): Ipv4 | undefined {
  const octets = text.split(".");
  if (octets.length !== 4) return undefined;
  let address = 0;
  for (const octet of octets) {
    if (!OCTET.test(octet) || Number(octet) > 255) return undefined;
    address = address * 256 + Number(octet);
  }
  return address;
}

export function formatIpv4(address: Ipv4): string {
  return `${(address >>> 24) & 255}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** `a.b.c.d/n`; a bare address is /32. Host bits are kept. */
export function parseCidr(text: string): Prefix | undefined {
  const [head = "", tail, ...rest] = text.split("/");
  const address = parseIpv4(head);
  if (address === undefined || rest.length > 0) return undefined;
  if (tail === undefined) return { address, length: 32 };
  if (!OCTET.test(tail) || Number(tail) > 32) return undefined;
  return { address, length: Number(tail) };
}

export function formatCidr(prefix: Prefix): string {
  return `${formatIpv4(prefix.address)}/${prefix.length}`;
}

/** First to last address of the network that the prefix names; host bits are dropped. */
export function prefixInterval(prefix: Prefix): Interval {
  const size = 2 ** (32 - prefix.length);
  const first = Math.floor(prefix.address / size) * size;
  return { first, last: first + size - 1 };
}
