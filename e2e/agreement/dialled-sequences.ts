/**
 * Conversations with devices that are dialled from the gateway's own address (`source: gateway`): their
 * answers come to that address, and nothing else that comes there is one.
 */
import type { Legs } from "@sallyport/policy";
import { ICMP_TYPE, quoteOf, TCP_FLAG } from "@sallyport/wire";
import {
  frame,
  type Ground,
  type Sent,
  type Sequence,
  type Step,
  type Talk,
  talkOf,
  toClient,
  toServer,
} from "./sequences.ts";

const { syn, ack, fin, rst, psh } = TCP_FLAG;

export function dialledSequences(ground: Ground): Sequence[] {
  const { inspected, direct } = ground;
  // Whatever day it is.
  const conduits = ground.legs.conduits.map((conduit) => ({ ...conduit, windows: [] }));
  const legs: Legs = { ...ground.legs, conduits };
  const start: Step = { load: () => ({ legs, point: "inner", circumstances: {} }) };
  // The second half of the gate's conduit: from its egress address to the device.
  const gate = (): Talk => talkOf(legs, inspected, 1);
  return [
    ...[gate, () => talkOf(legs, direct)].map((talk, index) => states(start, talk, legs, index)),
    icmpErrors(start, gate(), legs),
    changedSource(start, gate(), legs),
  ];
}

/** Two sessions that would have one key: only one lives. nftables alone leaves that to the kernel. */
export function sameKeySequence(ground: Ground): Sequence {
  const { legs, inspected } = ground;
  const one = talkOf(legs, inspected, 1);
  const other = legs.conduits.find(
    ({ name, listeners }) =>
      name !== inspected.name &&
      listeners.some(({ targetAddress, targetPort }) => {
        return targetAddress === one.server.address && targetPort === one.port;
      }),
  );
  const index = other?.via === "inspect" ? 1 : 0;
  if (other === undefined) throw new Error("no second conduit leads to the device");
  const two = { ...talkOf(legs, other, index), sourcePort: one.sourcePort, server: one.server };
  return {
    name: "a second session from one source port to one device is refused until the first is over",
    steps: [
      { load: () => ({ legs, point: "inner", circumstances: {} }) },
      {
        send: [
          toServer(one, syn, "allow"),
          toServer(two, syn, "invalid-state"),
          toServer(one, rst, "allow"),
          toServer(two, syn, "allow"),
          toClient(atGateway(two, legs), syn | ack, "allow"),
        ],
      },
    ],
  };
}

/** The conversation as the device has it: its peer is the gateway, at the opener's port. */
function atGateway(talk: Talk, legs: Legs): Talk {
  const { address } = talk.server;
  const holds = ({ first, last }: { first: number; last: number }): boolean =>
    first <= address && address <= last;
  const source = legs.zones
    .flatMap(({ dialledFrom }) => dialledFrom ?? [])
    .find(({ to }) => to.some(holds))?.address;
  if (source === undefined) throw new Error("the device is not dialled from the gateway's address");
  return { ...talk, client: { ...talk.client, address: source } };
}

function states(start: Step, talk: () => Talk, legs: Legs, index: number): Sequence {
  const [open, aborted] = [talk(), talk()];
  const [peer, abortedPeer] = [atGateway(open, legs), atGateway(aborted, legs)];
  const elsewhere = { ...peer, sourcePort: peer.sourcePort + 1000 };
  const otherService = { ...peer, port: peer.port + 1 };
  return {
    name: `answers to the gateway's address, ${index === 0 ? "through a gate" : "direct"}`,
    steps: [
      start,
      {
        send: [
          toClient(peer, syn | ack, "to-gateway"),
          toServer(open, syn, "allow"),
          toClient(open, syn | ack, "no-conduit"),
          toClient(elsewhere, syn | ack, "to-gateway"),
          toClient(otherService, syn | ack, "to-gateway"),
          toClient(peer, syn, "to-gateway"),
          toClient(peer, syn | ack, "allow"),
          toServer(open, ack, "allow"),
          toServer(open, ack | psh, "allow"),
          toClient(peer, ack | psh, "allow"),
          toClient(open, ack | psh, "no-conduit"),
          toClient(peer, syn, "to-gateway"),
          toServer(open, fin | ack, "allow"),
          toClient(peer, fin | ack, "allow"),
          toServer(open, ack, "allow"),
          toServer(aborted, syn, "allow"),
          toClient(abortedPeer, rst | ack, "allow"),
        ],
      },
    ],
  };
}

function icmpErrors(start: Step, live: Talk, legs: Legs): Sequence {
  const peer = atGateway(live, legs);
  const about = (quoted: Sent, from: Talk["client"], to: number, expect: string): Sent => {
    const spec = { source: from.address, destination: to, protocol: "icmp" } as const;
    const icmp = { type: ICMP_TYPE.unreachable, code: 1, identifier: 0 };
    return frame(from.interface, { ...spec, icmp, payload: quoteOf(quoted.bytes) }, expect);
  };
  return {
    name: "ICMP errors about a translated session quote what their sender saw",
    steps: [
      start,
      {
        send: [
          toServer(live, syn, "allow"),
          toClient(peer, syn | ack, "allow"),
          toServer(live, ack, "allow"),
          about(toServer(peer, ack, ""), live.server, peer.client.address, "allow"),
          about(toServer(live, ack, ""), live.server, live.client.address, "no-conduit"),
          about(toClient(live, ack, ""), live.client, live.server.address, "allow"),
          about(toServer(live, ack, ""), live.server, peer.client.address, "to-gateway"),
        ],
      },
    ],
  };
}

function changedSource(start: Step, live: Talk, legs: Legs): Sequence {
  const peer = atGateway(live, legs);
  const zones = legs.zones.map(withoutDialling);
  const plain: Step = {
    load: () => ({ legs: { ...legs, zones }, point: "inner", circumstances: {} }),
  };
  const fresh = { ...live, sourcePort: live.sourcePort + 1000 };
  return {
    name: "a changed source leaves live sessions as they are",
    steps: [
      start,
      { send: [toServer(live, syn, "allow"), toClient(peer, syn | ack, "allow")] },
      plain,
      { send: [toServer(live, ack, "allow"), toClient(peer, ack | psh, "allow")] },
      { send: [toServer(fresh, syn, "allow"), toClient(fresh, syn | ack, "allow")] },
      start,
      { send: [toServer(fresh, ack, "allow"), toClient(fresh, ack | psh, "allow")] },
      { send: [toServer(live, ack, "allow"), toClient(peer, ack | psh, "allow")] },
    ],
  };
}

function withoutDialling(zone: Legs["zones"][number]): Legs["zones"][number] {
  const { name, kind, point, interface: device, addresses } = zone;
  return { name, kind, point, interface: device, addresses };
}
