/** The first policy of a gateway, which nobody confirmed in time, and then the second try. */
import assert from "node:assert/strict";
import fs from "node:fs";
import process from "node:process";
import { after, before, test } from "node:test";
import { ask, type Instance, instanceNamed, startSupervisor, stopGateway } from "sallyport";
import { readModbus } from "../lab/client.ts";
import { whyNoNamespaces } from "../lab/namespaces.ts";
import { Product } from "../lab/product.ts";
import { within } from "../lab/shell.ts";
import { applyAndConfirm, plantPolicy } from "../lab/site.ts";
import { buildPlant, type Plant } from "../lab/topology.ts";

const why = process.getuid?.() === 0 ? await whyNoNamespaces() : "needs root: rooms, eBPF and uids";
const WORKS_LIMIT_MS = 60_000;
const CONFIRM_SECONDS = 120;

let plant: Plant | undefined;
const instance: Instance = instanceNamed(`f${process.pid}`);

before(async () => {
  if (why === undefined) plant = await buildPlant({ prefix: `sp${instance.name}` });
});
after(async () => {
  if (plant === undefined) return;
  await stopGateway(instance, `/run/netns/${plant.box}`);
  await plant.destroy();
  fs.rmSync(instance.stateDir, { recursive: true, force: true });
});

test("a first policy that is taken back leaves nothing, and the next one works in its own rooms", {
  skip: why ?? false,
}, async () => {
  const at = plant;
  assert.ok(at, "the plant was built");
  const product = new Product(instance, "kernel");
  const tank = { address: at.address("tank-plc"), port: 502 };
  const request = { area: "holding", address: 0, count: 1 } as const;
  const reads = async (): Promise<boolean> => (await readModbus(at, "erp", tank, request)).ok;
  const soon = (): Promise<true | undefined> =>
    within(WORKS_LIMIT_MS, async () => ((await reads()) ? true : undefined));

  await startSupervisor(instance, { hostNetns: `/run/netns/${at.box}`, foreground: false });
  const first = await product.apply(plantPolicy(), CONFIRM_SECONDS);
  assert.ok(first.kind === "pending");
  assert.equal(await soon(), true, "while it waits, it is in force");
  await ask(instance.name, { type: "rollback", generation: first.generation });
  assert.equal(await reads(), false);
  const rooms = fs
    .readdirSync("/run/netns")
    .filter((name) => name.startsWith(`sp-${instance.name}-`));
  assert.deepEqual(rooms, [], "no room is left of it");

  await applyAndConfirm(product, plantPolicy());
  assert.equal(await soon(), true, "gates that ran in the first rooms are in the second");
});
