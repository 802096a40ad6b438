/** The few forms of libnftables-json(5) that the engine uses, as values. */
import type { Json } from "@sallyport/core";

export type { Json };

/** What `nft -j -f -` takes: all of it happens, or nothing. */
export interface Document {
  readonly nftables: readonly Command[];
}
export type Command = { readonly [verb: string]: Json };
type Members = { readonly [name: string]: Json };

/** `sallyport` in two families: `ip` judges, `netdev` screens what is not IPv4. */
export type Family = "ip" | "netdev";
export const TABLE = "sallyport";

export function add(kind: string, members: Members, family: Family = "ip"): Command {
  return { add: { [kind]: { family, table: TABLE, ...members } } };
}

export function addTable(family: Family): Command {
  return { add: { table: { family, name: TABLE } } };
}

export function flush(kind: "chain" | "set" | "map", name: string, family: Family = "ip"): Command {
  return { flush: { [kind]: { family, table: TABLE, name } } };
}

export function rule(chain: string, ...expr: readonly Json[]): Command {
  return add("rule", { chain, expr });
}

export function netdevRule(chain: string, ...expr: readonly Json[]): Command {
  return add("rule", { chain, expr }, "netdev");
}

/** No command at all for no elements: nft refuses an empty list. */
export function elements(name: string, elem: readonly Json[]): Command[] {
  return elem.length === 0 ? [] : [add("element", { name, elem })];
}

/**
 * Elements inside a declaration that is there already. Unlike a command for elements alone, it does not
 * make nft read all interval sets of the room first: 17,000 zone ranges take it most of a second.
 */
export function filled(declaration: Command, elem: readonly Json[]): Command[] {
  if (elem.length === 0) return [];
  const [[kind, members] = ["", {}]] = Object.entries(declaration["add"] ?? {});
  return [{ add: { [kind]: { ...(members as Members), elem } } }];
}

/** Elements that may or may not be there are gone afterwards: deleting a missing one is an error. */
export function removed(name: string, elem: readonly Json[]): Command[] {
  if (elem.length === 0) return [];
  return [
    ...elements(name, elem),
    { delete: { element: { family: "ip", table: TABLE, name, elem } } },
  ];
}

export const meta = (key: string): Json => ({ meta: { key } });
export const ct = (key: string): Json => ({ ct: { key } });
export const field = (protocol: string, name: string): Json => ({
  payload: { protocol, field: name },
});
/** Raw bits; the rule does not match where they are beyond the packet's end. */
export const bits = (base: "ll" | "th", offset: number, len: number): Json => ({
  payload: { base, offset, len },
});
export const concat = (...parts: readonly Json[]): Json => ({ concat: parts });
export const and = (left: Json, mask: number): Json => ({ "&": [left, mask] });
export const or = (left: Json, mask: number): Json => ({ "|": [left, mask] });
export const match = (left: Json, op: "==" | "!=" | ">=" | "in", right: Json): Json => ({
  match: { op, left, right },
});
export const set = (key: Json, value: Json): Json => ({ mangle: { key, value } });
export const lookup = (key: Json, name: string): Json => ({ map: { key, data: `@${name}` } });
export const vmap = (key: Json, name: string): Json => ({ vmap: { key, data: `@${name}` } });
/** In a dynamic set, per key: the rule goes on only if `stmt` says so. */
export const each = (op: "add" | "update", name: string, elem: Json, ...stmt: Json[]): Json => ({
  set: { op, elem, set: `@${name}`, stmt },
});
export const jump = (target: string): Json => ({ jump: { target } });
export const goto = (target: string): Json => ({ goto: { target } });
export const ACCEPT: Json = { accept: null };
export const DROP: Json = { drop: null };
export const RETURN: Json = { return: null };
export const COUNTER: Json = { counter: null };
