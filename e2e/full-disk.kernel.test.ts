/**
 * The disk of the gateway's state is full, for real: what opens is refused, what closes goes on, traffic goes on, an
 * administrator signs in and sees why, and all is well again when there is room.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import type { Json } from "@sallyport/core";
import {
  archivistSocket,
  ask,
  askSocket,
  fields,
  instanceNamed,
  listOf,
  localRoot,
  word,
} from "sallyport";
import { whyNoNamespaces } from "../lab/namespaces.ts";
import { within } from "../lab/shell.ts";
import { CrashStage } from "./hands/crash-stage.ts";
import { Person } from "./hands/people.ts";
import * as ps from "./hands/processes.ts";

const why = process.getuid?.() === 0 ? await whyNoNamespaces() : "needs root: rooms, eBPF and uids";
const skip = why ?? false;
const CLI = path.join(import.meta.dirname, "../packages/sallyport/bin/sallyport.mjs");
const SIZE = "160m";
const SOON_MS = 60_000;
const PROCESSES = ["enforcer", "archivist", "keyholder", "control", "journal", "watch"];

const instance = instanceNamed(`f${process.pid}`);
const filler = path.join(instance.stateDir, "filler");
const anna = new Person(instance, "anna");
let stage: CrashStage | undefined;
let pids = "";

before(async () => {
  if (why !== undefined) return;
  fs.mkdirSync(instance.stateDir, { recursive: true });
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${SIZE}`, "t", instance.stateDir]);
  assert.equal(mounted.status, 0, mounted.stderr.toString());
  stage = await CrashStage.build(instance.name);
});
after(async () => {
  if (why !== undefined) return;
  spawnSync("umount", ["-l", instance.stateDir]);
  await stage?.destroy();
  fs.rmSync(instance.stateDir, { recursive: true, force: true });
});

function onStage(): CrashStage {
  assert.ok(stage, "the plant was built");
  return stage;
}

function cli(...args: readonly string[]): { code: number | null; json: Json; err: string } {
  const argv = [CLI, ...args, "--json", "--instance", instance.name];
  const { status, stdout, stderr } = spawnSync(process.execPath, argv, { encoding: "utf8" });
  return { code: status, json: JSON.parse(stdout || "null") as Json, err: stderr };
}

function pidsNow(): string {
  const { site } = onStage();
  return PROCESSES.map(
    (main) =>
      `${main} ${ps
        .running(site, main)
        .map(({ pid }) => pid)
        .join(" ")}`,
  ).join();
}

/** To the last byte, as root. */
function fill(): void {
  const descriptor = fs.openSync(filler, "a");
  for (const size of [1024 * 1024, 4096, 1]) {
    const bytes = new Uint8Array(size);
    try {
      for (;;) if (fs.writeSync(descriptor, bytes) < size) break;
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, "ENOSPC");
    }
  }
  fs.closeSync(descriptor);
}

async function typesInLedger(): Promise<readonly string[]> {
  const question = { limit: 1000 };
  const page = fields(
    await askSocket(archivistSocket(instance, "root"), { type: "list", question }),
  );
  return listOf(page["records"]).map((record) => word(fields(record)["type"]));
}

const island = (zone: string, on: boolean): Promise<Json> =>
  on
    ? ask(instance.name, { type: "island-on", zone })
    : ask(instance.name, { type: "island-off", zone, ...localRoot("end-to-end test") });

test("a disk that fills up to 92 percent is told, and packets are no longer kept", {
  skip,
}, async () => {
  const { site } = onStage();
  const token = fields(cli("admin", "link").json)["token"];
  const first = await within(SOON_MS, () =>
    anna.comeFirst(word(token)).then(
      () => true,
      () => undefined,
    ),
  );
  assert.equal(first, true);
  const vendor = {
    ...{ conduit: "vendor-services-press", person: "vendor-tech", reason: "spindle" },
    ...{ source: site.plant.address("vendor-pc"), asset: "press-plc", seconds: 3000 },
  };
  await site.product.grant(vendor);
  const { blocks, bavail, bsize } = fs.statfsSync(instance.stateDir);
  fs.writeFileSync(filler, new Uint8Array((bavail - blocks * 0.08) * bsize));
  const status = cli("status");
  assert.equal(status.code, 3);
  assert.match(JSON.stringify(fields(status.json)["degraded"]), /disk 9[1-3] % full/);
  assert.match(JSON.stringify(cli("doctor").json), /disk of the state","state":"degraded/);
  pids = pidsNow();
});

test("full: an opening act is refused as not recorded, and opens nothing", { skip }, async () => {
  await island("safety", true);
  fill();
  await assert.rejects(island("safety", false), { code: "not-recorded" });
  const { islands } = await onStage().status();
  assert.deepEqual(islands, ["safety"]);
});

test("full: closing acts go on, and last", { skip }, async () => {
  const [grant] = listOf(await ask(instance.name, { type: "grant-list" })).map(fields);
  await ask(instance.name, { type: "grant-revoke", grant: word(grant?.["id"]) });
  fill();
  assert.deepEqual(await ask(instance.name, { type: "grant-list" }), []);
});

test("full: an administrator signs in with two factors, reads why, and changes nothing", {
  skip,
}, async () => {
  await anna.signIn();
  const status = await anna.done("GET", "/v1/status");
  assert.match(JSON.stringify(status["degraded"]), /disk full: what opens is refused/);
  const person = { id: "erin", name: "Erin", roles: ["engineer"] };
  const refused = await anna.ask("POST", "/v1/people", person);
  assert.equal(fields(refused.body ?? null)["code"], "not-recorded", JSON.stringify(refused.body));
  fill();
  // Again and again: the room for it is the stores' own, and nobody else can take it.
  await anna.signIn();
  assert.equal(fields(cli("status").json)["disk"] === undefined, false);
  assert.equal(fields(fields(cli("status").json)["disk"] ?? null)["state"], "full");
});

test("full: what was allowed goes on as it was, and no process has ended", { skip }, async () => {
  const since = Date.now();
  await onStage().live.flow("hmi", "erp", "direct");
  assert.deepEqual(onStage().live.broken(since, "hmi", "erp", "direct"), []);
  await onStage().stillRefused();
  assert.equal(pidsNow(), pids);
});

test("with room again it opens again by itself, and the ledger has what happened", {
  skip,
}, async () => {
  fs.rmSync(filler);
  const opened = await within(SOON_MS, () =>
    island("safety", false).then(
      () => true,
      () => undefined,
    ),
  );
  assert.equal(opened, true);
  const wanted = ["enforcer.island", "enforcer.grant-revoked", "control.sign-in"];
  const found = await within(SOON_MS, async () => {
    const types = await typesInLedger();
    return wanted.every((type) => types.includes(type)) ? true : undefined;
  });
  assert.equal(found, true, `${wanted.join()} in ${[...new Set(await typesInLedger())].join(" ")}`);
  await anna.done("POST", "/v1/people", { id: "erin", name: "Erin", roles: ["engineer"] });
  assert.equal(cli("status").code, 0);
});
