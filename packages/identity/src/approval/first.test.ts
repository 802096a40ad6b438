import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { SoftAuthenticator } from "../authenticator.test-kit.ts";
import {
  enrolFirstApprover,
  FIRST_SECRET_LIFE_MS,
  type FirstApprover,
  type FirstSecret,
  firstAdminToken,
  firstApproverHmac,
} from "./index.ts";

const NOW_MS = Date.UTC(2026, 2, 2);
const SECRET = Buffer.alloc(32, 9);
const FIRST: FirstSecret = { secret: SECRET, madeAtMs: NOW_MS };
const SOFT = new SoftAuthenticator();
const WANTED: FirstApprover = {
  person: "ines",
  kind: "passkey",
  spki: SOFT.spki,
  credentialId: SOFT.credentialId,
  rpId: "gate.plant.example",
  origin: "https://gate.plant.example",
};

function proofOf(wanted: FirstApprover, secret: Uint8Array = SECRET): string {
  return firstApproverHmac(secret, wanted).toString("base64url");
}

function outcome(first: FirstSecret, wanted: FirstApprover, proof: string, nowMs = NOW_MS): string {
  const verdict = enrolFirstApprover(first, wanted, proof, { id: "k1", nowMs });
  return verdict.kind === "refused" ? verdict.code : verdict.kind;
}

test("the first passkey becomes an approver by the printed link", () => {
  const verdict = enrolFirstApprover(FIRST, WANTED, proofOf(WANTED), { id: "k1", nowMs: NOW_MS });
  assert.deepEqual(verdict, {
    kind: "enrolled",
    // Whoever opens the link is an administrator.
    key: { id: "k1", ...WANTED, counter: 0, enrolledAtMs: NOW_MS, neverAlone: true },
  });
});

test("the proof is what a browser makes with WebCrypto from the link's secret", () => {
  const { person, kind, spki, credentialId, rpId, origin } = WANTED;
  const text = `sallyport-first-approver/v1\n${person}\n${kind}\n${spki}\n${credentialId}\n${rpId}\n${origin}\n`;
  const byHand = createHmac("sha256", SECRET).update(text).digest();
  assert.deepEqual(firstApproverHmac(SECRET, WANTED), byHand);
});

test("another key, person or origin put in its place is refused", () => {
  const proof = proofOf(WANTED);
  const other = new SoftAuthenticator();
  const bent: FirstApprover[] = [
    { ...WANTED, spki: other.spki },
    { ...WANTED, person: "eve" },
    { ...WANTED, credentialId: other.credentialId },
    { ...WANTED, rpId: "evil.example" },
    { ...WANTED, origin: "https://evil.example" },
  ];
  for (const wanted of bent) assert.equal(outcome(FIRST, wanted, proof), "first-approver-proof");
  assert.equal(outcome(FIRST, WANTED, proofOf(WANTED, Buffer.alloc(32))), "first-approver-proof");
  for (const bad of ["", "AAAA", `${proof}=`, proof.slice(1)]) {
    assert.equal(outcome(FIRST, WANTED, bad), "first-approver-proof");
  }
});

test("what control learns from the link does not enroll anybody", () => {
  assert.equal(outcome(FIRST, WANTED, firstAdminToken(SECRET)), "first-approver-proof");
});

test("a link serves once, for an hour, and not before it was made", () => {
  const proof = proofOf(WANTED);
  assert.equal(outcome({ ...FIRST, usedAtMs: NOW_MS }, WANTED, proof), "first-approver-used");
  const lastMs = NOW_MS + FIRST_SECRET_LIFE_MS - 1;
  assert.equal(outcome(FIRST, WANTED, proof, lastMs), "enrolled");
  assert.equal(outcome(FIRST, WANTED, proof, lastMs + 1), "first-approver-expired");
  assert.equal(outcome(FIRST, WANTED, proof, NOW_MS - 1), "first-approver-expired");
  assert.equal(outcome(FIRST, WANTED, proof, Number.NaN), "first-approver-expired");
});

test("only a key that an approver can have is enrolled, whatever the proof", () => {
  const ed25519 = new SoftAuthenticator("eddsa").spki;
  const bare = { credentialId: "", rpId: "", origin: "" };
  const bad: FirstApprover[] = [
    { ...WANTED, spki: "AAAA" },
    { ...WANTED, person: "Ines" },
    { ...WANTED, person: "ines\neve" },
    { ...WANTED, person: "" },
    { ...WANTED, credentialId: "" },
    { ...WANTED, credentialId: "a b" },
    { ...WANTED, rpId: "Gate.plant" },
    { ...WANTED, origin: "https://gate.plant.example/path" },
    { ...WANTED, origin: "javascript:alert(1)" },
    { ...WANTED, ...bare },
    { ...WANTED, kind: "ed25519", spki: ed25519 },
    { ...WANTED, kind: "ed25519", ...bare },
  ];
  for (const wanted of bad) {
    assert.equal(outcome(FIRST, wanted, proofOf(wanted)), "first-approver-malformed");
  }
  const short = { ...FIRST, secret: Buffer.alloc(31) };
  assert.equal(outcome(short, WANTED, proofOf(WANTED, short.secret)), "first-approver-malformed");
  const offline: FirstApprover = { ...WANTED, kind: "ed25519", spki: ed25519, ...bare };
  assert.equal(outcome(FIRST, offline, proofOf(offline)), "enrolled");
});
