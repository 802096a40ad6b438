import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { type Algorithm, type Bend, SoftAuthenticator } from "../authenticator.test-kit.ts";
import {
  type Approval,
  type ApproverKey,
  approvalMessage,
  parseApproval,
  refuseZones,
  type VerifiedApproval,
  thresholds,
  verifyApproval,
} from "./index.ts";
import {
  AUTHENTICATOR_DATA_MAX_BYTES,
  CLIENT_DATA_MAX_BYTES,
  parseClientData,
} from "./assertion.ts";
import { publicKeyOf } from "./keys.ts";

const ORIGIN = "https://gate.plant.example";
const RP_ID = "gate.plant.example";
const NOW_MS = Date.UTC(2026, 2, 2);
const CHALLENGE = createHash("sha256").update('{"plan":"open cell-a"}').digest();

function keyOf(soft: SoftAuthenticator, more: Partial<ApproverKey> = {}): ApproverKey {
  return {
    id: "k1",
    person: "ines",
    kind: "passkey",
    spki: soft.spki,
    credentialId: soft.credentialId,
    rpId: RP_ID,
    origin: ORIGIN,
    counter: 0,
    enrolledAtMs: NOW_MS - 1,
    ...more,
  };
}

function approvalOf(soft: SoftAuthenticator, bend: Bend = {}, challenge = CHALLENGE): Approval {
  const options = { challenge: challenge.toString("base64url"), rpId: RP_ID };
  const { clientDataJSON, authenticatorData, signature } = soft.get(options, ORIGIN, bend).response;
  const { credentialId } = soft;
  return { kind: "passkey", key: "k1", credentialId, clientDataJSON, authenticatorData, signature };
}

function outcome(approval: Approval, key: ApproverKey, challenge: Uint8Array = CHALLENGE): string {
  const verdict = verifyApproval(approval, key, challenge, NOW_MS);
  return verdict.kind === "refused" ? verdict.code : verdict.kind;
}

for (const algorithm of ["es256", "eddsa", "rs256"] satisfies Algorithm[]) {
  test(`a passkey with ${algorithm} approves exactly the plan whose hash it signed`, () => {
    const soft = new SoftAuthenticator(algorithm);
    const verdict = verifyApproval(approvalOf(soft), keyOf(soft), CHALLENGE, NOW_MS);
    assert.deepEqual(verdict, {
      kind: "verified",
      person: "ines",
      key: "k1",
      keyKind: "passkey",
      neverAlone: false,
      counter: 1,
    });
    const other = createHash("sha256").update("another plan").digest();
    assert.equal(outcome(approvalOf(soft), keyOf(soft), other), "challenge-mismatch");
  });
}

const UP = 0x01;
const UV = 0x04;
const BENT: readonly [string, Bend, string][] = [
  ["a registration is no approval", { type: "webauthn.create" }, "client-data-type"],
  ["another origin", { origin: "https://evil.example" }, "origin-mismatch"],
  ["another port of the origin", { origin: `${ORIGIN}:8443` }, "origin-mismatch"],
  ["inside somebody's page", { crossOrigin: true }, "cross-origin"],
  ["inside another page", { topOrigin: "https://evil.example" }, "cross-origin"],
  ["another relying party", { rpId: "evil.example" }, "rp-mismatch"],
  ["nobody touched it", { flags: UV }, "user-not-present"],
  ["nobody was verified", { flags: UP }, "user-not-verified"],
  ["new credential in an assertion", { flags: UP | UV | 0x40 }, "authenticator-data-malformed"],
  ["extensions that are missing", { flags: UP | UV | 0x80 }, "authenticator-data-malformed"],
  ["bytes that no flag announces", { trailing: Buffer.of(1) }, "authenticator-data-malformed"],
  ["backed up, but cannot be", { flags: UP | UV | 0x10 }, "authenticator-data-malformed"],
  ["client data that is no JSON", { clientData: "{" }, "client-data-malformed"],
  ["client data that is a list", { clientData: "[]" }, "client-data-malformed"],
  ["a byte order mark", { clientData: "\u{feff}{}" }, "client-data-malformed"],
  ["padded challenge", { challenge: `${CHALLENGE.toString("base64url")}=` }, "challenge-mismatch"],
  ["signature of nobody", { signature: randomBytes(70) }, "signature-invalid"],
];

