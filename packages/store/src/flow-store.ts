/**
 * What is kept of the flows that crossed, or tried to: counts by minute and hour, and how far each event
 * file was read. Counts and reading place change together or not at all, so nothing is counted twice.
 */

/** Who spoke to whom about what. Texts are the policy's words; empty where it is not known. */
export interface Flow {
  /** `outer` and `inner` are the engines; any other name is the gate of that name. */
  readonly point: string;
  /** Conduit name or grant id; empty when none was involved. */
  readonly conduit: string;
  /** Dotted quad, or `other` beyond the number of flows that are told apart. */
  readonly source: string;
  /** Dotted quad; for a gate the asset's name. */
  readonly destination: string;
  readonly sourceZone: string;
  readonly destinationZone: string;
  /** `tcp`, `udp`, `icmp`, or that of a gate's decoder, e.g. `modbus`. */
  readonly protocol: string;
  /** Destination port, 0 where there is none. */
  readonly port: number;
  /** What was asked of the device; empty for packets and connections. */
  readonly function: string;
  /** Why it was refused; empty when it passed. */
  readonly reason: string;
}

export interface FlowCounts {
  /** Sessions, or a gate's connections and requests, that passed. Exact. */
  readonly accepted: number;
  /** Packets, or a gate's connections and requests, that were refused. Exact. */
  readonly refused: number;
  /** Refused packets of which a sample tells the addresses; they are among those that `refused` counts. */
  readonly sampled: number;
}

/** One observation. `atMs` is any moment of the minute in which it was made. */
export interface FlowEntry extends Flow, FlowCounts {
  readonly atMs: number;
}

export interface FlowRow extends Flow, FlowCounts {
  /** Start of the minute or hour. */
  readonly startMs: number;
}

/** A flow in one stretch of time, with the last minute in which it was seen there. */
export interface Peer extends Flow, FlowCounts {
  readonly lastMs: number;
}

/** How far a file was read. `tail` is what stood before the offset: another file will not match it. */
export interface Place {
  readonly inode: string;
  readonly offsetBytes: number;
  /** Base64. */
  readonly tail: string;
}

/** What one stretch of one file held. */
export interface FlowBatch {
  readonly file: string;
  /** Where the stretch began; it must be the place on record, or nothing is recorded. */
  readonly from: Place | undefined;
  readonly to: Place;
  readonly entries: readonly FlowEntry[];
}

export interface FlowQuestion {
  /** Newest first; all when absent. */
  readonly sinceMs?: number;
  /** The first moment that no longer counts. */
  readonly untilMs?: number;
  readonly conduit?: string;
  /** 1 to `FLOW_LIMITS.answerRows`. */
  readonly limit: number;
  readonly by?: "minute" | "hour";
}

export interface PeersQuestion {
  readonly sinceMs: number;
  /** A flow is told once per stretch of this many milliseconds, a multiple of a minute. */
  readonly everyMs: number;
}

/** What can be asked, and changes nothing. */
export interface FlowAnswers {
  flows(question: FlowQuestion): FlowRow[];
  /** Newest first, at most `FLOW_LIMITS.answerRows`. */
  peers(question: PeersQuestion): Peer[];
}

export interface FlowStore {
  places(): Promise<ReadonlyMap<string, Place>>;
  /** Throws `flow-place-moved` and records nothing if `from` is not the place on record. */
  record(batch: FlowBatch): Promise<void>;
  /** One bounded step: removes some of what is too old or too much, and says how many rows. */
  prune(nowMs: number): Promise<number>;
  flows(question: FlowQuestion): Promise<FlowRow[]>;
  peers(question: PeersQuestion): Promise<Peer[]>;
  close(): Promise<void>;
}

const DAY_MS = 86_400_000;

/** A count stays here once it came so far: sums of an hour and of a week can still be told exactly or at most. */
export const COUNT_MAX: number = 2 ** 46;

export interface FlowLimits {
  readonly minutesMs: number;
  readonly hoursMs: number;
  readonly minuteRows: number;
  readonly hourRows: number;
  /** Flows told apart; the next are counted with addresses `other`, past twice this as one flow. */
  readonly flows: number;
  /** Rows removed in one transaction: the writer never waits long. */
  readonly pruneRows: number;
  readonly answerRows: number;
  /** A longer text is cut; the policy's own names are shorter. */
  readonly textChars: number;
}

/** Together below about 400 MiB on disk. */
export const FLOW_LIMITS: FlowLimits = {
  minutesMs: 30 * DAY_MS,
  hoursMs: 400 * DAY_MS,
  minuteRows: 4_000_000,
  hourRows: 2_000_000,
  flows: 100_000,
  pruneRows: 5000,
  answerRows: 200_000,
  textChars: 128,
};
