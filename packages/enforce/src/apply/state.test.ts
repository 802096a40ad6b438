import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { conduit, leg, smallPlant } from "../rooms/site.test-kit.ts";
import { GrantBook } from "./grants.ts";
import { State } from "./state.ts";

const directory = await mkdtemp(path.join(os.tmpdir(), "sallyport-state-"));
after(() => rm(directory, { recursive: true }));

test("no number is given twice, however often the enforcer starts, and few are a write of the state", async () => {
  const file = path.join(directory, "state.json");
  const given: number[] = [];
  let writes = 0;
  let last = "";
  for (let start = 0; start < 3; start++) {
    const state = await State.load(directory);
    for (let grant = 0; grant < 100; grant++) {
      given.push(await state.takeNumber());
      const text = await readFile(file, "utf8");
      if (text !== last) writes++;
      last = text;
    }
    const legs = smallPlant([
      conduit(`c${start}`, [leg("inner", "10.41.0.9", "10.42.0.9", "udp")]),
    ]);
    const rest = { approvals: [], slot: 0, appliedAt: 0 } as const;
    await state.begin(legs, new Uint8Array(), rest);
    given.push(state.idOf(legs.conduits[0]?.key ?? ""), await state.takeNumber());
    last = await readFile(file, "utf8");
  }
  assert.equal(given.length, 306);
  assert.equal(new Set(given).size, 306);
  assert.ok(writes <= 9, `${writes} writes`);
});

test("whose a number was outlives the grant, and a line that a kill cut off", async () => {
  const grant = (id: string): Parameters<GrantBook["add"]>[0]["grant"] => ({
    ...{ id, conduit: "service-a", person: "tech", reason: "test", source: 1, asset: "plc" },
    ...{ target: 2, protocol: "tcp", port: 22, slot: 0, notBefore: 0, notAfter: 1 },
  });
  const book = await GrantBook.load(directory);
  await book.add({ grant: grant("g-1"), id: 7 });
  await book.add({ grant: grant("g-2"), id: 8 });
  await book.remove("g-1");
  const file = path.join(directory, "granted.ndjson");
  const whole = await readFile(file, "utf8");
  await writeFile(file, whole.slice(0, -9));
  const again = await GrantBook.load(directory);
  await again.add({ grant: grant("g-3"), id: 9 });
  const names = (await GrantBook.load(directory)).named();
  assert.deepEqual([...names.keys()], [7, 9]);
  assert.deepEqual(names.get(7), { conduit: "service-a", grant: "g-1" });
  assert.deepEqual(
    again.all().map(({ id }) => id),
    [8, 9],
  );
});