for (const [what, bend, code] of BENT) {
  test(`refuses a passkey's approval: ${what}`, () => {
    const soft = new SoftAuthenticator();
    assert.equal(outcome(approvalOf(soft, bend), keyOf(soft)), code);
  });
}

test("accepts announced extension data, which the signature covers", () => {
  const soft = new SoftAuthenticator();
  const bend = { flags: UP | UV | 0x80, trailing: Buffer.of(0xa0) };
  assert.equal(outcome(approvalOf(soft, bend), keyOf(soft)), "verified");
});

test("accepts a challenge of 32 bytes only", () => {
  const soft = new SoftAuthenticator();
  for (const size of [0, 31, 33]) {
    const challenge = Buffer.alloc(size, 7);
    assert.equal(
      outcome(approvalOf(soft, {}, challenge), keyOf(soft), challenge),
      "challenge-mismatch",
    );
  }
});

test("keeps authenticator data of 1024 bytes and client data of 4096, and refuses one more", () => {
  const soft = new SoftAuthenticator();
  const extended = (size: number): Bend => ({
    flags: UP | UV | 0x80,
    trailing: Buffer.alloc(size - 37),
  });
  const data = AUTHENTICATOR_DATA_MAX_BYTES;
  assert.equal(outcome(approvalOf(soft, extended(data)), keyOf(soft)), "verified");
  assert.equal(outcome(approvalOf(soft, extended(data + 1)), keyOf(soft)), "approval-malformed");
  const base = { type: "webauthn.get", challenge: CHALLENGE.toString("base64url"), origin: ORIGIN };
  const padded = (size: number): Bend => {
    const empty = JSON.stringify({ ...base, pad: "" }).length;
    return { clientData: JSON.stringify({ ...base, pad: "x".repeat(size - empty) }) };
  };
  const client = CLIENT_DATA_MAX_BYTES;
  assert.equal(outcome(approvalOf(soft, padded(client)), keyOf(soft)), "verified");
  assert.equal(outcome(approvalOf(soft, padded(client + 1)), keyOf(soft)), "approval-malformed");
});

test("an authenticator that counts below what it once did may be a copy, and is refused", () => {
  const soft = new SoftAuthenticator();
  const at = (counter: number): string =>
    outcome(approvalOf(soft, { counter: 7 }), keyOf(soft, { counter }));
  assert.equal(at(8), "counter-went-back");
  // Verified at plan and again at apply.
  assert.equal(at(7), "verified");
  assert.equal(at(6), "verified");
});

test("a revoked, future or foreign key approves nothing", () => {
  const soft = new SoftAuthenticator();
  const with_ = (more: Partial<ApproverKey>): string =>
    outcome(approvalOf(soft), keyOf(soft, more));
  assert.equal(with_({ revokedAtMs: NOW_MS }), "approver-key-revoked");
  assert.equal(with_({ revokedAtMs: NOW_MS + 1 }), "verified");
  assert.equal(with_({ enrolledAtMs: NOW_MS + 1 }), "approver-key-not-yet");
  assert.equal(with_({ enrolledAtMs: NOW_MS }), "verified");
  assert.equal(with_({ id: "k2" }), "approver-key-mismatch");
  assert.equal(with_({ kind: "ed25519" }), "approver-key-mismatch");
  assert.equal(with_({ credentialId: "AAAA" }), "approver-key-mismatch");
  assert.equal(with_({ spki: new SoftAuthenticator().spki }), "signature-invalid");
});

test("a key on record that cannot be used refuses, whatever was signed", () => {
  const soft = new SoftAuthenticator();
  const p384 = generateKeyPairSync("ec", { namedCurve: "P-384" }).publicKey;
  const weak = generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey;
  const der = (key: typeof p384): Buffer => key.export({ format: "der", type: "spki" });
  const unusable = [
    der(p384).toString("base64"),
    der(weak).toString("base64"),
    Buffer.concat([der(soft.publicKey), Buffer.of(0)]).toString("base64"),
    soft.spki.replace("=", ""),
    `${soft.spki}\n`,
    "",
    "AAAA",
  ];
  for (const spki of unusable) {
    assert.equal(outcome(approvalOf(soft), keyOf(soft, { spki })), "approver-key-unusable", spki);
  }
  const { rpId: _rp, ...withoutRp } = keyOf(soft);
  assert.equal(outcome(approvalOf(soft), withoutRp), "approver-key-unusable");
  const { origin: _origin, ...withoutOrigin } = keyOf(soft);
  assert.equal(outcome(approvalOf(soft), withoutOrigin), "approver-key-unusable");
});

