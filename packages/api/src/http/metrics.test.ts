import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { Plant } from "../kit/plant.test-kit.ts";
import { Metrics } from "./metrics.ts";

const PAGE = new URL("../../../../docs/reference/metrics.md", import.meta.url);

test("each metric of the API is on the page of metrics with its type, and no other is", async () => {
  const plant = new Plant();
  await plant.ask("/nowhere");
  plant.api.refused("bad-request");
  const told = [...plant.api.metrics.text().matchAll(/^# TYPE (\S+) (\S+)$/gm)].map((match) =>
    match.slice(1, 3).join(" "),
  );
  const rows = fs.readFileSync(PAGE, "utf8").matchAll(/^\| `(sallyport_http_\w+)` \| (\w+) \|/gm);
  assert.deepEqual(told.sort(), [...rows].map((match) => match.slice(1, 3).join(" ")).sort());
  assert.ok(told.length >= 6);
});

test("label values cannot end their line", () => {
  const metrics = new Metrics();
  metrics.count("a_total", "A.", { why: 'x"} 1\nb_total{c="\\' });
  assert.equal(metrics.text().split("\n")[2], 'a_total{why="x\\"} 1\\nb_total{c=\\"\\\\"} 1');
});

test("a histogram counts each observation into every bucket that holds it", () => {
  const metrics = new Metrics();
  for (const seconds of [0.0005, 0.02, 20]) metrics.observe("s", "Seconds.", seconds);
  const text = metrics.text();
  assert.match(text, /s_bucket\{le="0.001"\} 1\n/);
  assert.match(text, /s_bucket\{le="0.05"\} 2\n/);
  assert.match(text, /s_bucket\{le="10"\} 2\n/);
  assert.match(text, /s_bucket\{le="\+Inf"\} 3\ns_sum 20.0205\ns_count 3\n/);
});
