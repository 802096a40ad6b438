/** `kill -9` of all processes of the gateway at once, at moments of a confirmation. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import { whyNoNamespaces } from "../lab/namespaces.ts";
import { CrashStage, larger, type Moment, OPEN, reached } from "./hands/crash-stage.ts";
import { past, promisedEnd } from "./hands/deadlines.ts";
import * as ps from "./hands/processes.ts";
import { legsOf } from "./hands/rooms.ts";

const why = process.getuid?.() === 0 ? await whyNoNamespaces() : "needs root: rooms, eBPF and uids";
const skip = why ?? false;
/** Longer than a busy machine needs to start confirming. */
const CONFIRM_SECONDS = 30;

let built: CrashStage | undefined;

function stage(): CrashStage {
  if (built === undefined) throw new Error("the plant was not built");
  return built;
}

before(async () => {
  if (why === undefined) built = await CrashStage.build(`n${process.pid}`);
});
after(async () => {
  await built?.destroy();
});

function momentsOfConfirm(pending: number): readonly Moment[] {
  const { stateDir } = stage().site.instance;
  const isThere = (name: string): boolean => fs.existsSync(path.join(stateDir, name));
  const isConfirmed = (): boolean => {
    const text = fs.readFileSync(path.join(stateDir, "state.json"), "utf8");
    const { generations } = JSON.parse(text) as {
      readonly generations: readonly { readonly number: number; readonly state: string }[];
    };
    return generations.some(({ number, state }) => number === pending && state === "confirmed");
  };
  return [
    ["as it is claimed", () => !isThere("armed.json")],
    ["as it is written down", isConfirmed],
    ["as it is done", () => isConfirmed() && !isThere("confirming.json")],
  ];
}

test("all are killed as a change is confirmed: one of the two generations is in force, whole", {
  skip,
}, async () => {
  const { site } = stage();
  for (const index of momentsOfConfirm(0).keys()) {
    const confirmed = await stage().generation();
    const isLarge = (await legsOf(site)).rooms.some(({ name }) => name === "gate-spare");
    // Each goes where the last one did not come from: rooms are added and taken away.
    const next = isLarge ? site.policy : larger(site.policy);
    const pending = await stage().apply(next, CONFIRM_SECONDS);
    const moment = momentsOfConfirm(pending)[index];
    assert.ok(moment !== undefined);
    const [what] = moment;
    const confirming = site.product.confirm(pending);
    const instead = await reached(moment, confirming);
    await ps.killAll(site);
    assert.equal(instead, undefined, what);
    await confirming.catch(() => undefined);
    const end = promisedEnd(site);
    if (end !== undefined) await past(end);
    const [own] = await Promise.all([stage().opens(OPEN), stage().stillRefused()]);
    assert.equal(own, true, `${what}: both have this`);

    await stage().up();
    const now = await stage().generation();
    assert.ok(now === confirmed || now === pending, `${what}: generation ${now}`);
    if (index > 0) assert.equal(now, pending, `${what}: it was confirmed`);
    await stage().passes((now === pending) !== isLarge, what);
    await stage().isWhole(what);
  }
});
