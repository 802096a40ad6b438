/**
 * The words in which every protocol's messages are spoken of: by gates and their limits, by rules,
 * baselines and records. `wire/<protocol>` turns bytes into them.
 */

export type Operation =
  | "read"
  | "write"
  | "control"
  | "program"
  | "admin"
  | "identify"
  /** Not decoded: a vendor's function, or one that the specification reserves. */
  | "other";

export type Direction = "request" | "response";

/** What a message is about. More kinds come with more protocols. */
export type Target = MemoryTarget | { readonly kind: "unit"; readonly unit: number };

/** A run of numbered cells in one data area of one unit. */
export interface MemoryTarget {
  readonly kind: "memory";
  /** 0 to 255. */
  readonly unit: number;
  /** The area's name in the protocol's own words, e.g. `holding-registers`. */
  readonly area: string;
  /** 0-based, as on the wire. */
  readonly address: number;
  /** Cells, 1 or more. */
  readonly count: number;
}

export interface Pdu {
  readonly protocol: string;
  readonly direction: Direction;
  readonly operation: Operation;
  /** The function's name in the protocol's folder, or `other`. */
  readonly function: string;
  /** The number on the wire, which tells the functions called `other` apart. */
  readonly functionCode: number;
  readonly target?: Target;
  /** Where one message both reads and writes: what it reads. `target` is what it writes. */
  readonly readTarget?: Target;
  /** Raw cell values, bits as 0 and 1, in the order of the target's cells. */
  readonly values?: readonly number[];
  /** Responses only. */
  readonly status?: Status;
}

export type Status =
  | { readonly kind: "ok" }
  | { readonly kind: "error"; readonly code: number; readonly name: string };
