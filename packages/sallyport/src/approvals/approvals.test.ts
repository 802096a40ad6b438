import assert from "node:assert/strict";
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { SallyportError } from "@sallyport/core";
import {
  type Approval as Signature,
  approvalMessage,
  firstApproverHmac,
} from "@sallyport/identity/approval";
import { compilePolicy, type Legs } from "@sallyport/policy";
import type { Approval, Caller } from "../messages.ts";
import { type Act, digestOf, type NamedAct, requiredFor } from "./act.ts";
import { ApprovalDesk } from "./approval-desk.ts";
import { ApproverActs } from "./approver-acts.ts";
import { ApproverBook, START_AHEAD_MAX_MS } from "./approver-book.ts";

const NOW = Date.UTC(2026, 10, 18, 11, 0);
const HOUR_MS = 3_600_000;
const home = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-approvals-"));
after(() => fs.rmSync(home, { recursive: true }));
let books = 0;

function policy(change: { conduit?: string; cellB?: number; timeout?: number } = {}): Legs {
  const text = `version: 1
site: { name: plant, timezone: UTC, nodes: [gw1], transit: { outer: 10.30.0.0/24, inner: 10.31.0.0/24 } }
limits: { timeouts: { udp: ${change.timeout ?? 60} } }
zones:
  office: { kind: business, level: 4, networks: [10.10.0.0/24], attach: { nic: it0, address: 10.10.0.1/24 }, owner: it, sl-t: 1 }
  dmz: { kind: dmz, level: 3.5, owner: ot, sl-t: 2 }
  cell-a: { kind: control, level: 1, networks: [10.41.0.0/24], attach: { nic: a0, address: 10.41.0.1/24 }, owner: ot, sl-t: 2, approvals: 1 }
  cell-b: { kind: control, level: 1, networks: [10.42.0.0/24], attach: { nic: b0, address: 10.42.0.1/24 }, owner: ot, sl-t: 2, approvals: ${change.cellB ?? 2} }
components: { gate: { kind: gate } }
assets:
  erp: { zone: office, address: 10.10.0.10 }
  plc-a: { zone: cell-a, address: 10.41.0.10 }
  plc-b: { zone: cell-b, address: 10.42.0.10 }
conduits:
  reads-a: { from: erp, to: plc-a, service: modbus, via: proxy, through: gate, owner: ot, why: levels, expires: 2027-06-30,
    l7: { modbus: { functions: [read-holding-registers], units: [1], holding-registers: [${change.conduit === "a" ? "0-9" : "0-99"}] } } }
  reads-b: { from: erp, to: plc-b, service: modbus, via: proxy, through: gate, owner: ot, why: levels, expires: 2027-06-30,
    l7: { modbus: { functions: [read-holding-registers], units: [1], holding-registers: [${change.conduit === "b" ? "0-9" : "0-99"}] } } }
`;
  const { legs, diagnostics } = compilePolicy(
    [{ name: "site.yaml", bytes: new TextEncoder().encode(text) }],
    { now: NOW },
  );
  assert.ok(legs, JSON.stringify(diagnostics));
  return legs;
}

function applying(legs: Legs, change: { author?: string; base?: number } = {}): Act {
  const { author = "erin", base = 3 } = change;
  const numbers = { baseGeneration: base, nextGeneration: base + 1, nodeEpoch: 0 };
  return { act: "apply", site: "plant", author, policySha256: legs.policySha256, legs, ...numbers };
}

function islandOff(change: Partial<NamedAct> = {}): Act {
  const startBy = new Date(NOW + HOUR_MS).toISOString();
  const rest = { site: "plant", nodeEpoch: 0, id: "a-1", author: "erin", startBy, ...change };
  return { act: "island-off", zone: "cell-a", ...rest } as Act;
}

/** A plant with two people who sign, and one who asks. */
async function plant() {
  const stateDir = path.join(home, String(++books));
  fs.mkdirSync(stateDir);
  const book = await ApproverBook.load(stateDir);
  const keys = new Map<string, KeyObject>();
  const enrol = async (person: string, rest: { zones?: string[] } = {}): Promise<void> => {
    const { publicKey, privateKey } = generateKeyPairSync("ed25519");
    keys.set(person, privateKey);
    const spki = publicKey.export({ format: "der", type: "spki" }).toString("base64");
    await book.enrol({ id: person, person, kind: "ed25519", spki, enrolledAtMs: NOW, ...rest });
  };
  await enrol("anna");
  await enrol("ben");
  await enrol("erin");
  await enrol("cell-a-only", { zones: ["cell-a", "office"] });
  const signed = (person: string, act: Act): Signature => {
    const key = keys.get(person);
    assert.ok(key);
    const signature = sign(null, approvalMessage(digestOf(act)), key).toString("base64url");
    return { kind: "ed25519", key: person, signature };
  };
  const desk = new ApprovalDesk(book);
  const answer = async (
    act: Act,
    approvals: readonly Approval[],
    about: { caller?: Caller; running?: Legs; nowMs?: number } = {},
  ): Promise<string> => {
    const { caller = "control", running, nowMs = NOW } = about;
    try {
      const { people, breakGlass } = await desk.approve(act, approvals, { caller, running, nowMs });
      return breakGlass ? "break-glass" : `by ${people.join(" and ")}`;
    } catch (error) {
      assert.ok(error instanceof SallyportError, String(error));
      return `${error.code} ${/\(([a-z-]+)\)/.exec(error.message)?.[1] ?? ""}`.trim();
    }
  };
  return { book, stateDir, signed, answer };
}

