/** What the gateway decided is in the ledger, once, and anybody can check it without the gateway. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import { archivistSocket, ask, askSocket, fields, localRoot } from "sallyport";
import { knock } from "../lab/attacks.ts";
import { whyNoNamespaces } from "../lab/namespaces.ts";
import { within } from "../lab/shell.ts";
import { buildSite, type Site } from "../lab/site.ts";
import * as ps from "./hands/processes.ts";

const why = process.getuid?.() === 0 ? await whyNoNamespaces() : "needs root: rooms, eBPF and uids";
const skip = why ?? false;
const CLI = path.join(import.meta.dirname, "../packages/sallyport/bin/sallyport.mjs");
const SOON_MS = 30_000;
/** The enforcer counts by the minute; then the archivist reads. */
const MINUTE_MS = 100_000;

let site: Site | undefined;
let home = "";

before(async () => {
  if (why !== undefined) return;
  home = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-ledger-"));
  site = await buildSite({ name: `l${process.pid}`, mode: "kernel" });
});
after(async () => {
  await site?.destroy();
  if (home !== "") fs.rmSync(home, { recursive: true, force: true });
});

function onSite(): Site {
  assert.ok(site, "the plant was built");
  return site;
}

interface Listed {
  readonly index: number;
  readonly type: string;
  readonly leaf: string;
  readonly personal: Readonly<Record<string, unknown>>;
}

function cli(...args: readonly string[]): { code: number | null; out: string; err: string } {
  const argv = [CLI, ...args, "--instance", onSite().instance.name];
  const { status, stdout, stderr } = spawnSync(process.execPath, argv, { encoding: "utf8" });
  return { code: status, out: stdout, err: stderr };
}

async function listed(type: string): Promise<readonly Listed[]> {
  const socket = archivistSocket(onSite().instance, "root");
  const answer = await askSocket(socket, { type: "list", question: { type, limit: 1000 } });
  return fields(answer)["records"] as unknown as readonly Listed[];
}

/** On and off again: each is an act of the enforcer. */
async function switchIsland(zone: string): Promise<void> {
  const { name } = onSite().instance;
  await ask(name, { type: "island-on", zone });
  await ask(name, { type: "island-off", zone, ...localRoot("end-to-end test") });
}

async function recorded(type: string, count: number, waitMs = SOON_MS): Promise<readonly Listed[]> {
  const found = await within(waitMs, async () => {
    // While it is down nobody answers.
    const records = await listed(type).catch(() => []);
    return records.length >= count ? records : undefined;
  });
  assert.ok(found, `${count} records ${type}`);
  return found;
}

test("applying, granting, revoking and cutting off are records, one each", { skip }, async () => {
  const { product, plant } = onSite();
  await product.grant({
    conduit: "vendor-services-press",
    person: "vendor-tech",
    reason: "spindle",
    source: plant.address("vendor-pc"),
    asset: "press-plc",
    seconds: 60,
  });
  await switchIsland("cell-b");
  await recorded("enforcer.island", 2);
  assert.equal((await listed("enforcer.applied")).length, 1);
  assert.equal((await listed("enforcer.confirmed")).length, 1);
  const [grant] = await listed("enforcer.grant-added");
  assert.equal(grant?.personal["person"], "vendor-tech");
  assert.doesNotMatch(grant.leaf, /vendor-tech/, "the name is beside the tree, not in it");
  const approved = (await listed("enforcer.approved")).map(
    ({ leaf }) => JSON.parse(leaf) as { act: string },
  );
  assert.deepEqual(
    approved.map(({ act }) => act),
    ["apply", "grant", "island-off"],
  );
  assert.ok((await listed("supervisor.process-started")).length >= 5);
});

