/** A gateway at work is backed up, loses its state, and has it back: by the command line, and asked for over the API. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import type { Json } from "@sallyport/core";
import {
  archivistSocket,
  ask,
  askSocket,
  fields,
  listOf,
  localRoot,
  startSupervisor,
  word,
} from "sallyport";
import { whyNoNamespaces } from "../lab/namespaces.ts";
import { within } from "../lab/shell.ts";
import { buildSite, type Site } from "../lab/site.ts";
import { Person } from "./hands/people.ts";
import * as ps from "./hands/processes.ts";

const why = process.getuid?.() === 0 ? await whyNoNamespaces() : "needs root: rooms, eBPF and uids";
const skip = why ?? false;
const CLI = path.join(import.meta.dirname, "../packages/sallyport/bin/sallyport.mjs");
const SOON_MS = 60_000;

let site: Site | undefined;
let home = "";
let anna: Person;

before(async () => {
  if (why !== undefined) return;
  home = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-backup-e2e-"));
  site = await buildSite({ name: `b${process.pid}`, mode: "kernel", devices: false });
  anna = new Person(site.instance, "anna");
});
after(async () => {
  const { stateDir } = onSite().instance;
  await site?.destroy();
  fs.rmSync(home, { recursive: true, force: true });
  for (const name of fs.readdirSync(path.dirname(stateDir))) {
    if (name.startsWith(`${path.basename(stateDir)}.before-restore`)) {
      fs.rmSync(path.join(path.dirname(stateDir), name), { recursive: true });
    }
  }
});

function onSite(): Site {
  assert.ok(site, "the plant was built");
  return site;
}

function cli(...args: readonly string[]): { code: number | null; out: string; err: string } {
  const argv = [CLI, ...args, "--json", "--instance", onSite().instance.name];
  const { status, stdout, stderr } = spawnSync(process.execPath, argv, { encoding: "utf8" });
  return { code: status, out: stdout, err: stderr };
}

function done(...args: readonly string[]): ReturnType<typeof fields> {
  const { code, out, err } = cli(...args);
  assert.equal(code, 0, err);
  return fields(JSON.parse(out) as Json);
}

async function island(zone: string): Promise<void> {
  await ask(onSite().instance.name, { type: "island-on", zone });
  const off = { type: "island-off", zone, ...localRoot("end-to-end test") } as const;
  await ask(onSite().instance.name, off);
}

async function head(): Promise<ReturnType<typeof fields>> {
  return fields(await askSocket(archivistSocket(onSite().instance, "root"), { type: "head" }));
}

test("made at work, verified offline, by the command line and over the API", { skip }, async () => {
  const token = word(done("admin", "link")["token"]);
  const first = await within(SOON_MS, () =>
    anna.comeFirst(token).then(
      () => true,
      () => undefined,
    ),
  );
  assert.equal(first, true);
  const early = await anna.ask("POST", "/v1/backups", {}, { "idempotency-key": "one" });
  assert.equal(
    fields(early.body ?? null)["code"],
    "recovery-key-missing",
    JSON.stringify(early.body),
  );
  fs.writeFileSync(path.join(home, "recovery"), word(done("backup", "key")["key"]));
  const acts = (async () => {
    for (let n = 0; n < 20; n++) await island("cell-b");
  })();
  done("backup", "create", path.join(home, "taken"));
  await acts;
  assert.equal(done("backup", "verify", path.join(home, "taken"))["good"], true);
  const made = await anna.done("POST", "/v1/backups", {}, { "idempotency-key": "two" });
  assert.equal(made["verified"], "never");
  const id = word(made["id"]);
  assert.equal((await anna.done("POST", `/v1/backups/${id}/verify`, {}))["verified"], "good");
  const { items } = await anna.done("GET", "/v1/backups");
  assert.deepEqual(
    listOf(items).map((item) => [fields(item)["id"], fields(item)["verified"]]),
    [[id, "good"]],
  );
  assert.equal(cli("backup", "restore", path.join(home, "taken")).code, 1, "the gateway runs");
});

test("damaged state is restored as the hint says; what was signed before opens nothing", {
  skip,
}, async () => {
  const { instance, plant } = onSite();
  const running = fields(await ask(instance.name, { type: "running" }));
  done("backup", "create", path.join(home, "second"));
  assert.equal(cli("down").code, 0);
  const file = path.join(instance.stateDir, "control/state.sqlite");
  fs.writeFileSync(file, "no database any more");
  for (const rest of ["-wal", "-shm"]) fs.rmSync(`${file}${rest}`, { force: true });
  done("backup", "restore", path.join(home, "second"));
  const hostNetns = `/run/netns/${plant.box}`;
  await startSupervisor(instance, { hostNetns, foreground: false });
  const again = fields(await ask(instance.name, { type: "running" }));
  const digest = (answer: ReturnType<typeof fields>): unknown =>
    fields(answer["confirmed"] ?? null)["digest"];
  assert.ok(digest(running) !== undefined);
  assert.equal(digest(again), digest(running), "the last confirmed policy");
  assert.notEqual(again["nodeEpoch"], running["nodeEpoch"]);
  const back = await within(SOON_MS, () =>
    anna.signIn().then(
      () => true,
      () => undefined,
    ),
  );
  assert.equal(back, true, "people are there again");
  assert.equal(ps.running(onSite(), "control").length, 1);
});

test("the restored ledger goes on, under a new name, and verifies offline", { skip }, async () => {
  await island("cell-a");
  const restored = await within(SOON_MS, async () => {
    const { stdout } = spawnSync(
      process.execPath,
      [
        CLI,
        "ledger",
        "list",
        "--type",
        "archivist.restored",
        "--json",
        "--instance",
        onSite().instance.name,
      ],
      { encoding: "utf8" },
    );
    return listOf(JSON.parse(stdout || "null") as Json).length === 1 ? true : undefined;
  });
  assert.equal(restored, true);
  const { key } = await head();
  const former = fs.readFileSync(path.join(home, "second/archivist/before/key"), "utf8").trim();
  assert.notEqual(word(key), former);
  done("ledger", "export", path.join(home, "export"));
  assert.equal(
    done("ledger", "verify", path.join(home, "export"), "--key", word(key))["good"],
    true,
  );
});
