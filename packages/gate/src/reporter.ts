/**
 * One listener's events, bounded: what passes is counted by peer, function and minute; what is refused is
 * told one by one as long as it is few, and counted beyond that. Refused writes have a budget of their
 * own, so that nobody hides one behind a flood of something else.
 */
import { modbus } from "@sallyport/wire";
import { explainRefusal, type Refusal, reasonOf } from "./authorize.ts";
import type { GateEvent, GateNews, Suppressed, Where } from "./events.ts";

/** Wall time for people, and time that never goes back for limits. */
export interface Clock {
  wallMs(): number;
  nowMs(): number;
}

/** Peers of one listener that are told apart in one minute; a conduit names its clients, so few. */
const PEERS_MAX = 256;
/** Kinds of suppressed events that are told apart in one minute. */
const SUPPRESSED_MAX = 1024;
const OTHER_PEERS = "other";
const MINUTE_MS = 60_000;

/** At most `burst` at once and `perSecond` after that. */
interface Budget {
  readonly burst: number;
  readonly perSecond: number;
  tokens: number;
  atMs: number;
}

function budget(burst: number, perSecond: number, nowMs: number): Budget {
  return { burst, perSecond, tokens: burst, atMs: nowMs };
}

function take(from: Budget, nowMs: number): boolean {
  const gained = (Math.max(0, nowMs - from.atMs) * from.perSecond) / 1000;
  from.tokens = Math.min(from.burst, from.tokens + gained);
  from.atMs = nowMs;
  if (from.tokens < 1) return false;
  from.tokens -= 1;
  return true;
}

/** One peer's allowed requests of this minute, by function index. */
export type Tally = Float64Array;

type Kind = Suppressed["kind"];

export class Reporter {
  /** As the newest set of listeners says it. */
  where: Where;
  readonly #clock: Clock;
  readonly #onEvent: (event: GateEvent) => void;
  readonly #connections: Budget;
  readonly #reads: Budget;
  readonly #writes: Budget;
  readonly #tallies = new Map<string, Tally>();
  readonly #suppressed = new Map<string, Omit<Suppressed, "count"> & { count: number }>();
  #minuteMs: number;

  constructor(where: Where, clock: Clock, onEvent: (event: GateEvent) => void) {
    this.where = where;
    this.#clock = clock;
    this.#onEvent = onEvent;
    const nowMs = clock.nowMs();
    this.#connections = budget(100, 20, nowMs);
    this.#reads = budget(20, 5, nowMs);
    this.#writes = budget(100, 20, nowMs);
    this.#minuteMs = minuteOf(clock.wallMs());
  }

  /** Not limited: for what happens once. */
  tell(news: GateNews): void {
    this.#onEvent({ ...this.where, ...news });
  }

  /** Where a peer's allowed requests are counted. It stays valid across minutes. */
  tallyOf(peer: string): Tally {
    const known = this.#tallies.get(peer);
    if (known !== undefined) return known;
    if (this.#tallies.size >= PEERS_MAX && peer !== OTHER_PEERS) return this.tallyOf(OTHER_PEERS);
    const tally = new Float64Array(modbus.FUNCTIONS.length);
    this.#tallies.set(peer, tally);
    return tally;
  }

  connection(
    news: GateNews & { readonly type: Exclude<Kind, "pdu-refused">; readonly peer: string },
  ): void {
    if (take(this.#connections, this.#clock.nowMs())) this.tell(news);
    else this.#suppress(news.type, news.peer, "reason" in news ? news.reason : "", "");
  }

  refused(
    peer: string,
    refusal: Refusal,
    request: modbus.ModbusRequest,
    bytes: Uint8Array,
    start: number,
  ): void {
    const info = modbus.functionInfo(request.function);
    const reason = reasonOf(refusal);
    // What is not decoded may write, so it counts as if it did.
    const from = info.operation === "read" ? this.#reads : this.#writes;
    if (!take(from, this.#clock.nowMs())) {
      this.#suppress("pdu-refused", peer, reason, info.name);
      return;
    }
    this.tell({
      type: "pdu-refused",
      atMs: this.#clock.wallMs(),
      peer,
      reason,
      why: explainRefusal(refusal, request),
      pdu: modbus.requestPdu(request, bytes, start),
    });
  }

  #suppress(kind: Kind, peer: string, reason: string, name: string): void {
    const key = `${kind} ${peer} ${reason} ${name}`;
    const known = this.#suppressed.get(key);
    if (known !== undefined) known.count++;
    else if (this.#suppressed.size >= SUPPRESSED_MAX && peer !== OTHER_PEERS) {
      // Reasons and functions are few, so only peers can be many.
      this.#suppress(kind, OTHER_PEERS, reason, name);
    } else {
      const minuteMs = this.#minuteMs;
      this.#suppressed.set(key, {
        type: "suppressed",
        minuteMs,
        kind,
        peer,
        reason,
        function: name,
        count: 1,
      });
    }
  }

  /** Tells the counts of a minute that is over. `inUse`: peers that still have a connection. */
  turn(inUse: (tally: Tally) => boolean): void {
    const minuteMs = minuteOf(this.#clock.wallMs());
    if (minuteMs === this.#minuteMs) return;
    this.flush();
    this.#minuteMs = minuteMs;
    for (const [peer, tally] of this.#tallies) if (!inUse(tally)) this.#tallies.delete(peer);
  }

  /** Tells all counts now. */
  flush(): void {
    for (const [peer, tally] of this.#tallies) {
      tally.forEach((count, index) => {
        if (count === 0) return;
        const name = modbus.functionInfo(index).name;
        this.tell({ type: "pdus-allowed", minuteMs: this.#minuteMs, peer, function: name, count });
      });
      tally.fill(0);
    }
    for (const news of this.#suppressed.values()) this.tell(news);
    this.#suppressed.clear();
  }
}

function minuteOf(wallMs: number): number {
  return Math.floor(wallMs / MINUTE_MS) * MINUTE_MS;
}
