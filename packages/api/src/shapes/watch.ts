/** What is looked at: state, flows, the ledger, live events; and what tells others. */
import { z } from "zod";
import { count, id, ipv4, line, pageQuery, sha256, time } from "./common.ts";

export const status = z
  .object({
    instance: z.string(),
    site: z.string().exactOptional(),
    generation: count.exactOptional(),
    pending: z.object({ generation: count, confirmBy: time }).exactOptional(),
    /** Sentences; an empty list means that every promise holds. */
    degraded: z.array(z.string()),
    timeTrusted: z.boolean(),
    islands: z.array(z.string()),
    conduits: count,
    open: count,
    grants: count,
    refused: count,
  })
  .meta({ id: "Status" });

export const conduit = z
  .object({
    name: z.string(),
    via: z.string(),
    from: z.string(),
    to: z.string(),
    open: z.boolean(),
    until: time.exactOptional(),
    reason: z.string().exactOptional(),
    packets: count,
    bytes: count,
  })
  .meta({ id: "Conduit" });
export type Conduit = z.infer<typeof conduit>;

export const processState = z
  .object({
    name: z.string(),
    state: z.enum(["running", "starting", "failed", "stopped"]),
    ready: z.boolean(),
    since: time,
    restarts: count,
    why: z.string().exactOptional(),
  })
  .meta({ id: "Process" });
export type ProcessState = z.infer<typeof processState>;

export const readiness = z
  .object({
    ready: z.boolean(),
    processes: z.array(z.object({ name: z.string(), ready: z.boolean() })),
  })
  .meta({ id: "Readiness" });

export const drift = z.object({ at: time, differences: z.array(z.string()) }).meta({ id: "Drift" });

export const finding = z
  .object({
    check: z.string(),
    state: z.enum(["good", "degraded", "failed", "unknown"]),
    why: z.string(),
    hint: z.string().exactOptional(),
  })
  .meta({ id: "Finding" });

export const flowQuery = z.strictObject({
  since: time.exactOptional(),
  until: time.exactOptional(),
  conduit: id.exactOptional(),
  by: z.enum(["minute", "hour"]).exactOptional(),
  ...pageQuery,
});

export const flow = z
  .object({
    start: time,
    point: z.string(),
    conduit: z.string(),
    source: z.string(),
    destination: z.string(),
    sourceZone: z.string(),
    destinationZone: z.string(),
    protocol: z.string(),
    port: count,
    function: z.string(),
    reason: z.string(),
    accepted: count,
    refused: count,
    sampled: count,
  })
  .meta({ id: "Flow" });
export type Flow = z.infer<typeof flow>;

export const denialQuery = z.strictObject({
  since: time.exactOptional(),
  until: time.exactOptional(),
  zone: id.exactOptional(),
  reason: id.exactOptional(),
  source: ipv4.exactOptional(),
  ...pageQuery,
});

/** A signed checkpoint, as C2SP checkpoints are written. */
export const head = z
  .object({ origin: z.string(), size: count, root: sha256, at: time, checkpoint: z.string() })
  .meta({ id: "Head" });

export const record = z
  .object({
    index: count,
    type: z.string(),
    at: time,
    /** The person who did it, if one did and the caller may see names. */
    person: z.string().exactOptional(),
    fields: z.record(z.string(), z.unknown()),
    /** Salted commitments of personal fields, which outlive the fields. */
    commitments: z.record(z.string(), z.string()),
    leaf: sha256,
  })
  .meta({ id: "Record" });
export type LedgerRecord = z.infer<typeof record>;

export const recordQuery = z.strictObject({
  type: id.exactOptional(),
  person: id.exactOptional(),
  since: time.exactOptional(),
  until: time.exactOptional(),
  ...pageQuery,
});

export const proof = z
  .object({
    index: count,
    size: count,
    leaf: sha256,
    root: sha256,
    hashes: z.array(sha256),
    /** The same as one file with the record and a signed head (c2sp.org/tlog-proof), where no size was asked for. */
    file: z.string().exactOptional(),
  })
  .meta({ id: "InclusionProof" });

export const proofQuery = z.strictObject({ size: z.int().min(1).exactOptional() });

export const consistencyQuery = z.strictObject({ from: z.int().min(0), to: z.int().min(0) });

