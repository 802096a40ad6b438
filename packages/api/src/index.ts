/**
 * The public HTTP API: routes, services it asks, listeners, live events, the OpenAPI document and client
 * types. No logic of its own: it checks what came, asks whether the caller may, and calls one service.
 * Touches net only.
 * @module
 */
export { type ApiOptions, createApi, type Server } from "./api.ts";
export { EventHub } from "./events/hub.ts";
export { ocsfLine } from "./forward/ocsf.ts";
export type { ForwardedRecord, Sender } from "./forward/record.ts";
export { cefLine, framed, LINE_BYTES_MAX, syslogLine } from "./forward/syslog.ts";
export { type AccessEntry, accessLine, type AccessLog } from "./http/log.ts";
export { Metrics, type Sample } from "./http/metrics.ts";
export { HttpError, type Problem } from "./http/problem.ts";
export type { Bounds } from "./http/bounds.ts";
export type { Connection } from "./http/run.ts";
export { openApiDocument } from "./openapi/document.ts";
export type { AnyRoute } from "./http/route.ts";
export { type Api, ROUTES } from "./routes/index.ts";
export {
  type Certificate,
  type ListenerBounds,
  type Listening,
  type LocalOptions,
  serveLocal,
  serveTls,
  type TlsOptions,
} from "./serve.ts";
export type { Caller, Origin, Presented, Principal } from "./services/caller.ts";
export type { Changes } from "./services/changes.ts";
export type { Approvers, Grants, Zones } from "./services/grants.ts";
export type { Services } from "./services/index.ts";
export type { Keys, People } from "./services/people.ts";
export { type Permission, PERMISSIONS, type Permissions } from "./services/permissions.ts";
export type { Policy, PolicyName } from "./services/policy.ts";
export type { SignedIn, SignIns } from "./services/sign-ins.ts";
export type {
  Backups,
  Events,
  Flows,
  Forwarding,
  Ledger,
  Status,
  Subscription,
} from "./services/watch.ts";
export type { Approval, Page, PageRequest, Signable } from "./shapes/common.ts";
export type { Person } from "./shapes/people.ts";
export type { Change, Grant, GrantRequest, PolicyFile } from "./shapes/policy.ts";
export type { Session } from "./shapes/sign-in.ts";
export type {
  Conduit,
  Flow,
  LedgerRecord,
  LiveEvent,
  NewTarget,
  NewWebhook,
  ProcessState,
} from "./shapes/watch.ts";
