import assert from "node:assert/strict";
import process from "node:process";
import { after, before, test } from "node:test";
import { playStory, type RowResult } from "../lab/story.ts";
import { buildSite, type Site } from "../lab/site.ts";
import { whyNoNamespaces } from "../lab/namespaces.ts";
import { ask, fields } from "sallyport";

const why = process.getuid?.() === 0 ? await whyNoNamespaces() : "needs root: rooms, eBPF and uids";
let site: Site | undefined;

before(async () => {
  if (why === undefined) site = await buildSite({ name: `e${process.pid}`, mode: "kernel" });
});
after(async () => {
  await site?.destroy();
});

test("every row of the plant's story comes out as expected, with nothing left out", async (t) => {
  if (site === undefined) {
    t.skip(why ?? "no plant");
    return;
  }
  const rows: RowResult[] = [];
  await playStory(site.product, site.plant, (row) => rows.push(row), { policy: site.policy });
  const wrong = rows.filter((row) => !row.ok);
  assert.deepEqual(
    wrong.map(({ id, expected, seen, evidence }) => ({ id, expected, seen, evidence })),
    [],
  );
  assert.ok(rows.length >= 20, `${rows.length} rows were played`);
});

test("the status counts what flowed and what was refused, by conduit and zone", async (t) => {
  if (site === undefined) {
    t.skip(why ?? "no plant");
    return;
  }
  const status = fields(await ask(site.instance.name, { type: "status" }));
  const conduits = Array.isArray(status["conduits"]) ? status["conduits"].map(fields) : [];
  const polled = conduits.find((conduit) => conduit["name"] === "hmi-operates-cells");
  assert.ok(Number(polled?.["packets"]) > 0, "the HMI's polls are counted");
  const denials = Array.isArray(status["denials"]) ? status["denials"].map(fields) : [];
  const scans = denials.filter(
    (denial) => denial["reason"] === "no-conduit" && denial["sourceZone"] === "enterprise",
  );
  assert.ok(scans.length > 0, "the attacker's scan is counted by its zone");
});