export const consistency = z
  .object({ from: count, to: count, hashes: z.array(sha256) })
  .meta({ id: "ConsistencyProof" });

export const newExport = z
  .strictObject({
    since: time.exactOptional(),
    until: time.exactOptional(),
    /** With the personal fields that are still kept; a record says so. */
    people: z.boolean(),
    reason: line(1000),
  })
  .meta({ id: "NewExport" });

export const ledgerExport = z
  .object({
    id,
    state: z.enum(["running", "ready", "failed"]),
    createdAt: time,
    records: count,
    bytes: count.exactOptional(),
    sha256: sha256.exactOptional(),
    why: z.string().exactOptional(),
  })
  .meta({ id: "LedgerExport" });

export const witness = z
  .object({ name: z.string(), key: z.string(), seenSize: count, seenAt: time.exactOptional() })
  .meta({ id: "Witness" });

const pem = z.string().max(16_384);

/** What every place has to which records go. */
const destination = {
  name: id,
  format: z.enum(["rfc5424", "cef", "ocsf"]),
  /** PEM of whom to trust; the list that Node brings when left out. */
  trust: pem.exactOptional(),
  /** Only these types of records; all when left out. */
  types: z.array(id).max(64).exactOptional(),
  people: z.boolean(),
  /** For a new one: from the first record of the ledger (so when left out), or only what comes from now on. */
  begin: z.enum(["first", "next"]).exactOptional(),
};

const syslog = {
  ...destination,
  /** `address:port` or `name:port`. */
  to: line(261),
  transport: z.enum(["tls", "tcp", "udp"]),
  /** PEM by which the receiver knows the gateway. */
  clientCertificate: pem.exactOptional(),
};

const hook = {
  ...destination,
  /** `https://name[:port]/path`. */
  to: line(2048),
};

export const target = z
  .strictObject({
    ...syslog,
    /** PEM; never shown again. Left out, the one that is kept stays. */
    clientKey: pem.exactOptional(),
  })
  .meta({ id: "NewForwardingTarget" });
export type NewTarget = z.infer<typeof target>;

export const webhook = z
  .strictObject({
    ...hook,
    /** Key of the HMAC; never shown again. Left out, the one that is kept stays. */
    secret: z.string().min(32).max(256).exactOptional(),
  })
  .meta({ id: "NewWebhook" });
export type NewWebhook = z.infer<typeof webhook>;

export const forwarding = z
  .object({
    sha256,
    targets: z.array(z.object(syslog).meta({ id: "ForwardingTarget" })),
    webhooks: z.array(z.object(hook).meta({ id: "Webhook" })),
  })
  .meta({ id: "Forwarding" });

export const newForwarding = z
  .strictObject({
    targets: z.array(target).max(8),
    /** None when left out. */
    webhooks: z.array(webhook).max(8).exactOptional(),
  })
  .meta({ id: "NewForwarding" });

export const forwardingState = z
  .object({
    name: id,
    state: z.enum(["connected", "waiting", "failed"]),
    /** Records that the receiver has taken: the first that it may not have has this number. */
    sentThrough: count,
    behind: count,
    /** Tries that failed since the last one that did not. */
    failures: count,
    lastSentAt: time.exactOptional(),
    why: z.string().exactOptional(),
  })
  .meta({ id: "ForwardingState" });

export const backup = z
  .object({
    id,
    createdAt: time,
    bytes: count,
    sha256,
    verified: z.enum(["never", "good", "failed"]),
    verifiedAt: time.exactOptional(),
    why: z.string().exactOptional(),
  })
  .meta({ id: "Backup" });

export const eventQuery = z.strictObject({ types: z.string().max(512).exactOptional() });

/** One live event. A closed list: a client shows what it knows and ignores the rest. */
export const liveEvent = z
  .object({
    /** Rises by one; what `Last-Event-ID` names. */
    id: count,
    type: z.enum([
      "status",
      "change",
      "grant",
      "island",
      "denial",
      "record",
      "process",
      "session",
      "finding",
    ]),
    at: time,
    /** The id of what it is about, which can be fetched. */
    about: z.string().exactOptional(),
    data: z.record(z.string(), z.unknown()),
  })
  .meta({ id: "LiveEvent" });
export type LiveEvent = z.infer<typeof liveEvent>;
