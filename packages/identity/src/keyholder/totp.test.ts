import assert from "node:assert/strict";
import { test } from "node:test";
import { Secret, TOTP } from "otpauth";
import { DAY_MS, TestClock, TestRandom } from "../desk.test-kit.ts";
import { MemoryRecords } from "../memory-store.test-kit.ts";
import { SealedTotp, TOTP_STEP_MS, type TotpSeed } from "./totp.ts";

function make(): {
  totp: SealedTotp;
  clock: TestClock;
  seeds: MemoryRecords<TotpSeed>;
  random: TestRandom;
} {
  const [clock, random, seeds] = [new TestClock(), new TestRandom(), new MemoryRecords<TotpSeed>()];
  const keys = [Buffer.alloc(32, 3)] as const;
  return {
    totp: new SealedTotp({ seeds, keys, clock, random, issuer: "Plant" }),
    clock,
    seeds,
    random,
  };
}

async function enrolled(): Promise<
  ReturnType<typeof make> & { at: (steps: number) => string; secret: string }
> {
  const made = make();
  const { uri, secret } = await made.totp.enroll("ines");
  assert.match(
    uri,
    /^otpauth:\/\/totp\/Plant:ines\?issuer=Plant&secret=[A-Z2-7]{32}&algorithm=SHA1&digits=6&period=30$/,
  );
  const phone = new TOTP({ secret: Secret.fromBase32(secret) });
  const at = (steps: number): string =>
    phone.generate({ timestamp: made.clock.nowMs() + steps * TOTP_STEP_MS });
  const confirmed = await made.totp.confirm("ines", at(0));
  assert.equal(confirmed.kind, "verified");
  made.clock.advance(10 * TOTP_STEP_MS);
  return { ...made, at, secret };
}

async function said(totp: SealedTotp, code: string): Promise<string> {
  const verdict = await totp.verify("ines", code);
  return verdict.kind === "refused" ? verdict.code : verdict.kind;
}

test("a code of the step before, now or after serves; two steps away it does not", async () => {
  for (const steps of [-1, 0, 1]) {
    const { totp, at } = await enrolled();
    assert.equal(await said(totp, at(steps)), "verified", `${steps}`);
  }
  for (const steps of [-2, 2]) {
    const { totp, at } = await enrolled();
    assert.equal(await said(totp, at(steps)), "totp-wrong", `${steps}`);
  }
});

test("each step serves once, and none before it", async () => {
  const { totp, at } = await enrolled();
  assert.equal(await said(totp, at(0)), "verified");
  assert.equal(await said(totp, at(0)), "totp-used");
  assert.equal(await said(totp, at(-1)), "totp-used");
  assert.equal(await said(totp, at(1)), "verified");
});

test("of two with one code at the same moment, one is let in", async () => {
  const { totp, at } = await enrolled();
  assert.deepEqual((await Promise.all([said(totp, at(0)), said(totp, at(0))])).sort(), [
    "totp-used",
    "verified",
  ]);
});

test("a clock that goes back makes no used code good", async () => {
  const { totp, at, clock } = await enrolled();
  const code = at(0);
  assert.equal(await said(totp, code), "verified");
  clock.advance(DAY_MS);
  assert.equal(await said(totp, at(0)), "verified");
  clock.advance(-DAY_MS);
  assert.equal(await said(totp, code), "totp-used");
});

test("no other text is a code", async () => {
  const { totp, at } = await enrolled();
  for (const code of ["", "12345", "1234567", ` ${at(0)}`, "１２３４５６", "-12345", "1e5000"]) {
    assert.equal(await said(totp, code), "totp-wrong");
  }
});

test("the seed is sealed, under the person's name", async () => {
  const { totp, at, seeds, secret } = await enrolled();
  const kept = seeds.kept.get("ines");
  assert.ok(kept);
  const seed = Secret.fromBase32(secret).bytes;
  assert.ok(!Buffer.from(kept.sealed, "base64url").includes(Buffer.from(seed)));
  seeds.kept.set("eve", { ...kept, id: "eve", person: "eve", lastStep: 0 });
  assert.deepEqual(await totp.verify("eve", at(0)), { kind: "refused", code: "totp-unavailable" });
});

test("a new seed counts only once its app showed a code; until then the old one does", async () => {
  const { totp, at, clock } = await enrolled();
  const { secret } = await totp.enroll("ines");
  const fresh = new TOTP({ secret: Secret.fromBase32(secret) });
  const wrong = await totp.confirm("ines", fresh.generate({ timestamp: clock.nowMs() - DAY_MS }));
  assert.deepEqual(wrong, { kind: "refused", code: "totp-wrong" });
  assert.equal(await said(totp, at(0)), "verified");
  const code = fresh.generate({ timestamp: clock.nowMs() });
  assert.equal((await totp.confirm("ines", code)).kind, "verified");
  assert.equal(await said(totp, code), "totp-used", "the code that confirmed is used");
  assert.equal(await said(totp, at(1)), "totp-wrong", "the old seed is gone");
  assert.deepEqual(await totp.confirm("ines", code), {
    kind: "refused",
    code: "totp-not-enrolled",
  });
});

test("whoever is not enrolled, or was removed, has no code", async () => {
  const { totp, at } = await enrolled();
  assert.deepEqual(await totp.verify("otto", at(0)), {
    kind: "refused",
    code: "totp-not-enrolled",
  });
  await totp.remove("ines");
  assert.equal(await said(totp, at(0)), "totp-not-enrolled");
});
