/**
 * Whose signature opens, and what was opened by one: the enforcer's own list, durable before it is used. `control`
 * may show it and ask for changes; only local root, the first secret, or enough signatures change it.
 */
import path from "node:path";
import { SallyportError } from "@sallyport/core";
import { readIfThere, writeWhole } from "@sallyport/enforce";
import type { ApproverKey, FirstSecret, VerifiedApproval } from "@sallyport/identity/approval";

interface BookFile {
  readonly format: 1;
  /** Another one after each restore, so that nothing that was signed before it opens anything again. */
  readonly nodeEpoch?: number;
  keys: ApproverKey[];
  /** Ids of acts that were begun, and the last moment at which each could have been. */
  used: { readonly id: string; readonly startByMs: number }[];
  /** Every act that had to begin by this moment counts as used: shorter than a list without end. */
  usedUntilMs: number;
  first?: { readonly secret: string; readonly madeAtMs: number; readonly usedAtMs?: number };
}

/** A plant has tens of approvers; revoked keys stay on record. */
const KEYS_MAX = 500;
/** Kept this long beyond their end, in case a clock goes back a little. */
const USED_KEEP_MS = 24 * 3600 * 1000;
/** More acts than this in a week are not signed by people. */
const USED_MAX = 10_000;
/** How far ahead an act may be signed. */
export const START_AHEAD_MAX_MS: number = 7 * 24 * 3600 * 1000;

export class ApproverBook {
  private readonly file: string;
  private readonly book: BookFile;

  private constructor(file: string, book: BookFile) {
    this.file = file;
    this.book = book;
  }

  static async load(stateDir: string): Promise<ApproverBook> {
    const file = path.join(stateDir, "approvers.json");
    const text = await readIfThere(file);
    return new ApproverBook(file, text === undefined ? empty() : parse(text));
  }

  keys(): readonly ApproverKey[] {
    return this.book.keys;
  }

  find(id: string): ApproverKey | undefined {
    return this.book.keys.find((key) => key.id === id);
  }

  get nodeEpoch(): number {
    return this.book.nodeEpoch ?? 0;
  }

  get first(): FirstSecret | undefined {
    const { first } = this.book;
    return first && { ...first, secret: Buffer.from(first.secret, "base64url") };
  }

  async enrol(key: ApproverKey): Promise<void> {
    const same = this.book.keys.find(({ id, spki }) => id === key.id || spki === key.spki);
    if (same !== undefined) {
      const hint = "a revoked key stays revoked: make a new one";
      throw new SallyportError("approver-known", `key ${same.id} of ${same.person} is enrolled`, {
        hint,
      });
    }
    if (this.book.keys.length >= KEYS_MAX) {
      throw new SallyportError("approvers-full", `${KEYS_MAX} approver keys are on record already`);
    }
    this.book.keys.push(key);
    await this.save();
  }

  async revoke(id: string, nowMs: number): Promise<ApproverKey> {
    const key = this.find(id);
    if (key === undefined) {
      const hint = "sallyport approver list";
      throw new SallyportError("approver-unknown", `no approver key is called ${id}`, { hint });
    }
    const revoked = { ...key, revokedAtMs: key.revokedAtMs ?? nowMs };
    this.replace(revoked);
    await this.save();
    return revoked;
  }

  /** A new secret for the first approver; the one before is worth nothing from now on. */
  async makeFirst(secret: Uint8Array, nowMs: number): Promise<void> {
    this.book.first = { secret: Buffer.from(secret).toString("base64url"), madeAtMs: nowMs };
    await this.save();
  }

  /** The secret is used up before its key counts, whatever happens in between. */
  async enrolFirst(key: ApproverKey, nowMs: number): Promise<void> {
    if (this.book.first !== undefined) this.book.first = { ...this.book.first, usedAtMs: nowMs };
    await this.save();
    await this.enrol(key);
  }

  /** Signature counters, and the act's id, before the act begins. Refuses what has begun before. */
  async use(
    approvals: readonly VerifiedApproval[],
    act: { readonly id: string; readonly startByMs: number } | undefined,
    nowMs: number,
  ): Promise<void> {
    if (act !== undefined) this.begin(act, nowMs);
    for (const { key: id, counter } of approvals) {
      const key = this.find(id);
      if (key !== undefined && counter > (key.counter ?? 0)) this.replace({ ...key, counter });
    }
    await this.save();
  }

  private begin(act: { readonly id: string; readonly startByMs: number }, nowMs: number): void {
    const { book } = this;
    if (act.startByMs <= book.usedUntilMs || book.used.some(({ id }) => id === act.id)) {
      const hint = "ask anew: each request has an id of its own";
      throw new SallyportError("approval-used", `${act.id} was begun before`, { hint });
    }
    const old = book.used.filter(({ startByMs }) => startByMs < nowMs - USED_KEEP_MS);
    const kept = book.used.filter((used) => !old.includes(used));
    if (kept.length >= USED_MAX) {
      throw new SallyportError("approvals-too-many", `${USED_MAX} acts were begun in a week`);
    }
    book.usedUntilMs = Math.max(book.usedUntilMs, ...old.map(({ startByMs }) => startByMs));
    book.used = [...kept, act];
  }

  private replace(key: ApproverKey): void {
    this.book.keys = this.book.keys.map((old) => (old.id === key.id ? key : old));
  }

  private save(): Promise<void> {
    return writeWhole(this.file, JSON.stringify(this.book));
  }
}

function empty(): BookFile {
  return { format: 1, keys: [], used: [], usedUntilMs: 0 };
}

function parse(text: string): BookFile {
  try {
    const file = JSON.parse(text) as { format?: unknown };
    if (file.format === 1) return file as BookFile;
  } catch {
    // The same answer as for a format that nobody knows.
  }
  throw new SallyportError("state-damaged", "approvers.json cannot be read", {
    hint: "restore it from a backup; until then only local root opens anything",
  });
}