test("a change that touches a cell needs as many signatures as the cell asks", async () => {
  const { signed, answer } = await plant();
  const running = policy();
  const a = applying(policy({ conduit: "a" }));
  assert.deepEqual(requiredFor(a, running), { people: 1, zones: ["cell-a", "office"] });
  assert.equal(await answer(a, [signed("anna", a)], { running }), "by anna");
  const b = applying(policy({ conduit: "b" }));
  assert.equal(requiredFor(b, running).people, 2);
  assert.equal(
    await answer(b, [signed("anna", b)], { running }),
    "second-approver-needed too-few-approvers",
  );
  const both = [signed("anna", b), signed("ben", b)];
  assert.equal(await answer(b, both, { running }), "by anna and ben");
});

test("nobody approves what they asked for themselves, and no one person is two", async () => {
  const { signed, answer } = await plant();
  const running = policy();
  const act = applying(policy({ conduit: "a" }), { author: "anna" });
  const short = "second-approver-needed too-few-approvers";
  assert.equal(await answer(act, [signed("anna", act)], { running }), short);
  const b = applying(policy({ conduit: "b" }));
  assert.equal(await answer(b, [signed("anna", b), signed("anna", b)], { running }), short);
  assert.equal(await answer(b, [], { running }), short);
});

test("whoever claims that somebody else asked has other bytes to sign", async () => {
  const { signed, answer } = await plant();
  const running = policy();
  const honest = applying(policy({ conduit: "a" }), { author: "anna" });
  const claimed = applying(policy({ conduit: "a" }), { author: "erin" });
  assert.equal(
    await answer(claimed, [signed("anna", honest)], { running }),
    "approval-refused signature-invalid",
  );
});

test("a signature is worth nothing for another policy, generation, site or kind of act", async () => {
  const { signed, answer } = await plant();
  const running = policy();
  const act = applying(policy({ conduit: "a" }));
  const others: Act[] = [
    applying(policy({ conduit: "b" })),
    applying(policy({ conduit: "a" }), { base: 4 }),
    { ...act, site: "other" },
    { ...act, nodeEpoch: 1 },
    islandOff(),
  ];
  for (const other of others) {
    const verdict = await answer(other, [signed("anna", act), signed("ben", act)], { running });
    assert.equal(verdict, "approval-refused signature-invalid");
  }
});

test("a policy cannot lower the bar that it is measured by", async () => {
  const lower = applying(policy({ cellB: 0 }));
  assert.equal(requiredFor(lower, policy()).people, 2, "the running policy's number counts");
  const higher = applying(policy({ cellB: 3 }));
  assert.equal(requiredFor(higher, policy()).people, 3, "and so does the next one's");
  const shared = applying(policy({ timeout: 61 }));
  assert.equal(requiredFor(shared, policy()).people, 2, "what no conduit owns touches all zones");
  assert.equal(requiredFor(applying(policy()), undefined).people, 2, "so does the first policy");
});

test("a conduit that only moved to another line needs nobody of its zones", () => {
  const running = policy();
  const conduits = running.conduits.map((conduit) => ({ ...conduit, source: "site.yaml:999" }));
  const moved = applying({ ...running, conduits });
  assert.deepEqual(requiredFor(moved, running), { people: 1, zones: [] });
});

test("a key that is good for one cell opens nothing in another", async () => {
  const { signed, answer } = await plant();
  const running = policy();
  const a = applying(policy({ conduit: "a" }));
  assert.equal(await answer(a, [signed("cell-a-only", a)], { running }), "by cell-a-only");
  const b = applying(policy({ conduit: "b" }));
  const approvals = [signed("cell-a-only", b), signed("anna", b)];
  assert.equal(await answer(b, approvals, { running }), "approval-refused approver-key-zone");
});

test("a revoked key signs nothing more, and stays on record", async () => {
  const { book, stateDir, signed, answer } = await plant();
  const act = applying(policy({ conduit: "a" }));
  const running = policy();
  await book.revoke("anna", NOW);
  const verdict = await answer(act, [signed("anna", act)], { running });
  assert.equal(verdict, "approval-refused approver-key-revoked");
  const again = await ApproverBook.load(stateDir);
  assert.equal(again.find("anna")?.revokedAtMs, NOW);
});

