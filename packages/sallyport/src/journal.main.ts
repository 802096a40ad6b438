/**
 * The journal: reads what every process wrote of its decisions and keeps the counts. It has a uid of its own, no
 * network, and nothing to write to but its directory; no packet depends on it.
 */
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { openFlowStore } from "@sallyport/store";
import { diskOf } from "./disk.ts";
import { eventOutput } from "./event-output.ts";
import { Journal, Retention } from "./journal.ts";
import { flowsFile } from "./journal-place.ts";

const POLL_MS = 1000;

const output = eventOutput(Date.now);
const [eventsDirectory = "", directory = ""] = process.argv.slice(2);

function tell(type: string, fields: object): void {
  output.write(`${JSON.stringify({ at: new Date().toISOString(), type, ...fields })}\n`);
}

const { store, damaged } = await openFlowStore(flowsFile(directory));
if (damaged !== undefined) tell("journal-damaged", { damaged });
const journal = new Journal(store, eventsDirectory, (news) => tell(news.type, news));
const retention = new Retention(store);
/** Counts are bulk: above 95 % they wait in the event files, and a gap is told when those were replaced meanwhile. */
function isWaiting(): boolean {
  const { state } = diskOf(directory);
  return state === "drop" || state === "full";
}

for (;;) {
  if (isWaiting()) {
    await sleep(POLL_MS);
    continue;
  }
  const more = await journal.turn();
  await retention.turn(Date.now());
  if (!more) await sleep(POLL_MS);
}
