import { z } from "zod";
import { BODY_BYTES_POLICY } from "../http/limits.ts";
import { get, post, put } from "../http/route.ts";
import { approval, empty, id, pageOf, pageQuery, withReason } from "../shapes/common.ts";
import * as shapes from "../shapes/policy.ts";

const bodyBytesMax = BODY_BYTES_POLICY;

export const policyRoutes = [
  get("/v1/policy/running", {
    summary: "The policy in force, as it was written",
    access: "policy.read",
    answer: shapes.running,
    etag: (policy) => policy.sha256,
    run: ({ policy }, caller) => policy.running(caller),
  }),
  get("/v1/policy/draft", {
    summary: "The draft",
    access: "policy.read",
    answer: shapes.draft,
    etag: (draft) => draft.sha256,
    run: ({ policy }, caller) => policy.draft(caller),
  }),
  put("/v1/policy/draft", {
    summary: "Replace the draft that was read",
    access: "policy.propose",
    body: shapes.policyFiles,
    bodyBytesMax,
    answer: shapes.draft,
    etag: (draft) => draft.sha256,
    run: ({ policy }, caller, { body, ifMatch }) => policy.putDraft(caller, body.files, ifMatch),
  }),
  post("/v1/policy/validate", {
    summary: "Compile files, without keeping them; answers all mistakes",
    access: "policy.read",
    body: shapes.policyFiles,
    bodyBytesMax,
    answer: shapes.validation,
    run: ({ policy }, caller, { body }) => policy.validate(caller, body.files),
  }),
  post("/v1/policy/format", {
    summary: "Format files, without keeping them",
    access: "policy.read",
    body: shapes.policyFiles,
    bodyBytesMax,
    answer: z.object({ files: z.array(shapes.policyFile) }),
    run: async ({ policy }, caller, { body }) => ({
      files: await policy.format(caller, body.files),
    }),
  }),
  post("/v1/policy/explain", {
    summary: "What happens to a packet, and why",
    access: "policy.read",
    body: shapes.question,
    answer: shapes.explanation,
    run: ({ policy }, caller, { body }) => policy.explain(caller, body),
  }),
  get("/v1/policy/matrix", {
    summary: "What may reach what",
    access: "policy.read",
    query: z.strictObject({ of: z.enum(["running", "draft"]).exactOptional() }),
    answer: shapes.matrix,
    run: ({ policy }, caller, { query }) => policy.matrix(caller, query.of ?? "running"),
  }),
  post("/v1/policy/diff", {
    summary: "What one policy lets pass that another does not",
    access: "policy.read",
    body: shapes.diffQuestion,
    bodyBytesMax,
    answer: shapes.diff,
    run: ({ policy }, caller, { body }) =>
      policy.diff(
        caller,
        body.before,
        typeof body.after === "string" ? body.after : body.after.files,
      ),
  }),
] as const;

export const changeRoutes = [
  post("/v1/changes", {
    summary: "Plan the draft as a change; answers the bytes to sign",
    access: "policy.propose",
    idempotent: true,
    body: shapes.newChange,
    answer: shapes.change,
    status: 201,
    run: ({ changes }, caller, { body }) => changes.plan(caller, body),
  }),
  get("/v1/changes", {
    summary: "List changes, newest first",
    access: "policy.read",
    query: z.strictObject({
      state: shapes.changeState.exactOptional(),
      author: id.exactOptional(),
      ...pageQuery,
    }),
    answer: pageOf(shapes.change),
    run: ({ changes }, caller, { query, page }) => changes.list(caller, query, page),
  }),
  get("/v1/changes/{change}", {
    summary: "Show a change with the bytes to sign",
    access: "policy.read",
    answer: shapes.change,
    run: ({ changes }, caller, { params }) => changes.get(caller, params.change),
  }),
  post("/v1/changes/{change}/approvals", {
    summary: "Approve a change; never one's own",
    access: "path.approve",
    body: approval,
    answer: shapes.change,
    run: ({ changes }, caller, { params, body }) => changes.approve(caller, params.change, body),
  }),
  post("/v1/changes/{change}/apply", {
    summary: "Apply an approved change; rolls back unless it is confirmed in time",
    access: "policy.apply",
    body: shapes.applyChange,
    answer: shapes.change,
    run: ({ changes }, caller, { params, body }) => changes.apply(caller, params.change, body),
  }),
  post("/v1/changes/{change}/confirm", {
    summary: "Confirm an applied change, over a new connection",
    access: "policy.apply",
    body: empty,
    answer: shapes.change,
    run: ({ changes }, caller, { params }) => changes.confirm(caller, params.change),
  }),
  post("/v1/changes/{change}/roll-back", {
    summary: "Take back an applied change before it is confirmed",
    access: "policy.apply",
    body: withReason,
    answer: shapes.change,
    run: ({ changes }, caller, { params, body }) =>
      changes.rollBack(caller, params.change, body.reason),
  }),
  post("/v1/changes/{change}/withdraw", {
    summary: "Withdraw a change that was not applied",
    access: "policy.propose",
    body: withReason,
    answer: shapes.change,
    run: ({ changes }, caller, { params, body }) =>
      changes.withdraw(caller, params.change, body.reason),
  }),
] as const;