test("RSA keys of 2048 to 4096 bits serve; 1024 and 4224 do not", () => {
  const spki = (bits: number): string => new SoftAuthenticator("rs256", bits).spki;
  assert.equal(publicKeyOf(spki(2048))?.type, "rs256");
  assert.equal(publicKeyOf(spki(1024)), undefined);
  assert.equal(publicKeyOf(spki(4224)), undefined);
});

const offline = generateKeyPairSync("ed25519");
const OFFLINE_KEY: ApproverKey = {
  id: "k9",
  person: "otto",
  kind: "ed25519",
  spki: offline.publicKey.export({ format: "der", type: "spki" }).toString("base64"),
  enrolledAtMs: 0,
};

function offlineApproval(message: Uint8Array): Approval {
  const signature = sign(null, message, offline.privateKey).toString("base64url");
  return { kind: "ed25519", key: "k9", signature };
}

test("an Ed25519 key signs the plan's hash under a name of its own", () => {
  assert.equal(
    Buffer.from(approvalMessage(CHALLENGE)).toString(),
    `sallyport-approval/v1\n${CHALLENGE.toString("hex")}\n`,
  );
  assert.equal(outcome(offlineApproval(approvalMessage(CHALLENGE)), OFFLINE_KEY), "verified");
  // The bare hash, as another protocol would sign it.
  assert.equal(outcome(offlineApproval(CHALLENGE), OFFLINE_KEY), "signature-invalid");
  const other = approvalMessage(Buffer.alloc(32));
  assert.equal(outcome(offlineApproval(other), OFFLINE_KEY), "signature-invalid");
});

test("refuses an Ed25519 approval that is not base64url, or of a record with another key", () => {
  const good = offlineApproval(approvalMessage(CHALLENGE));
  assert.equal(
    outcome({ ...good, signature: `${good.signature}=` }, OFFLINE_KEY),
    "approval-malformed",
  );
  // The last letter has four spare bits; with one of them set it is another text for the same bytes.
  const next = String.fromCharCode((good.signature.at(-1) ?? "").charCodeAt(0) + 1);
  const twin = good.signature.slice(0, -1) + next;
  assert.deepEqual(Buffer.from(twin, "base64url"), Buffer.from(good.signature, "base64url"));
  assert.equal(outcome({ ...good, signature: twin }, OFFLINE_KEY), "approval-malformed");
  const soft = new SoftAuthenticator();
  assert.equal(outcome(good, { ...OFFLINE_KEY, spki: soft.spki }), "approver-key-unusable");
});

test("a key for some zones approves nothing that touches another", () => {
  assert.equal(refuseZones(OFFLINE_KEY, ["cell-a", "safety"]), undefined);
  const key = { ...OFFLINE_KEY, zones: ["cell-a", "erp"] };
  assert.equal(refuseZones(key, ["cell-a"]), undefined);
  assert.equal(refuseZones(key, ["cell-a", "safety"])?.code, "approver-key-zone");
  assert.equal(refuseZones({ ...key, zones: [] }, ["cell-a"])?.code, "approver-key-zone");
});

test("an approval is read from exactly its members, all of them text", () => {
  const soft = new SoftAuthenticator();
  const passkey = approvalOf(soft);
  const bare = offlineApproval(CHALLENGE);
  assert.deepEqual(parseApproval(JSON.parse(JSON.stringify(passkey))), passkey);
  assert.deepEqual(parseApproval({ ...bare }), bare);
  const wrong: unknown[] = [
    null,
    undefined,
    1,
    "x",
    [],
    {},
    { ...bare, kind: "root" },
    { ...bare, kind: ["ed25519"] },
    { ...bare, more: 1 },
    { ...bare, signature: "" },
    { ...bare, signature: 1 },
    { ...bare, signature: "A".repeat(9000) },
    { ...passkey, credentialId: undefined },
    { ...passkey, clientDataJSON: {} },
  ];
  for (const value of wrong) assert.equal(parseApproval(value), undefined, JSON.stringify(value));
});

