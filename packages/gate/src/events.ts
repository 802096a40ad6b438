/** What a gate tells: who connected, what passed, what was refused and why. Plain JSON. */
import type { Reason } from "@sallyport/policy/legs";
import type { Pdu } from "@sallyport/wire";
import type { CloseReason } from "./inspector.ts";

/** Which listener it is about, in the policy's words. */
export interface Where {
  readonly conduit: string;
  /** `site.yaml:41`: where the policy in force says so. */
  readonly policyLine: string;
  readonly asset: string;
  /** `address:port` that the gate listens on. */
  readonly listener: string;
  /** 0 but for session conduits. */
  readonly slot: number;
}

export type GateEvent = Where & GateNews;

export type GateNews =
  | { readonly type: "listening" }
  | { readonly type: "listener-closed"; readonly why: string }
  /** It could not be opened, so nothing passes there. */
  | { readonly type: "listener-failed"; readonly why: string }
  | {
      readonly type: "connection-opened";
      readonly atMs: number;
      readonly peer: string;
      readonly port: number;
    }
  | {
      readonly type: "connection-refused";
      readonly atMs: number;
      readonly peer: string;
      readonly reason: "connection-limit";
    }
  | ConnectionClosed
  | PdusAllowed
  | PduRefused
  | Suppressed;

export interface ConnectionClosed {
  readonly type: "connection-closed";
  readonly atMs: number;
  readonly peer: string;
  readonly port: number;
  readonly reason: CloseReason;
  /** A sentence where the reason alone does not say it; empty otherwise. */
  readonly why: string;
  readonly durationMs: number;
  readonly bytesFromClient: number;
  readonly bytesFromDevice: number;
  /** Requests. */
  readonly allowed: number;
  readonly refused: number;
}

/** Requests that passed in one minute, by peer and function. */
export interface PdusAllowed {
  readonly type: "pdus-allowed";
  readonly minuteMs: number;
  /** `other` for those beyond the number of peers that are told apart. */
  readonly peer: string;
  readonly function: string;
  readonly count: number;
}

export interface PduRefused {
  readonly type: "pdu-refused";
  readonly atMs: number;
  readonly peer: string;
  readonly reason: Reason;
  readonly why: string;
  readonly pdu: Pdu;
}

/** Events of a kind that came faster than they are told one by one: the count is exact. */
export interface Suppressed {
  readonly type: "suppressed";
  readonly minuteMs: number;
  readonly kind: "connection-opened" | "connection-closed" | "connection-refused" | "pdu-refused";
  readonly peer: string;
  readonly reason: string;
  /** Empty where it is no PDU. */
  readonly function: string;
  readonly count: number;
}
