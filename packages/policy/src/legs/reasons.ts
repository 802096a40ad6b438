/**
 * Why a packet, a PDU or a request was refused: one closed, versioned list for the model, both
 * engines, the gates and every log. The position in the list is the number on the wire between the
 * eBPF program and its readers, so entries are only ever appended.
 */
export const REASONS = [
  "no-src-zone",
  "no-dst-zone",
  "wrong-interface",
  "to-gateway",
  "multicast",
  "no-conduit",
  "expired",
  "outside-window",
  "no-grant",
  "grant-expired",
  "revoked",
  "not-syn",
  "fragment",
  "ip-options",
  "not-ipv4",
  "short",
  "invalid-state",
  "session-limit",
  "rate",
  "island",
  "invariant",
  "time-untrusted",
  "would-deny",
  "engine-detached",
] as const;

/** A reason of a packet engine. `would-deny` goes with an allow: audit mode let it pass. */
export type PacketReason = (typeof REASONS)[number];
/** A gate's reason: `l7.` and what was wrong, e.g. `l7.function-not-allowed`. */
export type Reason = PacketReason | `l7.${string}`;
export const REASONS_VERSION = 1;