test("no bytes make the verifier throw, and none of them pass", () => {
  const soft = new SoftAuthenticator();
  const key = keyOf(soft);
  const good = approvalOf(soft);
  assert.equal(outcome(good, key), "verified");
  const names = ["clientDataJSON", "authenticatorData", "signature"] as const;
  let looked = 0;
  fc.assert(
    fc.property(
      fc.constantFrom(...names),
      fc.uint8Array({ maxLength: 300 }),
      fc.string(),
      (name, bytes, text) => {
        looked++;
        const encoded = Buffer.from(bytes).toString("base64url");
        assert.notEqual(outcome({ ...good, [name]: encoded }, key), "verified");
        assert.notEqual(outcome({ ...good, [name]: text }, key), "verified");
        parseClientData(bytes);
        parseClientData(Buffer.from(text));
        publicKeyOf(text);
      },
    ),
    { numRuns: 500 },
  );
  assert.equal(looked, 500);
});

test("one flipped bit anywhere in what was signed is refused", () => {
  const soft = new SoftAuthenticator();
  const key = keyOf(soft);
  const good = approvalOf(soft);
  assert.ok(good.kind === "passkey");
  let flipped = 0;
  for (const name of ["clientDataJSON", "authenticatorData", "signature"] as const) {
    const bytes = Buffer.from(good[name], "base64url");
    for (let bit = 0; bit < bytes.length * 8; bit += 3) {
      const bent = Buffer.from(bytes);
      bent[bit >> 3] = (bent[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      flipped++;
      assert.notEqual(outcome({ ...good, [name]: bent.toString("base64url") }, key), "verified");
    }
  }
  assert.ok(flipped > 500, `${flipped} bits`);
});

function said(
  person: string,
  keyKind: "passkey" | "ed25519" = "passkey",
  neverAlone = false,
): VerifiedApproval {
  return { kind: "verified", person, key: `${person}-${keyKind}`, keyKind, neverAlone, counter: 0 };
}

function enough(people: number, ...approvals: VerifiedApproval[]): string {
  const verdict = thresholds(approvals, { people, author: "anna" });
  return verdict.kind === "refused" ? verdict.code : verdict.people.join(" ");
}

test("one approver is enough where one is asked, but never the author", () => {
  assert.equal(enough(1, said("ines")), "ines");
  assert.equal(enough(1, said("anna")), "too-few-approvers");
  assert.equal(enough(1, said("anna", "ed25519"), said("ines")), "ines");
  assert.equal(enough(1), "too-few-approvers");
});

test("two keys of one person are one person", () => {
  assert.equal(enough(2, said("ines"), said("ines", "ed25519")), "too-few-approvers");
  assert.equal(enough(2, said("ines"), said("ines", "ed25519"), said("otto")), "ines otto");
});

test("where two are asked, one signs on a machine of their own", () => {
  assert.equal(enough(2, said("ines"), said("otto")), "no-offline-approval");
  assert.equal(enough(2, said("ines"), said("otto", "ed25519")), "ines otto");
  // The author's own offline signature does not stand in for it.
  assert.equal(
    enough(2, said("ines"), said("otto"), said("anna", "ed25519")),
    "no-offline-approval",
  );
});

test("administrators alone approve nothing", () => {
  assert.equal(enough(1, said("root", "passkey", true)), "administrators-alone");
  assert.equal(
    enough(2, said("root", "ed25519", true), said("boss", "passkey", true)),
    "administrators-alone",
  );
  assert.equal(enough(2, said("root", "ed25519", true), said("ines")), "root ines");
});

test("the number asked is 1 to 8", () => {
  const nine = "abcdefghi".split("").map((person) => said(person, "ed25519"));
  for (const people of [0, -1, 9, 1.5, Number.NaN, Infinity]) {
    assert.equal(enough(people, ...nine), "threshold-out-of-range");
  }
  assert.equal(enough(8, ...nine), "a b c d e f g h i");
});
