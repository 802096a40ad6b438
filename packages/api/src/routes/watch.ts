import { z } from "zod";
import { get, post, put } from "../http/route.ts";
import { HttpError } from "../http/problem.ts";
import { empty, pageOf, pageQuery } from "../shapes/common.ts";
import * as shapes from "../shapes/watch.ts";

const paged = z.strictObject(pageQuery);

export const statusRoutes = [
  get("/v1/status", {
    summary: "How the gateway is",
    access: "plant.read",
    answer: shapes.status,
    run: ({ status }, caller) => status.status(caller),
  }),
  get("/v1/conduits", {
    summary: "List conduits, which are open, and what they carry",
    access: "plant.read",
    query: paged,
    answer: pageOf(shapes.conduit),
    run: ({ status }, caller, { page }) => status.conduits(caller, page),
  }),
  get("/v1/processes", {
    summary: "List the gateway's processes",
    access: "plant.read",
    answer: z.object({ items: z.array(shapes.processState) }),
    run: async ({ status }, caller) => ({ items: await status.processes(caller) }),
  }),
  get("/v1/drift", {
    summary: "Where the kernel differs from the policy in force",
    access: "plant.read",
    answer: shapes.drift,
    run: ({ status }, caller) => status.drift(caller),
  }),
  get("/v1/doctor", {
    summary: "What of this machine holds and what does not",
    access: "plant.read",
    answer: z.object({ items: z.array(shapes.finding) }),
    run: async ({ status }, caller) => ({ items: await status.doctor(caller) }),
  }),
  get("/v1/flows", {
    summary: "Who talked to whom, newest first",
    access: "plant.read",
    query: shapes.flowQuery,
    answer: pageOf(shapes.flow),
    run: ({ flows }, caller, { query, page }) => flows.flows(caller, query, page),
  }),
  get("/v1/denials", {
    summary: "What was refused and why, newest first",
    access: "plant.read",
    query: shapes.denialQuery,
    answer: pageOf(shapes.flow),
    run: ({ flows }, caller, { query, page }) => flows.denials(caller, query, page),
  }),
] as const;

/** An index is a whole number that a path holds as text. */
function indexOf(text: string): number {
  const index = /^\d{1,15}$/.test(text) ? Number(text) : -1;
  if (index >= 0) return index;
  const message = "must be a whole number from 0";
  throw new HttpError("wrong-fields", `index ${message}`, {
    errors: [{ field: "index", message }],
  });
}

export const ledgerRoutes = [
  get("/v1/ledger/head", {
    summary: "The newest signed head of the ledger",
    access: "evidence.read",
    answer: shapes.head,
    run: ({ ledger }, caller) => ledger.head(caller),
  }),
  get("/v1/ledger/records", {
    summary: "List records, newest first",
    access: "evidence.read",
    query: shapes.recordQuery,
    answer: pageOf(shapes.record),
    run: ({ ledger }, caller, { query, page }) => ledger.records(caller, query, page),
  }),
  get("/v1/ledger/records/{index}", {
    summary: "Show a record",
    access: "evidence.read",
    answer: shapes.record,
    run: ({ ledger }, caller, { params }) => ledger.record(caller, indexOf(params.index)),
  }),
  get("/v1/ledger/records/{index}/proof", {
    summary: "Prove that a record is in the ledger",
    access: "evidence.prove",
    query: shapes.proofQuery,
    answer: shapes.proof,
    run: ({ ledger }, caller, { params, query }) =>
      ledger.proof(caller, indexOf(params.index), query.size),
  }),
  get("/v1/ledger/consistency", {
    summary: "Prove that a later head holds all of an earlier one",
    access: "evidence.prove",
    query: shapes.consistencyQuery,
    answer: shapes.consistency,
    run: ({ ledger }, caller, { query }) => ledger.consistency(caller, query.from, query.to),
  }),
  post("/v1/ledger/exports", {
    summary: "Begin an export that can be verified without the gateway",
    access: "evidence.export",
    idempotent: true,
    body: shapes.newExport,
    answer: shapes.ledgerExport,
    status: 202,
    run: ({ ledger }, caller, { body }) => ledger.startExport(caller, body),
  }),
  get("/v1/ledger/exports/{export}", {
    summary: "Show an export",
    access: "evidence.export",
    answer: shapes.ledgerExport,
    run: ({ ledger }, caller, { params }) => ledger.export(caller, params.export),
  }),
  get("/v1/ledger/exports/{export}/file", {
    summary: "Download an export",
    access: "evidence.export",
    produces: "gzip",
    answer: z.unknown(),
    run: ({ ledger }, caller, { params }) => ledger.readExport(caller, params.export),
  }),
  get("/v1/ledger/witnesses", {
    summary: "List witnesses and the head that each has seen",
    access: "evidence.read",
    answer: z.object({ items: z.array(shapes.witness) }),
    run: async ({ ledger }, caller) => ({ items: await ledger.witnesses(caller) }),
  }),
] as const;

