/**
 * The enforcer: the only process that opens anything. It takes policy text and approvals, never rules;
 * compiles in an empty room, checks the built-in invariants, and owns rooms, engines and grants.
 */
import process from "node:process";
import type { Json } from "@sallyport/core";
import { openEnforcement } from "@sallyport/enforce";
import { ApproverBook } from "./approvals/approver-book.ts";
import { EnforcerService } from "./enforcer-service.ts";
import { EventLog } from "./event-log.ts";
import { enforcerSocket, eventsDir, instanceNamed } from "./instance.ts";
import { type LineHandler, serveLines } from "./line-socket.ts";
import { type Caller, type EnforcerReply, readRequest, replyError } from "./messages.ts";

/** How often windows are looked at, drift is sought and the clock is watched. */
const TICK_MS = 1000;

const [name = "main", codeDir = "", hostNetns = "", node = "", uid = ""] = process.argv.slice(2);
const instance = instanceNamed(name);
const events = new EventLog(eventsDir(instance), "enforcer");
/** Counts by the minute, apart: they are many, and acts must not be pushed out by them. */
const traffic = new EventLog(eventsDir(instance), "traffic");
const guardCommand = [
  ...[node, "--disable-sigusr1", `${codeDir}/packages/sallyport/src/guard.main.ts`],
  ...[name, hostNetns, uid],
];
const enforcement = await openEnforcement(
  { instance, hostNetns, oneEngine: uid === "" },
  { clock: Date.now, guardCommand },
);
const service = new EnforcerService({
  instance,
  enforcement,
  events,
  traffic,
  approvers: await ApproverBook.load(instance.stateDir),
  compiler: { node, codeDir, uid: uid === "" ? undefined : Number(uid) },
  tellSupervisor: (message) => process.send?.(message),
});
await service.boot();
/** One door a caller. */
function answerTo(caller: Caller): LineHandler {
  return async (line, connection) => {
    let reply: EnforcerReply;
    try {
      const result: Json = await service.answer(readRequest(line), { caller, connection });
      reply = { ok: true, result };
    } catch (error) {
      reply = { ok: false, error: replyError(error) };
      const { code, message } = reply.error;
      events.append(Date.now(), "request-refused", { caller, code, message });
    }
    return JSON.stringify(reply);
  };
}

for (const caller of ["root", "control", "keyholder"] as const) {
  await serveLines(enforcerSocket(instance, caller), answerTo(caller));
}

// One tick at a time: a slow kernel must not pile them up.
async function tick(): Promise<void> {
  try {
    await service.tick(Date.now(), performance.now());
  } catch (error) {
    events.append(Date.now(), "tick-failed", { ...replyError(error) });
  }
  setTimeout(() => void tick(), TICK_MS);
}
void tick();

// The supervisor is gone: its successor starts another enforcer. The kernel rules stay.
process.on("disconnect", () => process.exit(1));
