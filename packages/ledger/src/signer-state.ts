/**
 * What the log signed last, and what witnesses hold of it, in a file of its own: it is on disk before a
 * signature leaves, so that neither a crash nor a database restored from yesterday makes the log sign a
 * second history.
 */
import { SallyportError } from "@sallyport/core";
import { readText, type Sync, writeDurably } from "./durable-file.ts";
import { isSameHash, sha256 } from "./merkle.ts";
import { fromBase64, toBase64 } from "./note.ts";

interface SignedHead {
  readonly size: number;
  /** Base64. */
  readonly root: string;
}

/** A witness's claim; without a root it said only that it holds a longer log than we have. */
interface WitnessClaim {
  readonly size: number;
  readonly root?: string;
}

interface State {
  readonly origin: string;
  readonly signed: SignedHead;
  readonly witnesses: Readonly<Record<string, WitnessClaim>>;
}

/** A few hundred bytes a witness. */
const STATE_MAX_BYTES = 1024 * 1024;

export class SignerState {
  readonly #file: string;
  readonly #sync: Sync | undefined;
  #state: State;

  private constructor(file: string, state: State, sync: Sync | undefined) {
    this.#file = file;
    this.#state = state;
    this.#sync = sync;
  }

  /** The first one, of a ledger that was never signed. */
  static create(file: string, origin: string, sync?: Sync): SignerState {
    const empty = { size: 0, root: toBase64(sha256(new Uint8Array(0))) };
    const made = new SignerState(file, { origin, signed: empty, witnesses: {} }, sync);
    made.#write(made.#state);
    return made;
  }

  /** Undefined when there is none, which only a ledger that was never signed may do. */
  static read(file: string, origin: string, sync?: Sync): SignerState | undefined {
    const text = readText(file, STATE_MAX_BYTES);
    if (text === undefined) return undefined;
    const state = parseState(text);
    if (state === undefined) {
      throw new SallyportError("signer-state-damaged", `${file} is not what was written to it`, {
        hint: "Nothing is signed until it is restored; see the page of this code.",
      });
    }
    if (state.origin !== origin) {
      throw new SallyportError(
        "signer-state-damaged",
        `${file} is of the ledger "${state.origin}"`,
      );
    }
    return new SignerState(file, state, sync);
  }

  /**
   * Whether the head may be signed; on return that is on disk. `rootAt` tells the root that the tree has at
   * an earlier size.
   */
  allow(
    size: number,
    root: Uint8Array,
    rootAt: (size: number) => Uint8Array,
    witnesses: ReadonlySet<string>,
  ): void {
    const { signed } = this.#state;
    if (size < signed.size) throw rolledBack(size, `it signed a head of ${signed.size}`);
    for (const [name, claim] of Object.entries(this.#state.witnesses)) {
      if (!witnesses.has(name)) continue;
      if (claim.root === undefined || size < claim.size) {
        throw rolledBack(size, `the witness ${name} holds a head of ${claim.size}`);
      }
      this.#compare(claim.size, claim.root, rootAt, `the witness ${name} holds`);
    }
    this.#compare(signed.size, signed.root, rootAt, "was signed");
    if (size > signed.size) {
      this.#write({ ...this.#state, signed: { size, root: toBase64(root) } });
    }
  }

  #compare(size: number, root: string, rootAt: (size: number) => Uint8Array, who: string): void {
    if (isSameHash(rootAt(size), Buffer.from(root, "base64"))) return;
    throw new SallyportError("ledger-forked", `another head of ${size} records ${who}`, {
      hint: "The ledger was altered or restored from a copy. Keep it as evidence and begin a new one.",
    });
  }

  /** Notes what a witness holds: a root it cosigned, or only a size above ours. */
  witnessed(name: string, size: number, root?: Uint8Array): void {
    const last = this.#state.witnesses[name];
    if (last !== undefined && last.size >= size && root === undefined) return;
    if (last?.root !== undefined && last.size > size) return;
    const claim = root === undefined ? { size } : { size, root: toBase64(root) };
    this.#write({ ...this.#state, witnesses: { ...this.#state.witnesses, [name]: claim } });
  }

  /** Records that this witness is known to hold. */
  heldBy(name: string): number {
    return this.#state.witnesses[name]?.size ?? 0;
  }

  #write(state: State): void {
    const body = JSON.stringify(state);
    writeDurably(this.#file, `${body}\n${digestOf(body)}\n`, this.#sync);
    this.#state = state;
  }
}

function digestOf(body: string): string {
  return sha256(Buffer.from(body)).toString("hex");
}

function rolledBack(size: number, why: string): SallyportError {
  const message = `the ledger has ${size} records, but ${why}`;
  return new SallyportError("ledger-rolled-back", message, {
    hint: "It was restored from a copy. Keep it as evidence and begin a new one.",
  });
}

function parseState(text: string): State | undefined {
  const [body = "", digest, rest] = text.split("\n");
  if (rest !== "" || digest !== digestOf(body)) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { origin, signed, witnesses } = value as Record<string, unknown>;
  if (typeof origin !== "string" || !isClaim(signed) || signed.root === undefined) return undefined;
  if (typeof witnesses !== "object" || witnesses === null) return undefined;
  const claims = Object.entries(witnesses);
  if (!claims.every((entry): entry is [string, WitnessClaim] => isClaim(entry[1])))
    return undefined;
  const head = { size: signed.size, root: signed.root };
  return { origin, signed: head, witnesses: Object.fromEntries(claims) };
}

function isClaim(value: unknown): value is WitnessClaim {
  if (typeof value !== "object" || value === null) return false;
  const { size, root } = value as Record<string, unknown>;
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) return false;
  return root === undefined || (typeof root === "string" && fromBase64(root)?.length === 32);
}