export const settingRoutes = [
  get("/v1/forwarding", {
    summary: "Where records are sent",
    access: "plant.read",
    answer: shapes.forwarding,
    etag: (forwarding) => forwarding.sha256,
    run: ({ forwarding }, caller) => forwarding.get(caller),
  }),
  put("/v1/forwarding", {
    summary: "Replace where records are sent",
    access: "setting.change",
    body: shapes.newForwarding,
    bodyBytesMax: 1024 * 1024,
    answer: shapes.forwarding,
    etag: (forwarding) => forwarding.sha256,
    run: ({ forwarding }, caller, { body, ifMatch }) => forwarding.put(caller, body, ifMatch),
  }),
  get("/v1/forwarding/state", {
    summary: "How far each target has got",
    access: "plant.read",
    answer: z.object({ items: z.array(shapes.forwardingState) }),
    run: async ({ forwarding }, caller) => ({ items: await forwarding.state(caller) }),
  }),
  get("/v1/backups", {
    summary: "List backups",
    access: "setting.change",
    query: paged,
    answer: pageOf(shapes.backup),
    run: ({ backups }, caller, { page }) => backups.list(caller, page),
  }),
  post("/v1/backups", {
    summary: "Make a backup",
    access: "setting.change",
    idempotent: true,
    body: empty,
    answer: shapes.backup,
    status: 201,
    run: ({ backups }, caller) => backups.create(caller),
  }),
  post("/v1/backups/{backup}/verify", {
    summary: "Restore a backup aside and look at it",
    access: "setting.change",
    body: empty,
    answer: shapes.backup,
    run: ({ backups }, caller, { params }) => backups.verify(caller, params.backup),
  }),
] as const;

/** Their answers are made by the server itself. */
export const systemRoutes = [
  get("/v1/events", {
    summary: "Live events as server-sent events; `Last-Event-ID` begins after one that was seen",
    access: "plant.read",
    produces: "events",
    query: shapes.eventQuery,
    answer: shapes.liveEvent,
    run: () => Promise.resolve(undefined),
  }),
  get("/v1/openapi.json", {
    summary: "This document",
    access: "anyone",
    produces: "document",
    answer: z.unknown(),
    run: () => Promise.resolve(undefined),
  }),
  get("/healthz", {
    summary: "Whether this process answers",
    access: "anyone",
    answer: z.object({ alive: z.literal(true) }),
    run: () => Promise.resolve({ alive: true }),
  }),
  get("/readyz", {
    summary: "Whether each process of the gateway is ready; 503 while one is not",
    access: "anyone",
    answer: shapes.readiness,
    run: async ({ status }) => {
      const processes = await status.readiness();
      const missing = processes.filter(({ ready }) => !ready).map(({ name }) => name);
      if (missing.length > 0) throw new HttpError("not-ready", `not ready: ${missing.join(", ")}`);
      return { ready: true, processes };
    },
  }),
  get("/metrics", {
    summary: "Counters and gauges as Prometheus text",
    access: "plant.read",
    produces: "metrics",
    answer: z.unknown(),
    run: () => Promise.resolve(undefined),
  }),
] as const;
