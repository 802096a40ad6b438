import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { whyNoNamespaces } from "./namespaces.ts";
import { standIn } from "./stand-in.ts";
import { playStory, type RowResult } from "./story.ts";
import { ROWS } from "./story-rows.ts";
import { buildPlant } from "./topology.ts";

const skip = (await whyNoNamespaces()) ?? false;
const policy = {
  name: "site.yaml",
  text: fs.readFileSync(new URL("plant/site.yaml", import.meta.url), "utf8"),
};

/** Refusals that need no decoder and no product: what the hand-written rules can do. */
const PACKET_DENIALS = [
  "attacker-scans",
  "attacker-fragments",
  "attacker-ip-options",
  "vendor-scans",
  "vendor-without-grant",
  "cell-b-dials-cell-a",
  "cell-b-spoofs-engineering",
  "cell-b-spoofs-gate",
];

async function played(kind: "open" | "strict", only?: string[]): Promise<readonly RowResult[]> {
  const plant = await buildPlant();
  try {
    const router = await standIn(plant, kind);
    try {
      const options = only === undefined ? { policy } : { policy, only };
      return await playStory(router.port, plant, () => undefined, { ...options, limitMs: 120_000 });
    } finally {
      await router.remove();
    }
  } finally {
    await plant.destroy();
  }
}

test("behind a router that lets everything pass, no row comes out right but the one-way status", {
  skip,
}, async () => {
  const results = await played("open");
  assert.equal(results.length, ROWS.length);
  const right = results.filter(({ ok }) => ok).map(({ id }) => id);
  assert.deepEqual(right, ["safety-reports"], JSON.stringify(results, undefined, 1));
  const seen = new Map(results.map((result) => [result.id, result.seen]));
  assert.match(seen.get("hmi-reads-tank") ?? "", /reached tank-plc without a gate/);
  assert.match(seen.get("erp-writes") ?? "", /took a write/);
  assert.match(seen.get("attacker-scans") ?? "", /open: 10\.41\.0\.10:502/);
  assert.match(seen.get("cell-b-spoofs-gate") ?? "", /3 packets arrived at tank-plc/);
  assert.match(seen.get("grant-opens-and-ends") ?? "", /took a write \d+ ms after the end/);
  assert.match(seen.get("cut-rolls-back") ?? "", /cut nothing/);
  assert.match(seen.get("program-detached") ?? "", /traffic went on/);
});

test("behind hand-written rules that refuse the attacks, the attack rows come out right", {
  skip,
}, async () => {
  const results = await played("strict", PACKET_DENIALS);
  assert.equal(results.length, PACKET_DENIALS.length);
  const wrong = results.filter(({ ok }) => !ok);
  assert.deepEqual(wrong, []);
});
