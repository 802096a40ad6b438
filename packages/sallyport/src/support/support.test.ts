import assert from "node:assert/strict";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { EventLog } from "../event-log.ts";
import { eventsDir, instanceNamed } from "../instance.ts";
import { collectSupport } from "./collect.ts";

const NOON = Date.UTC(2026, 10, 18, 12, 0);
const PEM = generateKeyPairSync("ed25519")
  .privateKey.export({ type: "pkcs8", format: "pem" })
  .toString();
const TOKEN = `eyJhbGciOi.${randomBytes(12).toString("base64url")}.${randomBytes(12).toString("base64url")}`;

/** Each stands in a place where a gateway, or somebody who wrote a policy, may have it. */
const PLANTED = {
  password: "correct-horse-7",
  snmp: "community-string-9",
  pem: PEM.split("\n")[1] ?? "",
  token: TOKEN,
  hash: "$argon2id$v=19$m=65536$c2FsdA$aGFzaA",
  url: "hunter2",
  person: "marlene.dietrich",
  author: "emil.jannings",
  approver: "lotte.reiniger",
  owner: "Fritz Lang",
  reason: "spindle of the press is hot again",
  why: "Asked for by Peter Lorre",
  listed: "greta.garbo",
  mail: "greta@plant.example",
  comment: "ring Conrad Veidt at night",
  device: "10.20.30.40",
  signature: "c2lnbmF0dXJlLW9mLWxvdHRl",
  sealing: randomBytes(32).toString("base64"),
  first: randomBytes(32).toString("base64url"),
} as const;

const POLICY = `site: plant
# ${PLANTED.comment}
zones:
  cell-a: { kind: control, owner: ${PLANTED.owner}, network: 10.41.0.0/24 }
conduits:
  vendor-press:
    owner: "${PLANTED.owner}"
    why: ${PLANTED.why}
    people: [${PLANTED.person}, ${PLANTED.listed}]
    contact: ${PLANTED.mail}   # ${PLANTED.comment}
    community_password: ${PLANTED.snmp}
    upstream: https://historian:${PLANTED.url}@10.1.1.1/
    l7: { modbus: { functions: [read-coils] } }
  other:
    people:
    - ${PLANTED.listed}
    - ${PLANTED.person}
    why: >
      ${PLANTED.why}
    service: modbus
`;

function plantIn(root: string): ReturnType<typeof instanceNamed> {
  const instance = instanceNamed("main", root);
  const at = (name: string): string => path.join(instance.stateDir, name);
  fs.mkdirSync(at("generations/1"), { recursive: true });
  fs.mkdirSync(at("keyholder"));
  fs.writeFileSync(at("keyholder/sealing.key"), Buffer.from(PLANTED.sealing, "base64"));
  fs.writeFileSync(at("approvers.json"), JSON.stringify({ first: { secret: PLANTED.first } }));
  fs.writeFileSync(
    at("state.json"),
    JSON.stringify({ generations: [{ number: 1, state: "confirmed" }] }),
  );
  fs.writeFileSync(
    at("generations/1/policy"),
    JSON.stringify([{ name: "site.yaml", text: POLICY }]),
  );
  const events = new EventLog(eventsDir(instance), "enforcer");
  events.append(NOON, "approved", {
    act: "grant",
    author: PLANTED.author,
    people: [PLANTED.approver],
    approvals: [{ kind: "ed25519", key: "k-1", signature: PLANTED.signature }],
  });
  events.append(NOON, "grant-added", {
    ...{ person: PLANTED.person, reason: PLANTED.reason, source: PLANTED.device },
    conduit: "vendor-press",
  });
  const gate = new EventLog(eventsDir(instance), "gate-erp");
  gate.append(NOON, "connection-refused", { peer: PLANTED.device, reason: "l7.function" });
  const log = [
    `Error: cannot read key ${PEM}`,
    `authorization: Bearer ${TOKEN}`,
    `password=${PLANTED.password} stored as ${PLANTED.hash}`,
    `{"person":"${PLANTED.person}","reason":"${PLANTED.reason}"}`,
    "enforcer ended with 1",
  ];
  fs.writeFileSync(at("supervisor.log"), log.join("\n"));
  return instance;
}

const SAID = {
  status: {
    generation: 1,
    grants: [
      { id: "g-7", person: PLANTED.person, source: PLANTED.device, conduit: "vendor-press" },
    ],
  },
};

test("no secret and no person that was planted in a gateway is in its support bundle", () => {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-support-"));
  try {
    const { texts } = collectSupport(plantIn(root), SAID, { addresses: true });
    const all = texts.map(({ name, text }) => `${name}\n${text}`).join("\n");
    for (const [what, planted] of Object.entries(PLANTED)) {
      assert.ok(!all.includes(planted), `${what}: ${planted} in\n${all}`);
    }
    // What helps is there: a bundle of nothing would have passed so far.
    for (const wanted of [
      ...["vendor-press", "grant-added", "connection-refused", "l7.function", "g-7"],
      ...["functions: [read-coils]", "service: modbus", "enforcer ended with 1"],
    ]) {
      assert.ok(all.includes(wanted), `${wanted} is missing in\n${all}`);
    }
  } finally {
    fs.rmSync(root, { recursive: true });
  }
});
