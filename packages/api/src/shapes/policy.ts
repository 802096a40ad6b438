import { z } from "zod";
import { count, id, ipv4, line, reason, seconds, sha256, signable, time } from "./common.ts";

export const policyFile = z
  .strictObject({
    name: z
      .string()
      .max(255)
      .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, "must be a plain file name"),
    text: z.string().max(1024 * 1024),
  })
  .meta({ id: "PolicyFile" });
export type PolicyFile = z.infer<typeof policyFile>;

export const policyFiles = z
  .strictObject({ files: z.array(policyFile).min(1).max(64) })
  .meta({ id: "PolicyFiles" });

/** `sha256` is that of the files and is the ETag. */
export const draft = z
  .object({
    files: z.array(policyFile),
    sha256,
    baseGeneration: count,
    editedBy: id.exactOptional(),
    editedAt: time.exactOptional(),
  })
  .meta({ id: "Draft" });

export const running = z
  .object({
    generation: count,
    site: z.string(),
    sha256,
    files: z.array(policyFile),
    confirmedAt: time.exactOptional(),
  })
  .meta({ id: "RunningPolicy" });

export const diagnostic = z
  .object({
    code: z.string(),
    severity: z.enum(["error", "warning", "note"]),
    file: z.string(),
    line: count,
    column: count,
    message: z.string(),
    hint: z.string().exactOptional(),
  })
  .meta({ id: "Diagnostic" });

export const validation = z
  .object({ valid: z.boolean(), diagnostics: z.array(diagnostic), conduits: count })
  .meta({ id: "Validation" });

export const question = z
  .strictObject({
    source: ipv4,
    destination: ipv4,
    protocol: z.enum(["tcp", "udp", "icmp"]),
    port: z.int().min(0).max(65_535).exactOptional(),
    at: time.exactOptional(),
    /** Which policy is asked; the running one when left out. */
    of: z.enum(["running", "draft"]).exactOptional(),
  })
  .meta({ id: "Question" });

export const explanation = z
  .object({
    verdict: z.enum(["pass", "refuse"]),
    reason: z.string(),
    conduit: z.string().exactOptional(),
    policyLine: z.string().exactOptional(),
    steps: z.array(z.string()),
    nearest: z.array(z.string()),
  })
  .meta({ id: "Explanation" });

export const matrixRow = z
  .object({
    from: z.string(),
    to: z.string(),
    conduits: z.array(
      z.object({ name: z.string(), via: z.string(), service: z.string(), open: z.boolean() }),
    ),
  })
  .meta({ id: "MatrixRow" });

export const matrix = z
  .object({ at: time, zones: z.array(z.string()), rows: z.array(matrixRow) })
  .meta({ id: "Matrix" });

export const diff = z
  .object({
    opens: z.array(z.string()),
    closes: z.array(z.string()),
    changes: z.array(z.string()),
    isOpening: z.boolean(),
  })
  .meta({ id: "Diff" });

/** Either side may be the running policy, the draft, or files as they are sent. */
export const diffQuestion = z
  .strictObject({
    before: z.enum(["running", "draft"]),
    after: z.union([z.enum(["running", "draft"]), policyFiles]),
  })
  .meta({ id: "DiffQuestion" });

export const newChange = z
  .strictObject({
    reason,
    ticket: line(128).exactOptional(),
    /** The draft that was looked at; a later edit is then refused, not planned. */
    draftSha256: sha256,
  })
  .meta({ id: "NewChange" });

export const changeState = z.enum([
  "planned",
  "approved",
  "applied",
  "confirmed",
  "rolled-back",
  "withdrawn",
  "outdated",
]);

export const change = z
  .object({
    id,
    state: changeState,
    author: id,
    reason: z.string(),
    ticket: z.string().exactOptional(),
    createdAt: time,
    policySha256: sha256,
    baseGeneration: count,
    nextGeneration: count,
    diff,
    confirmBy: time.exactOptional(),
    signable,
  })
  .meta({ id: "Change" });
export type Change = z.infer<typeof change>;

export const applyChange = z
  .strictObject({ sha256, confirmWithinSeconds: z.int().min(2).max(3600) })
  .meta({ id: "ApplyChange" });

export const newGrantRequest = z
  .strictObject({
    conduit: id,
    asset: id,
    source: ipv4,
    seconds,
    reason,
    ticket: line(128).exactOptional(),
    notBefore: time.exactOptional(),
  })
  .meta({ id: "NewGrantRequest" });

export const grantRequestState = z.enum([
  "waiting",
  "approved",
  "granted",
  "denied",
  "withdrawn",
  "expired",
]);

export const grantRequest = z
  .object({
    id,
    state: grantRequestState,
    person: id,
    conduit: id,
    asset: id,
    source: ipv4,
    seconds,
    reason: z.string(),
    ticket: z.string().exactOptional(),
    createdAt: time,
    notBefore: time,
    notAfter: time,
    deniedBecause: z.string().exactOptional(),
    signable,
  })
  .meta({ id: "GrantRequest" });
export type GrantRequest = z.infer<typeof grantRequest>;

export const newGrant = z.strictObject({ request: id }).meta({ id: "NewGrant" });

export const grant = z
  .object({
    id,
    person: z.string(),
    conduit: id,
    asset: id,
    source: ipv4,
    until: time,
    packets: count,
  })
  .meta({ id: "Grant" });
export type Grant = z.infer<typeof grant>;

export const revoked = z.object({ revoked: count }).meta({ id: "Revoked" });

export const zone = z
  .object({ name: id, side: z.string(), level: z.string(), island: z.boolean(), approvals: count })
  .meta({ id: "Zone" });

/** An island's end is an opening act, so it is asked for and signed like a change. */
export const reconnection = z
  .object({
    id,
    zone: id,
    state: z.enum(["waiting", "approved", "done", "expired"]),
    person: id,
    reason: z.string(),
    notAfter: time,
    signable,
  })
  .meta({ id: "Reconnection" });

export const enrolmentQuestion = z
  .strictObject({
    person: id,
    name: line(64),
    key: z.discriminatedUnion("kind", [
      z.strictObject({ kind: z.literal("ed25519"), publicKey: z.string().length(43) }),
      z.strictObject({ kind: z.literal("passkey"), credential: id }),
    ]),
  })
  .meta({ id: "NewEnrolment" });

export const enrolment = z
  .object({
    id,
    person: id,
    name: z.string(),
    state: z.enum(["waiting", "approved", "done", "expired"]),
    notAfter: time,
    signable,
  })
  .meta({ id: "Enrolment" });
