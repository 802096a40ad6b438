/**
 * Who opens: people's signatures, checked by the enforcer, whatever `control` says. Here `control` is
 * a hostile program with its uid on its socket, and approvers sign with the command line.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import type { Json } from "@sallyport/core";
import { ask, fields, listOf, word } from "sallyport";
import { knock } from "../lab/attacks.ts";
import { whyNoNamespaces } from "../lab/namespaces.ts";
import { buildSite, plantPolicy, type Site } from "../lab/site.ts";
import { eventsSince } from "./hands/rooms.ts";

const why = process.getuid?.() === 0 ? await whyNoNamespaces() : "needs root: rooms, eBPF and uids";
const skip = why ?? false;
const CLI = path.join(import.meta.dirname, "../packages/sallyport/bin/sallyport.mjs");
const HOSTILE = path.join(import.meta.dirname, "hands/hostile-control.mjs");
const EXIT_SECOND_APPROVER = 6;
const SESSION = "vendor-services-press";

let site: Site | undefined;
let home = "";

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function cli(...args: readonly string[]): Ran {
  const argv = [CLI, ...args, "--instance", onSite().instance.name];
  const { status, stdout, stderr } = spawnSync(process.execPath, argv, { encoding: "utf8" });
  return { code: status, out: stdout, err: stderr };
}

function onSite(): Site {
  assert.ok(site, "the plant was built");
  return site;
}

const at = (name: string): string => path.join(home, name);

before(async () => {
  if (why !== undefined) return;
  home = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-approvals-"));
  site = await buildSite({ name: `v${process.pid}`, mode: "kernel" });
  const policy = plantPolicy();
  fs.writeFileSync(at("site.yaml"), policy.text);
  // Two cells are changed by this, and cell-a asks for two signatures in it and from then on.
  const asking = policy.text
    .replace("    sl-t: 2\n    approvals: 1\n", "    sl-t: 2\n    approvals: 2\n")
    .replace("holding-registers: [20-39]", "holding-registers: [20-49]");
  assert.notEqual(asking, policy.text);
  fs.mkdirSync(at("next"));
  fs.writeFileSync(at("next/site.yaml"), asking);
  for (const person of ["anna", "ben"]) {
    const made = JSON.parse(cli("approver", "new", "--out", at(`${person}.key`), "--json").out) as {
      readonly key: string;
    };
    const added = cli("approver", "add", person, "--person", person, "--key", made.key);
    assert.equal(added.code, 0, added.err);
  }
});
after(async () => {
  await site?.destroy();
  if (home !== "") fs.rmSync(home, { recursive: true, force: true });
});

function sign(file: string, person: string, ...rest: readonly string[]): string {
  const signed = cli(
    ...["approve", file, "--key", at(`${person}.key`), "--name", person, "--yes", ...rest],
  );
  assert.equal(signed.code, 0, signed.err);
  return `${file}.${person}`;
}

/** Says it as `control` would: its uid, its socket, nothing of root's. */
function asControl(...messages: readonly object[]): readonly ReturnType<typeof fields>[] {
  const { instance } = onSite();
  const uids = JSON.parse(
    fs.readFileSync(path.join(instance.stateDir, "uids.json"), "utf8"),
  ) as Readonly<Record<string, number>>;
  const uid = uids["control"];
  assert.ok(uid !== undefined && uid > 0, "control has a uid of its own");
  const socket = path.join(instance.runDir, "enforcer-control/enforcer.sock");
  // Its code is where every uid can read it.
  const program = path.join(
    instance.runDir,
    "code",
    path.relative(path.join(import.meta.dirname, ".."), HOSTILE),
  );
  const node = process.execPath.replace(
    path.join(import.meta.dirname, ".."),
    path.join(instance.runDir, "code"),
  );
  const { stdout, stderr, status } = spawnSync(
    "setpriv",
    [
      ...[`--reuid=${uid}`, `--regid=${uid}`, "--clear-groups", "--bounding-set=-all", "--"],
      ...[node, program, socket, ...messages.map((message) => JSON.stringify(message))],
    ],
    { encoding: "utf8", cwd: "/" },
  );
  assert.equal(status, 0, stderr);
  return stdout
    .trim()
    .split("\n")
    .map((line) => fields(JSON.parse(line) as Json));
}

