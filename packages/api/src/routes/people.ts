import { z } from "zod";
import { del, get, post, put } from "../http/route.ts";
import { approval, empty, pageOf, pageQuery, withReason } from "../shapes/common.ts";
import * as shapes from "../shapes/people.ts";
import { enrolment, enrolmentQuestion } from "../shapes/policy.ts";

const paged = z.strictObject(pageQuery);
const nothing = z.undefined();

export const peopleRoutes = [
  get("/v1/people", {
    summary: "List people",
    access: "person.read",
    query: paged,
    answer: pageOf(shapes.person),
    run: ({ people }, caller, { page }) => people.list(caller, page),
  }),
  post("/v1/people", {
    summary: "Add a person; answers the secret of their one-time link",
    access: "person.manage",
    body: shapes.newPerson,
    answer: shapes.invitation,
    status: 201,
    run: ({ people }, caller, { body }) => people.create(caller, body),
  }),
  get("/v1/people/{person}", {
    summary: "Show a person",
    access: "person.read",
    answer: shapes.person,
    run: ({ people }, caller, { params }) => people.get(caller, params.person),
  }),
  post("/v1/people/{person}/invitation", {
    summary: "Make another one-time link for a person; the one before ends",
    access: "person.manage",
    body: empty,
    answer: shapes.invitation,
    status: 201,
    run: ({ people }, caller, { params }) => people.invite(caller, params.person),
  }),
  put("/v1/people/{person}/roles", {
    summary: "Set a person's roles",
    access: "person.manage",
    body: shapes.roles,
    answer: shapes.person,
    run: ({ people }, caller, { params, body }) =>
      people.setRoles(caller, params.person, body.roles),
  }),
  post("/v1/people/{person}/disable", {
    summary: "Disable a person; ends their sessions, keys and grants",
    access: "person.manage",
    body: withReason,
    answer: shapes.person,
    run: ({ people }, caller, { params, body }) =>
      people.disable(caller, params.person, body.reason),
  }),
  post("/v1/people/{person}/enable", {
    summary: "Enable a person again",
    access: "person.manage",
    body: withReason,
    answer: shapes.person,
    run: ({ people }, caller, { params, body }) =>
      people.enable(caller, params.person, body.reason),
  }),
  get("/v1/people/{person}/credentials", {
    summary: "List a person's credentials",
    access: "person.read",
    answer: z.object({ items: z.array(shapes.credential) }),
    run: async ({ people }, caller, { params }) => ({
      items: await people.credentials(caller, params.person),
    }),
  }),
  del("/v1/people/{person}/credentials/{credential}", {
    summary: "Remove a person's credential",
    access: "person.manage",
    answer: nothing,
    status: 204,
    run: ({ people }, caller, { params }) =>
      people.removeCredential(caller, params.person, params.credential),
  }),
] as const;

export const breakGlassRoutes = [
  get("/v1/break-glass", {
    summary: "List sealed accounts",
    access: "person.read",
    answer: z.object({ items: z.array(shapes.sealedAccount) }),
    run: async ({ people }, caller) => ({ items: await people.sealed(caller) }),
  }),
  put("/v1/break-glass/{account}", {
    summary: "Seal an account, or seal it anew; its halves are shown this once",
    access: "break-glass.seal",
    body: shapes.sealing,
    answer: shapes.sealedHalves,
    run: ({ people }, caller, { params, body }) => people.seal(caller, params.account, body),
  }),
] as const;

export const keyRoutes = [
  get("/v1/keys", {
    summary: "List API keys",
    access: "api-key.manage",
    query: paged,
    answer: pageOf(shapes.apiKey),
    run: ({ keys }, caller, { page }) => keys.list(caller, page),
  }),
  post("/v1/keys", {
    summary: "Make an API key; its secret is shown this once",
    access: "api-key.manage",
    body: shapes.newApiKey,
    answer: shapes.createdApiKey,
    status: 201,
    run: ({ keys }, caller, { body }) => keys.create(caller, body),
  }),
  del("/v1/keys/{key}", {
    summary: "Revoke an API key",
    access: "api-key.manage",
    answer: nothing,
    status: 204,
    run: ({ keys }, caller, { params }) => keys.revoke(caller, params.key),
  }),
] as const;

export const approverRoutes = [
  get("/v1/approvers", {
    summary: "List the keys whose approvals count",
    access: "plant.read",
    answer: z.object({ items: z.array(shapes.approver) }),
    run: async ({ approvers }, caller) => ({ items: await approvers.list(caller) }),
  }),
  post("/v1/approvers/first", {
    summary:
      "Hand the first approver's key to the enforcer, proved by the secret of the first link",
    access: "own.factors",
    body: shapes.firstApprover,
    answer: shapes.enrolled,
    status: 201,
    run: async ({ approvers }, caller, { body }) => ({
      id: await approvers.enrolFirst(caller, body.key, body.proof),
    }),
  }),
  post("/v1/approver-enrolments", {
    summary: "Ask that a key's approvals count; answers what must be signed",
    access: "person.manage",
    idempotent: true,
    body: enrolmentQuestion,
    answer: enrolment,
    status: 201,
    run: ({ approvers }, caller, { body }) => approvers.enrol(caller, body),
  }),
  get("/v1/approver-enrolments/{enrolment}", {
    summary: "Show an enrolment with the bytes to sign",
    access: "plant.read",
    answer: enrolment,
    run: ({ approvers }, caller, { params }) => approvers.enrolment(caller, params.enrolment),
  }),
  post("/v1/approver-enrolments/{enrolment}/approvals", {
    summary: "Approve an enrolment",
    access: "path.approve",
    body: approval,
    answer: enrolment,
    run: ({ approvers }, caller, { params, body }) =>
      approvers.approveEnrolment(caller, params.enrolment, body),
  }),
  post("/v1/approver-enrolments/{enrolment}/finish", {
    summary: "Hand an approved enrolment to the enforcer",
    access: "person.manage",
    body: empty,
    answer: enrolment,
    run: ({ approvers }, caller, { params }) => approvers.finishEnrolment(caller, params.enrolment),
  }),
  post("/v1/approvers/{approver}/revoke", {
    summary: "Revoke an approver's key",
    access: "person.manage",
    body: withReason,
    answer: nothing,
    status: 204,
    run: ({ approvers }, caller, { params, body }) =>
      approvers.revoke(caller, params.approver, body.reason),
  }),
] as const;
