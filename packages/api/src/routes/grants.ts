import { z } from "zod";
import { get, post } from "../http/route.ts";
import { approval, empty, id, pageOf, pageQuery, withReason } from "../shapes/common.ts";
import * as shapes from "../shapes/policy.ts";

const nothing = z.undefined();

export const grantRoutes = [
  post("/v1/grant-requests", {
    summary: "Ask for access; answers the bytes to sign",
    access: "path.request",
    idempotent: true,
    body: shapes.newGrantRequest,
    answer: shapes.grantRequest,
    status: 201,
    run: ({ grants }, caller, { body }) => grants.request(caller, body),
  }),
  get("/v1/grant-requests", {
    summary: "List requests for access, newest first",
    access: "plant.read",
    query: z.strictObject({
      state: shapes.grantRequestState.exactOptional(),
      person: id.exactOptional(),
      ...pageQuery,
    }),
    answer: pageOf(shapes.grantRequest),
    run: ({ grants }, caller, { query, page }) => grants.requests(caller, query, page),
  }),
  get("/v1/grant-requests/{request}", {
    summary: "Show a request for access with the bytes to sign",
    access: "plant.read",
    answer: shapes.grantRequest,
    run: ({ grants }, caller, { params }) => grants.getRequest(caller, params.request),
  }),
  post("/v1/grant-requests/{request}/approvals", {
    summary: "Approve a request for access; never one's own",
    access: "path.approve",
    body: approval,
    answer: shapes.grantRequest,
    run: ({ grants }, caller, { params, body }) => grants.approve(caller, params.request, body),
  }),
  post("/v1/grant-requests/{request}/deny", {
    summary: "Deny a request for access",
    access: "path.approve",
    body: withReason,
    answer: shapes.grantRequest,
    run: ({ grants }, caller, { params, body }) => grants.deny(caller, params.request, body.reason),
  }),
  post("/v1/grant-requests/{request}/withdraw", {
    summary: "Withdraw the own request for access",
    access: "path.request",
    body: withReason,
    answer: shapes.grantRequest,
    run: ({ grants }, caller, { params, body }) =>
      grants.withdraw(caller, params.request, body.reason),
  }),
  post("/v1/grants", {
    summary: "Open what was approved",
    access: "path.request",
    idempotent: true,
    body: shapes.newGrant,
    answer: shapes.grant,
    status: 201,
    run: ({ grants }, caller, { body }) => grants.add(caller, body.request),
  }),
  get("/v1/grants", {
    summary: "List live grants",
    access: "plant.read",
    query: z.strictObject(pageQuery),
    answer: pageOf(shapes.grant),
    run: ({ grants }, caller, { page }) => grants.list(caller, page),
  }),
  post("/v1/grants/{grant}/revoke", {
    summary: "Revoke a grant; its connections end",
    access: "path.close",
    body: withReason,
    answer: nothing,
    status: 204,
    run: ({ grants }, caller, { params, body }) => grants.revoke(caller, params.grant, body.reason),
  }),
  post("/v1/grants/revoke-all", {
    summary: "Stop all remote access",
    access: "path.close",
    body: withReason,
    answer: shapes.revoked,
    run: async ({ grants }, caller, { body }) => ({
      revoked: await grants.revokeAll(caller, body.reason),
    }),
  }),
] as const;

export const zoneRoutes = [
  get("/v1/zones", {
    summary: "List zones, and which are islands",
    access: "plant.read",
    answer: z.object({ items: z.array(shapes.zone) }),
    run: async ({ zones }, caller) => ({ items: await zones.list(caller) }),
  }),
  post("/v1/zones/{zone}/island", {
    summary: "Make a zone an island: nothing in, nothing out",
    access: "path.close",
    body: withReason,
    answer: shapes.zone,
    run: ({ zones }, caller, { params, body }) => zones.island(caller, params.zone, body.reason),
  }),
  post("/v1/zones/{zone}/reconnections", {
    summary: "Ask to end an island; answers the bytes to sign",
    access: "path.request",
    idempotent: true,
    body: withReason,
    answer: shapes.reconnection,
    status: 201,
    run: ({ zones }, caller, { params, body }) => zones.reconnect(caller, params.zone, body.reason),
  }),
  get("/v1/reconnections/{reconnection}", {
    summary: "Show a reconnection with the bytes to sign",
    access: "plant.read",
    answer: shapes.reconnection,
    run: ({ zones }, caller, { params }) => zones.reconnection(caller, params.reconnection),
  }),
  post("/v1/reconnections/{reconnection}/approvals", {
    summary: "Approve a reconnection; never one's own",
    access: "path.approve",
    body: approval,
    answer: shapes.reconnection,
    run: ({ zones }, caller, { params, body }) =>
      zones.approveReconnection(caller, params.reconnection, body),
  }),
  post("/v1/reconnections/{reconnection}/finish", {
    summary: "End the island as approved",
    access: "path.request",
    stepUp: true,
    body: empty,
    answer: shapes.reconnection,
    run: ({ zones }, caller, { params }) => zones.finishReconnection(caller, params.reconnection),
  }),
] as const;
