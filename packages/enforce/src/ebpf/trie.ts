/** Prefixes and the legs that begin or end in each: which classes of addresses a policy tells apart. */
import { type Interval, type Ipv4, type Prefix, prefixesOf, subtract } from "@sallyport/core";
import type { Conduit, Leg, Redirect } from "@sallyport/policy/legs";
import type { Lowering } from "../engine.ts";
import { tooLarge } from "./layout.ts";

/** What is known about a prefix apart from legs. */
export interface AddressMark extends Prefix {
  readonly zone?: number;
  readonly ifindex?: number;
  /** The source with which sessions to it leave the room; undefined: their own. */
  readonly dialledFrom?: Ipv4 | undefined;
  readonly own?: boolean;
  readonly broadcast?: boolean;
  /** Index + 1 of the component that has the address at this point. */
  readonly room?: number;
}

/** A leg at this point, or for a leg to a gate the share of one address that it redirects. */
export interface Member {
  readonly leg: Leg;
  readonly id: number;
  readonly diode: boolean;
  readonly from: number;
  readonly to: readonly Interval[];
  /** Of a session conduit, which grants open. */
  readonly session: boolean;
  /** By port; undefined: forward. An address or port without an entry leads nowhere. */
  readonly redirects: ReadonlyMap<number, Redirect> | undefined;
}

export interface Classes {
  readonly places: readonly {
    readonly mark: AddressMark;
    readonly sourceClass: number;
    readonly targetClass: number;
  }[];
  /** Per `Member.from`: the source classes whose addresses are in the leg. */
  readonly sources: readonly (readonly number[])[];
  /** Per member: the target classes whose addresses are in it. */
  readonly targets: readonly (readonly number[])[];
}

/** Classes are 16-bit numbers in the program; 0 is an address in no leg. */
const CLASSES_MAX = 65_535;
/** What all classes together may hold: beyond it nested conduits have multiplied. */
const MEMBERSHIPS_MAX = 4_000_000;

/** In the order in which a packet asks: conduits by name, audit conduits after them. */
export function membersOf({ legs, point, conduits }: Lowering): Member[] {
  const members: Member[] = [];
  let from = 0;
  for (const audit of [false, true]) {
    for (const conduit of legs.conduits) {
      const entry = conduits.get(conduit.key);
      if (entry === undefined || entry.audit !== audit) continue;
      for (const leg of conduit.legs) {
        if (leg.point !== point) continue;
        const diode = entry.diode || !leg.replies;
        for (const share of sharesOf(conduit, leg)) {
          const session = conduit.session !== undefined;
          members.push({ leg, id: entry.id, diode, from, session, ...share });
        }
        from++;
      }
    }
  }
  return members;
}

function sharesOf(conduit: Conduit, leg: Leg): Pick<Member, "to" | "redirects">[] {
  const nowhere = new Map<number, Redirect>();
  // Whatever its entry in the live set says: only grants open a session conduit.
  if (conduit.session !== undefined) return [{ to: leg.to, redirects: nowhere }];
  if (leg.redirects.length === 0) return [{ to: leg.to, redirects: undefined }];
  const byAddress = new Map<Ipv4, Map<number, Redirect>>();
  for (const redirect of leg.redirects) {
    if (redirect.slot !== 0) continue;
    const ports = byAddress.get(redirect.address) ?? new Map<number, Redirect>();
    byAddress.set(redirect.address, ports.set(redirect.port, redirect));
  }
  const shares: Pick<Member, "to" | "redirects">[] = [];
  let rest = leg.to;
  for (const [address, redirects] of [...byAddress].sort(([a], [b]) => a - b)) {
    const to = [{ first: address, last: address }];
    const outside = subtract(to, leg.to);
    if (outside.length === 0) shares.push({ to, redirects });
  }
  const taken = shares.flatMap(({ to }) => to);
  rest = subtract(rest, taken);
  if (rest.length > 0) shares.push({ to: rest, redirects: nowhere });
  return shares;
}

interface Node extends Prefix {
  mark: AddressMark;
  sources: number[];
  targets: number[];
}

/** Sets of members (or legs), numbered: equal sets have one number. */
class Interner {
  readonly holders: number[][];
  readonly #numbers = new Map<string, number>([["", 0]]);
  #memberships = 0;

  constructor(members: number) {
    this.holders = Array.from({ length: members }, () => []);
  }

  numberOf(set: readonly number[]): number {
    const key = set.join(",");
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    const number = this.#numbers.size;
    this.#memberships += set.length;
    if (number > CLASSES_MAX || this.#memberships > MEMBERSHIPS_MAX) {
      throw tooLarge("conduits tell too many classes of addresses apart");
    }
    this.#numbers.set(key, number);
    for (const member of set) this.holders[member]?.push(number);
    return number;
  }
}

/** An address inside of several prefixes has what all of them say; the longest one finds it. */
export function classify(marks: readonly AddressMark[], members: readonly Member[]): Classes {
  const nodes = nodesOf(marks, members);
  const sources = new Interner((members.at(-1)?.from ?? -1) + 1);
  const targets = new Interner(members.length);
  const places: { mark: AddressMark; sourceClass: number; targetClass: number }[] = [];
  const around: { last: Ipv4; node: Node; sourceClass: number; targetClass: number }[] = [];
  for (const node of nodes) {
    while ((around.at(-1)?.last ?? Number.POSITIVE_INFINITY) < node.address) around.pop();
    const outer = around.at(-1);
    if (outer !== undefined) node.mark = { ...inherited(outer.node.mark), ...node.mark };
    const sourceClass = join(node, "sources", outer?.node, outer?.sourceClass ?? 0, sources);
    const targetClass = join(node, "targets", outer?.node, outer?.targetClass ?? 0, targets);
    places.push({ mark: node.mark, sourceClass, targetClass });
    if (node.length < 32) {
      const last = node.address + 2 ** (32 - node.length) - 1;
      around.push({ last, node, sourceClass, targetClass });
    }
  }
  return { places, sources: sources.holders, targets: targets.holders };
}

function inherited({ zone, ifindex, dialledFrom }: AddressMark): Partial<AddressMark> {
  return zone === undefined || ifindex === undefined ? {} : { zone, ifindex, dialledFrom };
}

function join(
  node: Node,
  side: "sources" | "targets",
  outer: Node | undefined,
  outerClass: number,
  interner: Interner,
): number {
  const around = outer?.[side] ?? [];
  if (node[side].length === 0) {
    node[side] = around;
    return outerClass;
  }
  if (around.length > 0) {
    node[side] = [...new Set([...around, ...node[side]])].sort((a, b) => a - b);
  }
  return interner.numberOf(node[side]);
}

function nodesOf(marks: readonly AddressMark[], members: readonly Member[]): Node[] {
  const nodes = new Map<number, Node>();
  const nodeAt = ({ address, length }: Prefix): Node => {
    const key = address * 64 + length;
    let node = nodes.get(key);
    if (node === undefined) {
      node = { address, length, mark: { address, length }, sources: [], targets: [] };
      nodes.set(key, node);
    }
    return node;
  };
  for (const mark of marks) {
    const node = nodeAt(mark);
    node.mark = { ...node.mark, ...mark };
  }
  let from = -1;
  members.forEach((member, index) => {
    for (const prefix of member.to.flatMap(prefixesOf)) nodeAt(prefix).targets.push(index);
    if (member.from === from) return;
    from = member.from;
    for (const prefix of member.leg.from.flatMap(prefixesOf)) nodeAt(prefix).sources.push(from);
  });
  return [...nodes.values()].sort((a, b) => a.address - b.address || a.length - b.length);
}