function codeOf(reply: ReturnType<typeof fields> | undefined): string {
  return reply?.["ok"] === true ? "done" : word(fields(reply?.["error"] ?? null)["code"]);
}

async function generation(): Promise<number> {
  return Number(fields(await ask(onSite().instance.name, { type: "status" }))["generation"]);
}

test("two people sign on machines of their own, and the change is applied without root's word", {
  skip,
}, async () => {
  const was = await generation();
  const file = at("change.json");
  const planned = cli("plan", at("next"), "--author", "erin", "--out", file);
  assert.equal(planned.code, 2, planned.err);
  const anna = sign(file, "anna", "--policy", at("next"));
  const short = cli("apply", at("next"), "--author", "erin", "--approved", anna);
  assert.equal(short.code, EXIT_SECOND_APPROVER, short.err);
  assert.match(short.err, /too-few-approvers/);
  assert.equal(await generation(), was, "nothing was applied");
  const ben = sign(file, "ben", "--policy", at("next"));
  const since = Date.now();
  const applied = cli("apply", at("next"), "--author", "erin", "--approved", `${anna},${ben}`);
  assert.equal(applied.code, 0, applied.err);
  assert.equal(cli("confirm").code, 0);
  assert.equal(await generation(), was + 1);
  const told = eventsSince(onSite(), since).filter(({ type }) => type === "approved");
  assert.deepEqual(
    told.map((event) => [event["act"], event["people"], event["breakGlass"]]),
    [["apply", ["anna", "ben"], false]],
  );
});

test("an approver whose copy of the policy is another one signs nothing", { skip }, () => {
  const file = at("other.json");
  cli("plan", at("next"), "--author", "erin", "--out", file);
  const refused = cli(
    ...["approve", file, "--policy", at("site.yaml"), "--key", at("anna.key")],
    ...["--name", "anna", "--yes"],
  );
  assert.equal(refused.code, 1);
  assert.match(refused.err, /plan-changed/);
  assert.equal(fs.existsSync(`${file}.anna`), false);
});

test("a hostile control opens nothing: unsigned, altered, replayed, stale, or in root's name", {
  skip,
}, async () => {
  const confirmed = await generation();
  const { name } = onSite().instance;
  const files = [{ name: "site.yaml", text: fs.readFileSync(at("site.yaml"), "utf8") }];
  const plan = fields(await ask(name, { type: "plan", files, author: "erin" }));
  const apply = {
    type: "apply",
    files,
    author: "erin",
    planSha256: plan["planSha256"],
    confirmWithinSeconds: 60,
  };
  const old = ["anna", "ben"].map(
    (person) =>
      (JSON.parse(fs.readFileSync(at(`change.json.${person}`), "utf8")) as { approval: object })
        .approval,
  );
  const root = [{ kind: "local-root", reason: "it says it is root" }];
  const grant = {
    conduit: SESSION,
    person: "vendor-tech",
    reason: "x",
    source: "10.20.0.10",
    asset: "press-plc",
    seconds: 60,
  };
  const asked = {
    id: "a-1",
    author: "vendor-tech",
    startBy: new Date(Date.now() + 60_000).toISOString(),
  };
  const tries: readonly (readonly [string, object, string])[] = [
    ["unsigned", { ...apply, approvals: [] }, "approval-missing"],
    ["in root's name", { ...apply, approvals: root }, "approval-refused"],
    ["signed for another change", { ...apply, approvals: old }, "approval-refused"],
    ["of another plan", { ...apply, planSha256: "ab".repeat(32), approvals: old }, "plan-changed"],
    [
      "a grant, unsigned",
      { type: "grant-add", grant, ...asked, approvals: [] },
      "approval-missing",
    ],
    [
      "a grant in root's name",
      { type: "grant-add", grant, ...asked, approvals: root },
      "approval-refused",
    ],
    [
      "a grant by an old signature",
      { type: "grant-add", grant, ...asked, approvals: old },
      "approval-refused",
    ],
    [
      "island off, unsigned",
      { type: "island-off", zone: "cell-a", ...asked, approvals: [] },
      "approval-missing",
    ],
    ["the clock", { type: "trust-time", ...asked, approvals: root }, "approval-refused"],
    [
      "an approver of its own",
      {
        type: "approver-enrol",
        key: { id: "evil", person: "evil", kind: "ed25519", spki: "AAAA" },
        ...asked,
        approvals: root,
      },
      "approval-refused",
    ],
    ["the first link", { type: "first-secret" }, "denied"],
    ["taking it all down", { type: "down" }, "denied"],
  ];
  const answers = asControl(...tries.map(([, message]) => message));
  assert.deepEqual(
    answers.map((reply, index) => [tries[index]?.[0], codeOf(reply)]),
    tries.map(([what, , code]) => [what, code]),
  );
  assert.equal(await generation(), confirmed);
  const tank = { address: onSite().plant.address("press-plc"), port: 502 };
  assert.equal((await knock(onSite().plant, "vendor-pc", tank)).ok, false);
});

