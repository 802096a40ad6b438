import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import {
  type Approval,
  enrolFirstApprover,
  type FirstApprover,
  firstAdminToken,
  parseApproval,
  verifyApproval,
} from "../approval/index.ts";
import { causeOf, Desk, HOUR_MS, SOURCE } from "../desk.test-kit.ts";
import { sha256Hex } from "../secrets.ts";
import { Chromium, hasChromium } from "./chromium.test-kit.ts";

/** What the console's pages do, in a browser's own words. */
const PAGE = `
const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const base64 = (data) => btoa(String.fromCharCode(...new Uint8Array(data)));
const base64url = (data) => base64(data).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
async function hmac(secret, text) {
  const key = await crypto.subtle.importKey("raw", bytes(secret), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return base64url(await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(text)));
}
async function register(options) {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
  const made = await navigator.credentials.create({ publicKey });
  return { response: made.toJSON(), spki: base64(made.response.getPublicKey()) };
}
async function get(options) {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
  return (await navigator.credentials.get({ publicKey })).toJSON();
}
async function refused(options) {
  try { await get(options); return "answered"; } catch (error) { return error.name; }
}`;

test("in a real browser: the printed link, the first passkey, its approval, and sign-in", async (t) => {
  if (!hasChromium()) return t.skip("no /usr/bin/chromium here");
  const server = http.createServer((_request, response) => {
    response.setHeader("content-type", "text/html");
    response.end(`<!doctype html><title>console</title><script>${PAGE}</script>`);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin = `http://localhost:${(server.address() as AddressInfo).port}`;
  const { chromium, authenticator } = await Chromium.open(origin);
  try {
    await inBrowser(chromium, authenticator, origin);
  } finally {
    await chromium.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

async function inBrowser(chromium: Chromium, authenticator: string, origin: string): Promise<void> {
  const desk = new Desk(Date.now(), origin);
  const call = (name: string, ...args: readonly unknown[]): Promise<unknown> =>
    chromium.run(`${name}(${args.map((arg) => JSON.stringify(arg)).join(", ")})`);
  const nowMs = desk.clock.nowMs();

  // The enforcer made the secret; `control` has only the hash of what the page derives from it.
  const secret = randomBytes(32);
  const expiresAtMs = nowMs + HOUR_MS;
  await desk.links.offerFirstAdmin(sha256Hex(firstAdminToken(secret)), expiresAtMs);
  const inLink = secret.toString("base64url");
  const token = await call("hmac", inLink, "sallyport-first-admin/v1\n");
  const ines = await desk.links.redeem(token, SOURCE, { name: "ines", displayName: "Ines" });
  assert.ok(ines.kind === "signed-in", JSON.stringify(ines));

  const options = await desk.passkeys.beginRegistration(ines.person);
  const made = (await call("register", options)) as { response: { id: string }; spki: string };
  const passkey = await desk.passkeys.finishRegistration(ines.person, made.response, "laptop");
  assert.ok(!("kind" in passkey), JSON.stringify(passkey));
  assert.equal(passkey.spki, made.spki, "what we read from COSE is what the browser says");

  // The page's proof over the key that the browser itself gave it.
  const rpId = "localhost";
  const wanted: FirstApprover = {
    person: "ines",
    kind: "passkey",
    spki: made.spki,
    credentialId: passkey.id,
    rpId,
    origin,
  };
  const { person, kind, spki, credentialId } = wanted;
  const lines = ["sallyport-first-approver/v1", person, kind, spki, credentialId, rpId, origin, ""];
  const proof = String(await call("hmac", inLink, lines.join("\n")));
  const first = enrolFirstApprover({ secret, madeAtMs: nowMs }, wanted, proof, { id: "k1", nowMs });
  assert.ok(first.kind === "enrolled", JSON.stringify(first));

  const challenge = createHash("sha256").update('{"plan":1}').digest();
  const asked = { challenge: challenge.toString("base64url"), rpId, userVerification: "required" };
  const signed = (await call("get", asked)) as { id: string; response: Record<string, string> };
  const { clientDataJSON, authenticatorData, signature } = signed.response;
  const approval: Approval | undefined = parseApproval({
    kind,
    key: "k1",
    credentialId: signed.id,
    clientDataJSON,
    authenticatorData,
    signature,
  });
  assert.ok(approval);
  const verdict = verifyApproval(approval, first.key, challenge, nowMs);
  assert.equal(verdict.kind, "verified", JSON.stringify(verdict));
  const other = createHash("sha256").update('{"plan":2}').digest();
  assert.notEqual(verifyApproval(approval, first.key, other, nowMs).kind, "verified");

  const answer = await call("get", await desk.passkeys.beginSignIn());
  const signedIn = await desk.passkeys.finishSignIn(answer, SOURCE);
  assert.ok(signedIn.kind === "signed-in", JSON.stringify(signedIn));
  assert.equal(signedIn.person.id, "ines");
  assert.notEqual((await desk.passkeys.finishSignIn(answer, SOURCE)).kind, "signed-in", "a replay");
  const present = { kind: "present", person: signedIn.person, signIn: signedIn.signIn } as const;
  const stepUp = await call("get", await desk.passkeys.beginStepUp(present));
  assert.equal((await desk.passkeys.finishStepUp(present, stepUp)).kind, "present");
  assert.equal(causeOf(await desk.passkeys.finishStepUp(present, stepUp)), "passkey-assertion");

  await chromium.setUserVerified(authenticator, false);
  assert.equal(await call("refused", await desk.passkeys.beginSignIn()), "NotAllowedError");
}
