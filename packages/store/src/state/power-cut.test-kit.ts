/** The writer whose power is cut: changes state and notes outside the disk what was acknowledged. */
import fs from "node:fs";
import { openStateStoreWith } from "./open-state-store.ts";
import { stateSchema } from "./state-schema.ts";

/** Nobody lets a writer of a test run on. */
const LIFE_MS = 60_000;

if (import.meta.main) {
  const [file = "", notes = "", synchronous = ""] = process.argv.slice(2);
  const state = await openStateStoreWith(
    { kind: "sqlite", file },
    stateSchema,
    synchronous === "normal" ? "normal" : "full",
  );
  const drafts = state.records("draft");
  const log = fs.openSync(notes, "a");
  const end = performance.now() + LIFE_MS;
  // Of each three ids one is added, one also replaced, and one taken again.
  for (let n = 0; performance.now() < end; n++) {
    const draft = { id: String(n), revision: 1 };
    await drafts.add(draft);
    fs.writeSync(log, `${n} 1\n`);
    if (n % 3 === 1) await drafts.replace(draft, { ...draft, revision: 2 });
    if (n % 3 === 2) await drafts.take(draft.id);
    if (n % 3 !== 0) fs.writeSync(log, `${n} ${n % 3 === 1 ? 2 : 0}\n`);
  }
}
