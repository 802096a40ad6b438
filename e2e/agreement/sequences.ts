/**
 * Conversations over time, as steps that all worlds take at the same moments: open, answer, a change
 * in the middle, an end. Each names what the steps must come to, so that three wrongs do not agree.
 */
import type { Conduit, Grant, Legs } from "@sallyport/policy";
import { type FrameSpec, ICMP_TYPE, quoteOf, TCP_FLAG, writeFrame } from "@sallyport/wire";
import type { TestFrame } from "./frames.ts";
import type { Situation } from "./worlds.ts";

export type Step =
  | { readonly send: readonly Sent[] }
  | { readonly load: (now: number) => Situation }
  | { readonly waitMs: number };

export interface Sent extends TestFrame {
  /** `allow`, or the reason for the refusal. */
  readonly expect: string;
}

export interface Sequence {
  readonly name: string;
  readonly steps: readonly Step[];
}

const { syn, ack, fin, rst, psh } = TCP_FLAG;
const SECOND = 1000;
/** Kernel ends are whole seconds, rounded down: well before and well after are the same for all. */
const END_MS = 8 * SECOND;
const AFTER_END_MS = 8.6 * SECOND;
const UDP_SECONDS = 1;
const AFTER_UDP_MS = 1.8 * SECOND;
const LIMIT = 3;

/** One conversation's ends, at an inner engine. */
export interface Talk {
  readonly client: { readonly address: number; readonly interface: string };
  readonly server: { readonly address: number; readonly interface: string };
  readonly port: number;
  readonly sourcePort: number;
}

let sourcePort = 20_000;
let identification = 0;

export function frame(name: string, spec: FrameSpec, expect: string): Sent {
  identification = (identification + 1) % 65_535;
  const bytes = writeFrame({ ...spec, identification });
  const { protocol, flags, icmp } = spec;
  return {
    interface: name,
    bytes,
    expect,
    what: `${name} ${JSON.stringify({ protocol, flags, icmp })}`,
  };
}

export function toServer(talk: Talk, flags: number, expect: string): Sent {
  const { client, server, port: destinationPort } = talk;
  const ends = { source: client.address, destination: server.address };
  return frame(
    client.interface,
    { ...ends, protocol: "tcp", sourcePort: talk.sourcePort, destinationPort, flags },
    expect,
  );
}

export function toClient(talk: Talk, flags: number, expect: string): Sent {
  const { client, server } = talk;
  const ends = { source: server.address, destination: client.address };
  const ports = { sourcePort: talk.port, destinationPort: talk.sourcePort };
  return frame(server.interface, { ...ends, protocol: "tcp", ...ports, flags }, expect);
}

function udp(talk: Talk, way: "to server" | "to client", expect: string): Sent {
  const [from, to] = way === "to server" ? [talk.client, talk.server] : [talk.server, talk.client];
  const ports =
    way === "to server"
      ? { sourcePort: talk.sourcePort, destinationPort: talk.port }
      : { sourcePort: talk.port, destinationPort: talk.sourcePort };
  return frame(
    from.interface,
    { source: from.address, destination: to.address, protocol: "udp", ...ports },
    expect,
  );
}

export function handshake(talk: Talk): Sent[] {
  return [
    toServer(talk, syn, "allow"),
    toClient(talk, syn | ack, "allow"),
    toServer(talk, ack, "allow"),
  ];
}

/** What the sequences need: a policy with a direct TCP and UDP conduit, an inspected one, a session one and a diode, at `inner`. */
export interface Ground {
  readonly legs: Legs;
  readonly direct: Conduit;
  readonly diode: Conduit;
  readonly inspected: Conduit;
  readonly session: Conduit;
}

export function groundOf(legs: Legs): Ground {
  const { timeoutsSeconds } = legs.limits;
  const fast = {
    ...legs,
    limits: { ...legs.limits, timeoutsSeconds: { ...timeoutsSeconds, udp: UDP_SECONDS } },
  };
  const one = (via: Conduit["via"]): Conduit => {
    const found = fast.conduits.find((conduit) => conduit.via === via);
    if (found === undefined) throw new Error(`the policy has no ${via} conduit`);
    return found;
  };
  return {
    legs: fast,
    direct: one("direct"),
    diode: one("diode"),
    inspected: one("inspect"),
    session: one("session"),
  };
}

function interfaceOf(legs: Legs, address: number): string {
  const zone = legs.zones.find(
    ({ point, addresses }) =>
      point === "inner" && addresses.some(({ first, last }) => first <= address && address <= last),
  );
  if (zone === undefined) throw new Error("an address in no inner zone");
  return zone.interface;
}

