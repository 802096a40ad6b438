import { randomBytes, timingSafeEqual } from "node:crypto";
import { type Json, SallyportError } from "@sallyport/core";
import {
  type ApproverKey,
  enrolFirstApprover,
  FIRST_SECRET_BYTES,
  FIRST_SECRET_LIFE_MS,
  type FirstApprover,
  firstAdminToken,
  isApproverKey,
} from "@sallyport/identity/approval";
import type { WantedKey } from "../messages.ts";
import type { ApproverBook } from "./approver-book.ts";

/** The enforcer's answers about whose signatures count. What is signed for was checked by the desk before. */
export class ApproverActs {
  readonly #book: ApproverBook;
  readonly #record: (type: string, fields: Readonly<Record<string, unknown>>) => void;

  constructor(
    book: ApproverBook,
    record: (type: string, fields: Readonly<Record<string, unknown>>) => void,
  ) {
    this.#book = book;
    this.#record = record;
  }

  list(): readonly ApproverKey[] {
    return this.#book.keys();
  }

  async enrol(wanted: WantedKey, nowMs: number): Promise<Json> {
    const key: ApproverKey = {
      ...wanted,
      ...(wanted.kind === "passkey" ? { counter: 0 } : {}),
      enrolledAtMs: nowMs,
    };
    const { person, kind, spki, credentialId = "", rpId = "", origin = "" } = wanted;
    if (!isApproverKey({ person, kind, spki, credentialId, rpId, origin })) {
      throw new SallyportError("approver-key-unusable", `key ${key.id} is not one that can sign`, {
        hint: "Ed25519; or a passkey with P-256, Ed25519 or RSA, its credential, relying party and origin",
      });
    }
    await this.#book.enrol(key);
    this.#told("approver-enrolled", key);
    return { id: key.id };
  }

  async revoke(id: string, nowMs: number): Promise<Json> {
    this.#told("approver-revoked", await this.#book.revoke(id, nowMs));
    return { id };
  }

  /** Answered once, to local root, who prints it. */
  async makeFirst(nowMs: number): Promise<Json> {
    const secret = randomBytes(FIRST_SECRET_BYTES);
    await this.#book.makeFirst(secret, nowMs);
    const until = new Date(nowMs + FIRST_SECRET_LIFE_MS).toISOString();
    this.#record("first-link-made", { until });
    return { secret: secret.toString("base64url"), until };
  }

  /** Whether somebody who opened the one link is there. */
  checkFirst(token: string, nowMs: number): Json {
    const { first } = this.#book;
    if (first === undefined || first.usedAtMs !== undefined) return { valid: false };
    if (nowMs < first.madeAtMs || nowMs >= first.madeAtMs + FIRST_SECRET_LIFE_MS) {
      return { valid: false };
    }
    const [given, wanted] = [Buffer.from(token), Buffer.from(firstAdminToken(first.secret))];
    return { valid: given.length === wanted.length && timingSafeEqual(given, wanted) };
  }

  async enrolFirst(wanted: FirstApprover, proof: string, nowMs: number): Promise<Json> {
    const { first } = this.#book;
    const id = `first-${wanted.person}`.slice(0, 64);
    const verdict =
      first === undefined ? undefined : enrolFirstApprover(first, wanted, proof, { id, nowMs });
    if (verdict?.kind !== "enrolled") {
      const why =
        verdict === undefined ? "no first link was made" : `${verdict.why} (${verdict.code})`;
      throw new SallyportError("approval-refused", why, { hint: "as root: sallyport admin link" });
    }
    await this.#book.enrolFirst(verdict.key, nowMs);
    this.#told("approver-enrolled", verdict.key);
    return { id };
  }

  #told(type: string, { id, person, kind, zones, spki }: ApproverKey): void {
    this.#record(type, { key: id, person, kind, spki, ...(zones === undefined ? {} : { zones }) });
  }
}