test("the archivist is killed at work: nothing is recorded twice or not at all", {
  skip,
}, async () => {
  for (let turn = 0; turn < 3; turn++) {
    await switchIsland("cell-a");
    ps.kill(ps.running(onSite(), "archivist"));
    await switchIsland("cell-a");
  }
  const records = await recorded("enforcer.island", 14);
  assert.equal(records.length, 14);
  const states = records.map(({ leaf }) => (JSON.parse(leaf) as { on: boolean }).on);
  assert.deepEqual(
    states,
    records.map((_, index) => index % 2 === 0),
  );
});

test("refusals of a minute are sums, and the packets of a scan no records of their own", {
  skip,
}, async () => {
  const { plant } = onSite();
  for (let port = 1000; port < 1040; port++) {
    await knock(plant, "attacker", { address: plant.address("tank-plc"), port });
  }
  const minutes = await recorded("traffic.minute", 1, MINUTE_MS);
  const refused = minutes
    .map(({ leaf }) => JSON.parse(leaf) as { refused: number; rows: { reason?: string }[] })
    .filter(({ rows }) => rows.some(({ reason }) => reason === "no-conduit"));
  assert.ok(refused.length >= 1, "the minute of the scan");
  assert.ok(minutes.length < 5);
});

test("an export is checked by whoever has the key, and a changed byte is found by its record", {
  skip,
}, () => {
  const directory = path.join(home, "export");
  const made = cli("ledger", "export", directory);
  assert.equal(made.code, 0, made.err);
  const { key } = JSON.parse(cli("ledger", "status", "--json").out) as { key: string };
  const verify = (...args: readonly string[]): number | null =>
    spawnSync(process.execPath, [path.join(directory, "verify.mjs"), directory, ...args]).status;
  assert.equal(verify("--key", key), 0);
  assert.equal(cli("ledger", "verify", directory).code, 0);
  const [first] = fs.readdirSync(path.join(directory, "tile/entries")).sort();
  const bundle = path.join(directory, "tile/entries", first ?? "");
  const file = fs.statSync(bundle).isDirectory()
    ? path.join(bundle, fs.readdirSync(bundle)[0] ?? "")
    : bundle;
  const bytes = fs.readFileSync(file);
  bytes[20] = (bytes[20] ?? 0) ^ 1;
  fs.writeFileSync(file, bytes);
  assert.equal(verify("--key", key), 1);
  const found = cli("ledger", "verify", directory);
  assert.equal(found.code, 1);
  assert.match(found.err, /record 0/);
});

test("one record is proved by a file of its own", { skip }, async () => {
  const [record] = await listed("enforcer.confirmed");
  assert.ok(record);
  const file = path.join(home, "one.tlog-proof");
  const made = cli("ledger", "prove", String(record.index), "--out", file);
  assert.equal(made.code, 0, made.err);
  assert.equal(cli("ledger", "verify", file).code, 0, cli("ledger", "verify", file).err);
  fs.writeFileSync(file, fs.readFileSync(file, "utf8").replace(/\n([A-Z])/, "\nz"));
  assert.equal(cli("ledger", "verify", file).code, 1);
});

test("nobody but the archivist can write its files, and root's door is root's", { skip }, () => {
  const { instance } = onSite();
  const uids = JSON.parse(
    fs.readFileSync(path.join(instance.stateDir, "uids.json"), "utf8"),
  ) as Readonly<Record<string, number>>;
  const as = (uid: number, ...command: readonly string[]): number | null =>
    spawnSync("setpriv", [`--reuid=${uid}`, `--regid=${uid}`, "--clear-groups", "--", ...command])
      .status;
  const directory = path.join(instance.stateDir, "archivist");
  for (const name of ["control", "journal", "watch"]) {
    const uid = uids[name] ?? 0;
    assert.ok(uid > 0, name);
    assert.notEqual(as(uid, "ls", directory), 0, `${name} reads the archivist's files`);
    assert.notEqual(
      as(uid, "test", "-S", path.join(instance.runDir, "archivist-root/archivist.sock")),
      0,
    );
  }
  assert.equal(
    as(
      uids["control"] ?? 0,
      "test",
      "-S",
      path.join(instance.runDir, "archivist-control/archivist.sock"),
    ),
    0,
  );
});