export function talkOf(legs: Legs, conduit: Conduit, legIndex = 0): Talk {
  const leg = conduit.legs.filter(({ point }) => point === "inner")[legIndex];
  const [client, server] = [leg?.from[0]?.first ?? 0, leg?.to[0]?.first ?? 0];
  return {
    client: { address: client, interface: interfaceOf(legs, client) },
    server: { address: server, interface: interfaceOf(legs, server) },
    port: leg?.ports[0]?.first ?? 0,
    sourcePort: sourcePort++,
  };
}

export function sequencesOf(ground: Ground): Sequence[] {
  const { legs } = ground;
  const always: Legs = {
    ...legs,
    conduits: legs.conduits.map((conduit) => ({ ...conduit, windows: [] })),
  };
  const situation = (changed: Partial<Situation> = {}): Situation => ({
    legs: always,
    point: "inner",
    circumstances: {},
    ...changed,
  });
  const start: Step = { load: () => situation() };
  const direct = (): Talk => talkOf(legs, ground.direct);
  const without = (name: string): Legs => ({
    ...always,
    conduits: always.conduits.filter((conduit) => conduit.name !== name),
  });
  return [
    tcpStates(start, direct),
    ...changesMidFlow(start, direct, ground, situation, without),
    udpTimeout(start, ground),
    icmpErrors(start, direct),
    sessionLimit(always, direct, situation),
    inspectedReplies(start, ground),
    grantEnds(ground, situation),
  ];
}

function tcpStates(start: Step, direct: () => Talk): Sequence {
  const [open, aborted, half, stray] = [direct(), direct(), direct(), direct()];
  return {
    name: "TCP: open, talk, close; abort; half-open; strays",
    steps: [
      start,
      {
        send: [
          ...handshake(open),
          toServer(open, ack | psh, "allow"),
          toClient(open, ack | psh, "allow"),
          toClient(open, syn, "no-conduit"),
          toServer(open, syn | ack, "not-syn"),
          toServer(open, fin | ack, "allow"),
          toClient(open, fin | ack, "allow"),
          toServer(open, ack, "allow"),
          toServer(aborted, syn, "allow"),
          toClient(aborted, rst | ack, "allow"),
          toServer(half, syn, "allow"),
          toServer(half, ack, "not-syn"),
          toServer(half, syn, "allow"),
          toClient(half, syn | ack, "allow"),
          toServer(stray, ack, "not-syn"),
          toServer(stray, fin | ack, "not-syn"),
          toServer(stray, rst, "not-syn"),
          toClient(stray, syn | ack, "no-conduit"),
        ],
      },
    ],
  };
}

function changesMidFlow(
  start: Step,
  direct: () => Talk,
  ground: Ground,
  situation: (changed?: Partial<Situation>) => Situation,
  without: (name: string) => Legs,
): Sequence[] {
  const { name, key, toZones } = ground.direct;
  const [kept, removed, ended, cut] = [direct(), direct(), direct(), direct()];
  const data = (talk: Talk, expect: string): Step => ({
    send: [toServer(talk, ack | psh, expect), toClient(talk, ack, expect)],
  });
  const ending = (now: number): Legs => {
    const { legs } = situation();
    const conduits = legs.conduits.map((conduit) =>
      conduit.key === key ? { ...conduit, expires: now + END_MS } : conduit,
    );
    return { ...legs, conduits };
  };
  const island = { islanded: new Set(toZones) };
  return [
    {
      name: "an apply of the same conduit leaves its sessions alone",
      steps: [
        start,
        { send: handshake(kept) },
        start,
        data(kept, "allow"),
        start,
        data(kept, "allow"),
      ],
    },
    {
      name: "a removed conduit ends its sessions at the next packet",
      steps: [
        start,
        { send: handshake(removed) },
        { load: () => situation({ legs: without(name) }) },
        data(removed, "revoked"),
        { send: [toServer(direct(), syn, "no-conduit")] },
      ],
    },
    {
      name: "a conduit that expires ends its sessions and opens no more",
      steps: [
        { load: (now) => situation({ legs: ending(now) }) },
        { send: handshake(ended) },
        data(ended, "allow"),
        { waitMs: AFTER_END_MS },
        data(ended, "expired"),
        { send: [toServer(direct(), syn, "expired")] },
      ],
    },
    {
      name: "an island cuts live sessions, and they go on when it ends",
      steps: [
        start,
        { send: handshake(cut) },
        { load: () => situation({ circumstances: island }) },
        data(cut, "island"),
        { send: [toServer(direct(), syn, "island")] },
        start,
        data(cut, "allow"),
      ],
    },
  ];
}

function udpTimeout(start: Step, ground: Ground): Sequence {
  const diode = talkOf(ground.legs, ground.diode);
  return {
    name: "UDP: a diode lets nothing back, and its session is forgotten",
    steps: [
      start,
      {
        send: [
          udp(diode, "to server", "allow"),
          udp(diode, "to client", "no-conduit"),
          udp(diode, "to server", "allow"),
        ],
      },
      { waitMs: AFTER_UDP_MS },
      { send: [udp(diode, "to client", "no-conduit"), udp(diode, "to server", "allow")] },
    ],
  };
}

