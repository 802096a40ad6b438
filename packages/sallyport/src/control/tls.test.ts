import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import type { Certificate } from "@sallyport/api";
import type { Json } from "@sallyport/core";
import { issueServer, makeSiteCa } from "@sallyport/identity/keyholder";
import type { KeyholderRequest } from "../keyholder/keyholder-messages.ts";
import { keepRenewed, newCertificate } from "./tls.ts";

const DAY_MS = 24 * 3600 * 1000;
const random = { bytes: (size: number): Uint8Array => randomBytes(size) };

test("a certificate is renewed in its last third, also when the keyholder was away at first", async () => {
  let nowMs = Date.UTC(2026, 10, 18, 11, 0);
  const ca = await makeSiteCa("plant", { nowMs, random });
  const keyholder = async (request: KeyholderRequest): Promise<Json> => {
    assert.ok(request.type === "tls-issue");
    const { key, names } = request;
    const asked = { key, names, lifeMs: 6 * DAY_MS };
    const issued = await issueServer(ca, asked, { nowMs, random });
    assert.ok(issued.kind === "issued");
    return { chain: issued.chainPem };
  };
  const renew = (): Promise<Certificate> => newCertificate(keyholder, ["localhost"]);
  const first = await renew();
  const replaced: Certificate[] = [];
  const waits: { readonly ms: number; readonly run: () => void }[] = [];
  let isAway = true;
  const startMs = nowMs;
  keepRenewed(first, {
    renew: () => (isAway ? Promise.reject(new Error("no keyholder")) : renew()),
    replace: (certificate) => replaced.push(certificate),
    nowMs: () => nowMs,
    wait: (ms, run) => waits.push({ ms, run }),
  });
  // Each turn: time passes as it waited for, and what it does then comes to its end.
  for (let turn = 0; turn < 20 && replaced.length === 0; turn++) {
    const wait = waits.shift();
    assert.ok(wait, "it never stops looking");
    nowMs += wait.ms;
    if (nowMs - startMs > 4.5 * DAY_MS) isAway = false;
    wait.run();
    if (nowMs - startMs > 3.9 * DAY_MS && waits.length === 0) {
      await new Promise((go) => setTimeout(go, 200));
    }
    if (isAway && waits[0]?.ms === 60_000) nowMs = startMs + 5 * DAY_MS;
  }
  assert.equal(replaced.length, 1);
  assert.notEqual(replaced[0]?.key, first.key, "with a key of its own");
  assert.ok(nowMs - startMs > 4 * DAY_MS && nowMs - startMs < 6 * DAY_MS);
});
