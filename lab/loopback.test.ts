import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { buildLoopbackPlant } from "./loopback.ts";
import { LoopbackGateway } from "./loopback-gateway.ts";
import { run } from "./shell.ts";
import { canEnforce, type GatewayPort, NOT_ENFORCED, playStory } from "./story.ts";
import { ROWS } from "./story-rows.ts";

const policy = {
  name: "site.yaml",
  text: fs.readFileSync(new URL("plant/site.yaml", import.meta.url), "utf8"),
};
const pymodbus = await run(["/usr/bin/python3", "-c", "import pymodbus.server"]).catch(
  () => undefined,
);
const skip = pymodbus?.code === 0 ? false : "needs python3-pymodbus and python3-serial-asyncio";

test("without any right the gates still refuse what the policy refuses, and say what is left out", {
  skip,
}, async () => {
  const plant = await buildLoopbackPlant();
  try {
    const gateway = await LoopbackGateway.start(plant, policy);
    try {
      const results = await playStory(gateway, plant, () => undefined, { policy });
      const enforced = results.filter((result) => result.enforced);
      assert.equal(enforced.length, ROWS.filter((row) => canEnforce("loopback", row.needs)).length);
      assert.deepEqual(
        enforced.filter(({ ok }) => !ok),
        [],
      );
      const rest = results.filter((result) => !result.enforced);
      assert.ok(rest.length > 0 && rest.every(({ ok, seen }) => !ok && seen === NOT_ENFORCED));
    } finally {
      await gateway.close();
    }
  } finally {
    await plant.destroy();
  }
});

test("where clients dial the PLCs past the gates, the rows of wrong writes come out wrong", {
  skip,
}, async () => {
  const plant = await buildLoopbackPlant();
  try {
    const gateway = await LoopbackGateway.start(plant, policy);
    try {
      const tank = plant.assets.get("tank-plc");
      const open: GatewayPort = {
        mode: "loopback",
        dial: () => tank,
        egressAddress: () => gateway.egressAddress(),
        denials: (since) => gateway.denials(since),
        grant: () => gateway.grant(),
        apply: (file) => gateway.apply(file),
        status: () => gateway.status(),
        detachProgram: () => gateway.detachProgram(),
      };
      const only = ["erp-writes", "hmi-writes-too-high", "engineering-writes-outside"];
      const results = await playStory(open, plant, () => undefined, { policy, only });
      assert.equal(results.length, only.length);
      for (const { id, ok, seen } of results) {
        assert.equal(ok, false, id);
        assert.match(seen, /^allow; tank-plc took a write/);
      }
    } finally {
      await gateway.close();
    }
  } finally {
    await plant.destroy();
  }
});
