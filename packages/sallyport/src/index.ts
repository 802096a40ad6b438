/**
 * For what drives a gateway from outside the product: the demo plant, end-to-end tests, benchmarks. They go
 * through the same socket and event files as the command line.
 * @module
 */
export { type ApiAnswer, type ApiRequest, askApi, signInByUid } from "./cli/api-client.ts";
export { ask, askSocket, fields, listOf, word } from "./cli/enforcer-client.ts";
export { localRoot } from "./cli/local-root.ts";
export { readPolicy } from "./cli/policy-files.ts";
export { startSupervisor, stopGateway, supervisorPid } from "./cli/run-commands.ts";
export { statusText } from "./cli/status-text.ts";
export { table } from "./cli/table.ts";
export { denialLine, isRefusal } from "./cli/flow-commands.ts";
export { type Finding, runDoctor } from "./doctor.ts";
export { EventReader, type StoredEvent } from "./event-reader.ts";
export {
  archivistSocket,
  enforcerSocket,
  eventsDir,
  type Instance,
  instanceNamed,
} from "./instance.ts";
export { apiSocket, keyholderSocket } from "./own-places.ts";
export type { Status } from "./status.ts";