test("control cannot reach root's own door, and root's door is no door of anybody else's", {
  skip,
}, () => {
  const { instance } = onSite();
  const uids = JSON.parse(
    fs.readFileSync(path.join(instance.stateDir, "uids.json"), "utf8"),
  ) as Readonly<Record<string, number>>;
  const tryOf = (uid: number, socket: string): number | null =>
    spawnSync("setpriv", [
      `--reuid=${uid}`,
      `--regid=${uid}`,
      "--clear-groups",
      "--",
      "test",
      "-S",
      socket,
    ]).status;
  const root = path.join(instance.runDir, "enforcer-root/enforcer.sock");
  const control = path.join(instance.runDir, "enforcer-control/enforcer.sock");
  assert.equal(tryOf(uids["control"] ?? 0, root), 1);
  assert.equal(tryOf(uids["control"] ?? 0, control), 0);
  assert.equal(tryOf(uids["journal"] ?? 0, control), 1, "another process of ours");
  assert.equal(tryOf(65534, control), 1, "nobody");
});

test("a signed grant opens once, for whoever asked by name, also through control", {
  skip,
}, async () => {
  const file = at("grant.json");
  const wrote = cli(
    ...["grant", "add", SESSION, "--person", "vendor-tech", "--source", "10.20.0.10"],
    ...[
      "--asset",
      "press-plc",
      "--for",
      "60s",
      "--reason",
      "spindle",
      "--author",
      "vendor-tech",
      "--out",
      file,
    ],
  );
  assert.equal(wrote.code, 0, wrote.err);
  const anna = sign(file, "anna");
  const { act } = JSON.parse(fs.readFileSync(file, "utf8")) as {
    act: Readonly<Record<string, unknown>>;
  };
  const { approval } = JSON.parse(fs.readFileSync(anna, "utf8")) as { approval: object };
  const { conduit, person, reason, source, asset, seconds, id, author, startBy } = act;
  const asked = { id, author, startBy, approvals: [approval] };
  const grant = { conduit, person, reason, source, asset, seconds };
  const longer = { type: "grant-add", grant: { ...grant, seconds: 3600 }, ...asked };
  const other = { type: "grant-add", grant: { ...grant, person: "somebody" }, ...asked };
  const right = { type: "grant-add", grant, ...asked };
  assert.deepEqual(asControl(longer, other, right, right).map(codeOf), [
    "approval-refused",
    "approval-refused",
    "done",
    "approval-used",
  ]);
  const press = { address: onSite().plant.address("press-plc"), port: 502 };
  assert.equal((await knock(onSite().plant, "vendor-pc", press)).ok, true);
  const held = listOf(await ask(onSite().instance.name, { type: "grant-list" })).map(fields);
  assert.equal(held.length, 1);
  const revoked = asControl({ type: "grant-revoke", grant: word(held[0]?.["id"]) });
  assert.deepEqual(revoked.map(codeOf), ["done"], "closing needs no signature");
  assert.equal((await knock(onSite().plant, "vendor-pc", press)).ok, false);
});