function icmpErrors(start: Step, direct: () => Talk): Sequence {
  const [live, none] = [direct(), direct()];
  const error = (
    talk: Talk,
    type: number,
    expect: string,
    addressed = talk.client.address,
  ): Sent => {
    const quoted = toServer(talk, syn, "");
    const spec = { source: talk.server.address, destination: addressed, protocol: "icmp" } as const;
    return frame(
      talk.server.interface,
      { ...spec, icmp: { type, code: 1, identifier: 0 }, payload: quoteOf(quoted.bytes) },
      expect,
    );
  };
  return {
    name: "ICMP errors pass only about a live session, to the one they are about",
    steps: [
      start,
      {
        send: [
          ...handshake(live),
          error(live, ICMP_TYPE.unreachable, "allow"),
          error(live, ICMP_TYPE.timeExceeded, "allow"),
          error(live, 5, "no-conduit"),
          error(none, ICMP_TYPE.unreachable, "no-conduit"),
        ],
      },
    ],
  };
}

function sessionLimit(
  always: Legs,
  direct: () => Talk,
  situation: (changed?: Partial<Situation>) => Situation,
): Sequence {
  const legs = { ...always, limits: { ...always.limits, sessionsPerZone: LIMIT } };
  const talks = Array.from({ length: LIMIT + 1 }, direct);
  return {
    name: "at its budget a zone opens no more, and what is open goes on",
    steps: [
      { load: () => situation({ legs }) },
      {
        send: [
          ...talks.map((talk, index) =>
            toServer(talk, syn, index < LIMIT ? "allow" : "session-limit"),
          ),
          ...talks.slice(0, LIMIT).map((talk) => toClient(talk, syn | ack, "allow")),
        ],
      },
    ],
  };
}

function inspectedReplies(start: Step, ground: Ground): Sequence {
  const talk = talkOf(ground.legs, ground.inspected);
  const leg = ground.inspected.legs.find(({ redirects }) => redirects.length > 0);
  const listener = leg?.redirects.find(({ address }) => address === talk.server.address);
  const gate = {
    address: listener?.listenAddress ?? 0,
    interface: interfaceOf(ground.legs, listener?.listenAddress ?? 0),
  };
  const answers = { ...talk, server: gate, port: listener?.listenPort ?? 0 };
  const dialed = { ...answers, sourcePort: sourcePort++ };
  return {
    name: "the gate answers in the device's place, and cannot be dialed past the conduit",
    steps: [
      start,
      {
        send: [
          toServer(talk, syn, "allow"),
          toClient(answers, syn | ack, "allow"),
          toServer(talk, ack, "allow"),
          toClient(answers, ack | psh, "allow"),
          toServer(dialed, syn, "no-conduit"),
        ],
      },
    ],
  };
}

function grantEnds(
  ground: Ground,
  situation: (changed?: Partial<Situation>) => Situation,
): Sequence {
  const { session, legs } = ground;
  const listener = session.listeners.find(({ slot }) => slot === 0);
  const egress = listener?.egressAddress ?? 0;
  const target = listener?.targetAddress ?? 0;
  const talk = (): Talk => ({
    client: { address: egress, interface: interfaceOf(legs, egress) },
    server: { address: target, interface: interfaceOf(legs, target) },
    port: listener?.targetPort ?? 0,
    sourcePort: sourcePort++,
  });
  const [live, revoked] = [talk(), talk()];
  const grant = (id: string, now: number): Grant => ({
    ...{ id, conduit: session.name, person: "vendor-tech", reason: "agreement" },
    ...{ source: session.legs.find(({ point }) => point === "outer")?.from[0]?.first ?? 0 },
    ...{ asset: listener?.asset ?? "", target, protocol: "tcp", port: talk().port, slot: 0 },
    ...{ notBefore: now, notAfter: now + END_MS },
  });
  let second: Grant | undefined;
  return {
    name: "a grant opens its leg, ends by itself, and can be revoked",
    steps: [
      { load: () => situation() },
      { send: [toServer(talk(), syn, "no-grant")] },
      { load: (now) => situation({ circumstances: { grants: [grant("g-first", now)] } }) },
      { send: [...handshake(live), toServer(live, ack | psh, "allow")] },
      { waitMs: AFTER_END_MS },
      {
        send: [toServer(live, ack | psh, "grant-expired"), toServer(talk(), syn, "grant-expired")],
      },
      {
        load: (now) => {
          second = grant("g-second", now);
          return situation({ circumstances: { grants: [second] } });
        },
      },
      { send: handshake(revoked) },
      {
        load: (now) =>
          situation({
            circumstances: {
              grants: [second ?? grant("g-second", now)],
              revoked: new Set(["g-second"]),
            },
          }),
      },
      { send: [toServer(revoked, ack | psh, "revoked")] },
    ],
  };
}
