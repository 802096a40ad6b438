/**
 * The words every other package speaks: addresses, interval sets, diagnostics, errors, decoded
 * messages, canonical JSON. Touches nothing: no file, no socket, no clock, no randomness.
 * @module
 */
export { canonicalJson, type Json } from "./canonical-json.ts";
export type { Decoded } from "./decoded.ts";
export { type Diagnostic, formatDiagnostic, nearest } from "./diagnostic.ts";
export { SallyportError } from "./error.ts";
export {
  contains,
  type Interval,
  intersect,
  normalize,
  overlaps,
  prefixesOf,
  sizeOf,
  subtract,
  union,
} from "./interval.ts";
export {
  formatCidr,
  formatIpv4,
  type Ipv4,
  type Prefix,
  parseCidr,
  parseIpv4,
  prefixInterval,
} from "./ipv4.ts";
export { sha256Hex, sha256HexOfText } from "./sha256.ts";
