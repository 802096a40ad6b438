/**
 * Pieces that all shapes use. What comes in is strict: an unknown member is an error. What goes out may gain
 * members in a later release, and a client must ignore those that it does not know.
 */
import { z } from "zod";
import { PAGE_MAX } from "../http/limits.ts";

/** Names and ids: what a path may hold, so neither a slash nor a control character. */
export const id = z
  .string()
  .max(128)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._:@-]*$/, "must be letters, digits and . _ : @ - only");

/** One line that a person wrote; control and format characters could forge lines of a log. */
export function line(maxLength: number): z.ZodString {
  return z
    .string()
    .min(1)
    .max(maxLength)
    .regex(/^[^\p{Cc}\p{Cf}\u2028\u2029]*$/u, "must be one line without control characters");
}

/** Why somebody did something, as the record keeps it. */
export const reason = line(1000);

/** A secret is never shown in an error or a log. */
export const secret = z.string().min(1).max(1024);

export const time = z.iso.datetime().max(40);
export const seconds = z
  .int()
  .min(1)
  .max(24 * 3600);
export const count = z.int().min(0);
export const sha256 = z.string().regex(/^[0-9a-f]{64}$/, "must be 64 hex digits");
export const ipv4 = z
  .string()
  .regex(
    /^((25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(25[0-5]|2[0-4]\d|1?\d?\d)$/,
    "must be an IPv4 address",
  );
export const base64url = z
  .string()
  .max(16_384)
  .regex(/^[A-Za-z0-9_-]*$/, "must be base64url without padding");

export const empty = z.strictObject({});
export const withReason = z.strictObject({ reason }).meta({ id: "Reason" });

export const pageQuery = {
  limit: z.int().min(1).max(PAGE_MAX).exactOptional(),
  cursor: z.string().max(512).exactOptional(),
};

export function pageOf<Item extends z.ZodType>(item: Item) {
  return z.object({
    items: z.array(item),
    /** Absent at the end of the list. */
    next: z.string().exactOptional(),
  });
}

/** What a service answers for a page: the place after it is plain text, of which the API makes a cursor. */
export interface Page<Item> {
  readonly items: readonly Item[];
  readonly next?: string;
}

export interface PageRequest {
  /** 1 to 200. */
  readonly limit: number;
  /** Where the page before ended. */
  readonly after?: string;
}

/** A second person's word, over the SHA-256 of the bytes of a `Signable`. */
export const approval = z
  .discriminatedUnion("kind", [
    z.strictObject({
      kind: z.literal("passkey"),
      key: id,
      credentialId: base64url,
      clientDataJSON: base64url,
      authenticatorData: base64url,
      signature: base64url,
    }),
    z.strictObject({ kind: z.literal("ed25519"), key: id, signature: base64url }),
  ])
  .meta({ id: "Approval" });
export type Approval = z.infer<typeof approval>;

export const given = z
  .object({ person: id, kind: z.enum(["passkey", "ed25519", "local-root"]), at: time })
  .meta({ id: "GivenApproval" });

/** What is signed, to the byte, and who has signed. */
export const signable = z
  .object({
    /** Canonical JSON, RFC 8785; its first member says what it is. */
    bytes: z.string(),
    sha256,
    needed: count,
    /** Whether one of them must be by a key whose holder's machine recompiled the policy. */
    keyNeeded: z.boolean(),
    approvals: z.array(given),
  })
  .meta({ id: "Signable" });
export type Signable = z.infer<typeof signable>;
