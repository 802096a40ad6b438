import assert from "node:assert/strict";
import { test } from "node:test";
import { DAY_MS, Desk, SOURCE } from "./desk.test-kit.ts";
import { removeEnded } from "./upkeep.ts";

test("what ended by itself is removed, and what is alive stays", async () => {
  const desk = new Desk();
  const root = await desk.somebody("root", "admin");
  const key = await desk.withPasskey(root.person);
  await desk.person("otto", "operator");
  await desk.links.invite(root, "otto");
  const asked = await desk.passkeys.beginSignIn();
  await desk.passkeys.finishSignIn(key.get(asked, "https://gate.plant.example"), SOURCE);
  const terms = { label: "x", scope: ["plant.read"], expiresAtMs: desk.clock.nowMs() + 1 };
  await desk.apiKeys.make(root.person, terms, "root");
  assert.equal(await removeEnded(desk.store, desk.clock), 0);
  desk.clock.advance(4 * DAY_MS);
  const { signIns, links, attempts, used, people, passkeys, apiKeys } = desk.store;
  const ended = [signIns, links, attempts, used].map((records) => records.kept.size);
  assert.ok(
    ended.every((size) => size > 0),
    ended.join(" "),
  );
  assert.equal(
    await removeEnded(desk.store, desk.clock),
    ended.reduce((sum, size) => sum + size, 0),
  );
  assert.deepEqual(
    [people, passkeys, apiKeys].map((records) => records.kept.size),
    [2, 1, 1],
  );
});