test("break-glass is heard from root's own door and no other", async () => {
  const { answer } = await plant();
  const act = applying(policy());
  const word: Approval = { kind: "local-root", reason: "commissioning" };
  assert.equal(await answer(act, [word], { caller: "root" }), "break-glass");
  assert.equal(await answer(act, [word], { caller: "control" }), "approval-refused");
});

test("an act begins once, before its time, also after a restart and years later", async () => {
  const { stateDir, signed, answer } = await plant();
  const running = policy();
  const act = islandOff();
  const approvals = [signed("anna", act)];
  assert.equal(await answer(act, approvals, { running }), "by anna");
  assert.equal(await answer(act, approvals, { running }), "approval-used");
  const desk = new ApprovalDesk(await ApproverBook.load(stateDir));
  await assert.rejects(
    desk.approve(act, approvals, { caller: "control", running, nowMs: NOW }),
    /begun before/,
  );
  // Many other acts later the id itself is forgotten; what had to begin by then still cannot.
  const later = NOW + START_AHEAD_MAX_MS;
  const next = islandOff({ id: "a-2", startBy: new Date(later + HOUR_MS).toISOString() });
  assert.equal(await answer(next, [signed("anna", next)], { running, nowMs: later }), "by anna");
  assert.equal(
    fs.readFileSync(path.join(stateDir, "approvers.json"), "utf8").includes("a-1"),
    false,
  );
  assert.equal(await answer(act, approvals, { running, nowMs: NOW }), "approval-used");
});

test("an act may be begun up to its time and at most a week ahead", async () => {
  const { signed, answer } = await plant();
  const running = policy();
  const at = (ms: number, id: string): Act =>
    islandOff({ id, startBy: new Date(ms).toISOString() });
  const verdict = async (act: Act): Promise<string> =>
    await answer(act, [signed("anna", act)], { running });
  assert.equal(await verdict(at(NOW, "a-1")), "act-too-late");
  assert.equal(await verdict(at(NOW + 1, "a-2")), "by anna");
  assert.equal(await verdict(at(NOW + START_AHEAD_MAX_MS, "a-3")), "by anna");
  assert.equal(await verdict(at(NOW + START_AHEAD_MAX_MS + 1, "a-4")), "act-too-late");
  assert.equal(await verdict(islandOff({ startBy: "soon" })), "act-too-late");
});

test("the first link lets one key in, once, and not another in its place", async () => {
  const { book } = await plant();
  const told: string[] = [];
  const acts = new ApproverActs(book, (type) => told.push(type));
  const { secret } = (await acts.makeFirst(NOW)) as { secret: string };
  const spkiOf = (): string =>
    generateKeyPairSync("ed25519")
      .publicKey.export({ format: "der", type: "spki" })
      .toString("base64");
  const key = {
    person: "zoe",
    kind: "ed25519",
    spki: spkiOf(),
    credentialId: "",
    rpId: "",
    origin: "",
  } as const;
  const proof = firstApproverHmac(Buffer.from(secret, "base64url"), key).toString("base64url");
  await assert.rejects(
    acts.enrolFirst({ ...key, spki: spkiOf() }, proof, NOW),
    /first-approver-proof/,
  );
  await assert.rejects(acts.enrolFirst(key, proof, NOW + HOUR_MS), /first-approver-expired/);
  assert.deepEqual(await acts.enrolFirst(key, proof, NOW), { id: "first-zoe" });
  await assert.rejects(
    acts.enrolFirst({ ...key, person: "yan" }, proof, NOW),
    /first-approver-used/,
  );
  assert.deepEqual(told, ["first-link-made", "approver-enrolled"]);
});

test("a key that cannot sign is not enrolled, nor one that is there or was revoked", async () => {
  const { book } = await plant();
  const acts = new ApproverActs(book, () => undefined);
  const rsa = generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey;
  const spki = rsa.export({ format: "der", type: "spki" }).toString("base64");
  const passkey = {
    id: "k",
    person: "kim",
    kind: "passkey",
    spki,
    credentialId: "AAAA",
    rpId: "gw.example",
    origin: "https://gw.example",
  } as const;
  await assert.rejects(acts.enrol(passkey, NOW), /not one that can sign/);
  const anna = book.find("anna");
  assert.ok(anna);
  await book.revoke("anna", NOW);
  await assert.rejects(
    acts.enrol({ id: "anna-2", person: "anna", kind: "ed25519", spki: anna.spki }, NOW),
    /is enrolled/,
  );
});

test("a damaged list of approvers is refused, not read as an empty one", async () => {
  const { stateDir } = await plant();
  fs.writeFileSync(path.join(stateDir, "approvers.json"), '{"format":1');
  await assert.rejects(ApproverBook.load(stateDir), /cannot be read/);
});
