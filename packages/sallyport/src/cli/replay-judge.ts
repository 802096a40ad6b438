import { contains } from "@sallyport/core";
import { Model } from "@sallyport/policy";
import type { Grant, Legs, Listener, Point } from "@sallyport/policy/legs";
import { writeFrame } from "@sallyport/wire";
import type { Asked } from "./replay-question.ts";

/** A source port that no other question of the same moment has: each opens a session of its own. */
const PORT_FIRST = 1024;
const PORTS = 64_000;
/** Sessions end at once in the model of a replay; past so many it sweeps them out. */
const SESSIONS_SWEPT = 1000;
const NO_TIME = { tcpOpening: 0, tcpOpen: 0, tcpClosing: 0, udp: 0, icmp: 0 };

export interface Answer {
  readonly passes: boolean;
  /** Why not; empty when it passes. */
  readonly reason: string;
  /** The conduit that carries or refuses it; empty when none does. */
  readonly conduit: string;
}

/** One policy's answers. Questions come in order of time. */
export class Judge {
  readonly #legs: Legs;
  readonly #other: Legs | undefined;
  readonly #withGrants: Readonly<Record<Point, Model>>;
  readonly #without: Readonly<Record<Point, Model>>;
  #asked = 0;

  /** `other`: where a source arrived, if these legs don't say. `granted`: who needs a grant to be asked about. */
  constructor(legs: Legs, other: Legs | undefined, granted: readonly Asked[]) {
    this.#legs = legs;
    this.#other = other;
    const grants = granted.flatMap((asked) => grantsFor(legs, asked));
    this.#withGrants = { outer: model(legs, "outer", grants), inner: model(legs, "inner", grants) };
    this.#without = { outer: model(legs, "outer", []), inner: model(legs, "inner", []) };
  }

  answer(asked: Asked, atMs: number): Answer {
    const models = asked.byGrant ? this.#withGrants : this.#without;
    const frame = { interface: this.#interfaceOf(asked), bytes: this.#opening(asked) };
    const verdict = models[asked.point].step(frame, atMs);
    const conduit = verdict.conduit ?? "";
    if (verdict.verdict === "deny") return { passes: false, reason: verdict.reason ?? "", conduit };
    if (asked.function === "" || this.#allowsFunction(asked, conduit)) {
      return { passes: true, reason: "", conduit };
    }
    return { passes: false, reason: "l7.function-not-allowed", conduit };
  }

  /** A SYN, a datagram or an echo request with the same two ends. */
  #opening({ from, to, protocol, port }: Asked): Uint8Array {
    const own = PORT_FIRST + (this.#asked++ % PORTS);
    const ends = { source: from, destination: to, protocol };
    if (protocol === "icmp") return writeFrame({ ...ends, icmp: { type: 8, identifier: own } });
    return writeFrame({ ...ends, sourcePort: own, destinationPort: port });
  }

  /** Where the source would arrive: by this policy, or where it did by the other. */
  #interfaceOf({ point, from }: Asked): string {
    for (const legs of [this.#legs, this.#other]) {
      const zone = legs?.zones.find(
        (candidate) => candidate.point === point && contains(candidate.addresses, from),
      );
      if (zone !== undefined) return zone.interface;
    }
    return "";
  }

  #allowsFunction(asked: Asked, conduit: string): boolean {
    const listeners = this.#legs.conduits.find(({ name }) => name === conduit)?.listeners ?? [];
    const gates = listeners.filter((listener) => leadsTo(listener, asked));
    // Without a gate nobody looks inside.
    return gates.every(({ l7 }) => l7.protocol === "tcp" || l7.functions.includes(asked.function));
  }
}

function model(legs: Legs, point: Point, grants: readonly Grant[]): Model {
  const limits = { sessionsPerZone: SESSIONS_SWEPT, timeoutsSeconds: NO_TIME };
  const made = new Model({ point, limits });
  made.load(legs, { grants });
  return made;
}

function leadsTo(listener: Listener, { to, port }: Asked): boolean {
  return listener.targetAddress === to && listener.targetPort === port;
}

/** A grant that never ends in each session conduit that leads there: whether the conduit would carry it, and when. */
function grantsFor(legs: Legs, asked: Asked): Grant[] {
  const { protocol } = asked;
  if (protocol === "icmp") return [];
  return legs.conduits.flatMap((conduit) => {
    const listener = conduit.listeners.find((each) => each.slot === 0 && leadsTo(each, asked));
    if (conduit.via !== "session" || listener === undefined) return [];
    const grant: Grant = {
      id: `g-replay-${conduit.name}-${asked.from}-${asked.to}-${asked.port}`,
      conduit: conduit.name,
      person: "",
      reason: "replay",
      source: asked.from,
      asset: listener.asset,
      target: asked.to,
      protocol,
      port: asked.port,
      slot: 0,
      notBefore: 0,
      notAfter: Number.MAX_SAFE_INTEGER,
    };
    return [grant];
  });
}
