/** `kill -9` of all processes of the gateway at once, at moments of an apply that nobody lives to see done. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import { whyNoNamespaces } from "../lab/namespaces.ts";
import { CrashStage, larger, type Moment, reached } from "./hands/crash-stage.ts";
import { past, promisedEnd } from "./hands/deadlines.ts";
import * as ps from "./hands/processes.ts";
import { roomsThere } from "./hands/rooms.ts";

const why = process.getuid?.() === 0 ? await whyNoNamespaces() : "needs root: rooms, eBPF and uids";
const skip = why ?? false;
/** Of changes that nobody lives to confirm; only waited for. */
const SHORT_SECONDS = 3;

let built: CrashStage | undefined;

function stage(): CrashStage {
  if (built === undefined) throw new Error("the plant was not built");
  return built;
}

before(async () => {
  if (why === undefined) built = await CrashStage.build(`m${process.pid}`);
});
after(async () => {
  await built?.destroy();
});

function momentsOfApply(): readonly Moment[] {
  const { site } = stage();
  const { stateDir } = site.instance;
  const generations = path.join(stateDir, "generations");
  const known = fs.readdirSync(generations).length;
  const standing = roomsThere(site).length;
  return [
    ["while it is compiled", () => ps.running(site, "compiler").length > 0],
    ["as its files are written", () => fs.readdirSync(generations).length > known],
    ["as its room is made", () => roomsThere(site).length > standing],
    ["as it is armed", () => fs.existsSync(path.join(stateDir, "armed.json"))],
    ["as its guard stands", () => ps.running(site, "guard").length > 0],
  ];
}

test("all are killed at any moment of an apply: the last confirmed generation returns", {
  skip,
}, async () => {
  const { site } = stage();
  const confirmed = await stage().generation();
  for (const moment of momentsOfApply()) {
    const [what] = moment;
    const applying = stage().apply(larger(site.policy), SHORT_SECONDS);
    const instead = await reached(moment, applying);
    await ps.killAll(site);
    assert.equal(instead, undefined, what);
    // It is never answered; on a busy machine it may just have been.
    await applying.catch(() => undefined);
    const end = promisedEnd(site);
    if (end !== undefined) await past(end);
    await stage().passes(false, `${what}: with nobody alive`);

    await stage().up();
    assert.equal(await stage().generation(), confirmed, what);
    await stage().passes(false, what);
    await stage().isWhole(what);
  }
});
