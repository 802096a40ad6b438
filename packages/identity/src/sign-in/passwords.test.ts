import assert from "node:assert/strict";
import { test } from "node:test";
import { TOTP, Secret } from "otpauth";
import { causeOf, Desk, MINUTE_MS, SOURCE } from "../desk.test-kit.ts";
import { HASH_QUEUE_MAX, HASH_WORKERS, RECOVERY_CODES } from "../limits.ts";
import type { Person } from "../records.ts";

const PASSWORD = "correct horse battery";

interface Ines {
  readonly desk: Desk;
  readonly person: Person;
  /** What her phone shows now. */
  readonly code: () => string;
}

async function ines(): Promise<Ines> {
  const desk = new Desk();
  const person = await desk.person("ines", "operator");
  assert.equal(await desk.passwords.set(person, PASSWORD), "set");
  const { secret } = await desk.totp.enroll("ines");
  const phone = new TOTP({ secret: Secret.fromBase32(secret) });
  const code = (): string => phone.generate({ timestamp: desk.clock.nowMs() });
  assert.equal((await desk.totp.confirm("ines", code())).kind, "verified");
  desk.clock.advance(MINUTE_MS);
  return { desk, person, code };
}

const request = (code: string, more: object = {}): object => ({
  name: "ines",
  password: PASSWORD,
  second: { kind: "totp", code },
  ...more,
});

test("password and TOTP code sign in", async () => {
  const { desk, code } = await ines();
  const signedIn = await desk.passwords.signIn(request(code()), SOURCE);
  assert.ok(signedIn.kind === "signed-in");
  assert.deepEqual(signedIn.signIn.factors, ["password", "totp"]);
  assert.deepEqual(desk.events.of("sign-in"), [
    { person: "ines", factors: ["password", "totp"], source: SOURCE },
  ]);
});

test("the answer is the same whichever is wrong, and whether or not somebody has the name", async () => {
  const { desk, code } = await ines();
  await desk.person("bare", "viewer");
  const wrong = code() === "000000" ? "111111" : "000000";
  const tries: [object, string][] = [
    [request(code(), { name: "nobody" }), "person-unknown"],
    [request(code(), { name: "bare" }), "password-not-set"],
    [request(code(), { password: `${PASSWORD}!` }), "password-wrong"],
    [request(wrong), "totp-wrong"],
    [request(wrong, { second: { kind: "recovery-code", code: "AAAA" } }), "recovery-code-wrong"],
  ];
  const shown = new Set<string>();
  for (const [value, cause] of tries) {
    const calls = desk.hasher.calls;
    const refusal = await desk.passwords.signIn(value, SOURCE);
    assert.equal(causeOf(refusal), cause);
    assert.equal(desk.hasher.calls, calls + 1, "one hash each time");
    assert.ok(refusal.kind === "refused");
    shown.add(`${refusal.code} ${refusal.why}`);
  }
  assert.equal(shown.size, 1);
  const because = desk.events.of("sign-in-refused").map((fields) => fields["because"]);
  assert.deepEqual(
    because,
    tries.map(([, cause]) => cause),
  );
});

test("a TOTP code serves once, also for two at the same moment", async () => {
  const { desk, code } = await ines();
  const outcomes = await Promise.all([
    desk.passwords.signIn(request(code()), SOURCE),
    desk.passwords.signIn(request(code()), SOURCE),
  ]);
  assert.deepEqual(outcomes.map((outcome) => outcome.kind).sort(), ["refused", "signed-in"]);
  assert.equal(causeOf(await desk.passwords.signIn(request(code()), SOURCE)), "totp-used");
});

test("a wrong password does not use the code up", async () => {
  const { desk, code } = await ines();
  await desk.passwords.signIn(request(code(), { password: "wrong horse battery" }), SOURCE);
  assert.equal((await desk.passwords.signIn(request(code()), SOURCE)).kind, "signed-in");
});

test("a disabled person's right password is refused like a wrong one", async () => {
  const { desk, person, code } = await ines();
  await desk.store.people.replace(person, { ...person, revision: 2, state: "disabled" });
  const refusal = await desk.passwords.signIn(request(code()), SOURCE);
  assert.equal(causeOf(refusal), "person-disabled");
  assert.ok(refusal.kind === "refused" && refusal.code === "sign-in-failed");
});

test("without a keyholder nobody signs in by TOTP, and that is said in the record", async () => {
  const { desk, code } = await ines();
  const verify = desk.totp.verify.bind(desk.totp);
  desk.totp.verify = () => Promise.reject(new Error("socket closed"));
  assert.equal(causeOf(await desk.passwords.signIn(request(code()), SOURCE)), "totp-unavailable");
  desk.totp.verify = verify;
  desk.seeds.kept.clear();
  assert.equal(causeOf(await desk.passwords.signIn(request(code()), SOURCE)), "totp-not-enrolled");
});

test("guessing locks the person with a delay, and an unknown name just the same", async () => {
  for (const name of ["ines", "nobody"]) {
    const { desk } = await ines();
    const guess = request("123456", { name, password: "wrong horse battery" });
    for (let index = 0; index < 6; index++) {
      assert.notEqual(
        causeOf(await desk.passwords.signIn(guess, `10.1.0.${index}`)),
        "sign-in-later",
      );
    }
    const calls = desk.hasher.calls;
    const locked = await desk.passwords.signIn(guess, "10.1.0.99");
    assert.equal(causeOf(locked), "sign-in-later");
    assert.ok(locked.kind === "refused" && locked.retryAfterMs === 1000);
    assert.equal(desk.hasher.calls, calls, "nothing is hashed while locked");
  }
});

test("the right password after the lock signs in and forgets the failures", async () => {
  const { desk, code } = await ines();
  const guess = request("123456", { password: "wrong horse battery" });
  for (let index = 0; index < 6; index++) await desk.passwords.signIn(guess, SOURCE);
  assert.equal(causeOf(await desk.passwords.signIn(request(code()), SOURCE)), "sign-in-later");
  desk.clock.advance(1000);
  assert.equal((await desk.passwords.signIn(request(code()), SOURCE)).kind, "signed-in");
  assert.equal(desk.store.attempts.kept.get("person:ines"), undefined);
});

test("the 35th at once is told to come later, before a hash and without counting as a failure", async () => {
  const { desk, code } = await ines();
  const held: (() => void)[] = [];
  desk.hasher.hash = async () => {
    desk.hasher.calls++;
    await new Promise<void>((resolve) => held.push(resolve));
    return Buffer.alloc(32);
  };
  const before = desk.hasher.calls;
  const room = HASH_WORKERS + HASH_QUEUE_MAX;
  const tries = Array.from({ length: room }, (_, index) =>
    desk.passwords.signIn(request("123456", { name: `nobody-${index}` }), `10.2.0.${index}`),
  );
  for (let turn = 0; turn < 200 && desk.pool.hasRoom; turn++) await Promise.resolve();
  const refusal = await desk.passwords.signIn(request(code()), SOURCE);
  assert.equal(causeOf(refusal), "hash-queue-full");
  assert.equal(desk.hasher.calls - before, HASH_WORKERS);
  assert.equal(desk.store.attempts.kept.get("person:ines"), undefined);
  while (held.length > 0) {
    held.shift()?.();
    for (let turn = 0; turn < 50; turn++) await Promise.resolve();
  }
  assert.equal((await Promise.all(tries)).length, room);
});

test("wrong types and sizes are refused as malformed, before anything is counted", async () => {
  const { desk } = await ines();
  const bad: unknown[] = [
    null,
    1,
    "ines",
    [],
    {},
    request("12345"),
    request("1234567"),
    request("12345a"),
    request("123456", { name: "" }),
    request("123456", { name: "x".repeat(128) }),
    request("123456", { name: ["ines"] }),
    request("123456", { password: "" }),
    request("123456", { password: "x".repeat(129) }),
    request("123456", { password: 7 }),
    request("123456", { password: "\ud800" }),
    request("123456", { second: null }),
    request("123456", { second: { kind: "none" } }),
    request("123456", { second: { kind: "totp", code: 123_456 } }),
    request("123456", { second: { kind: "recovery-code", code: "x".repeat(65) } }),
  ];
  for (const value of bad) {
    assert.equal(causeOf(await desk.passwords.signIn(value, SOURCE)), "request-malformed");
  }
  assert.equal(desk.store.attempts.kept.size, 0);
  assert.equal(desk.events.of("sign-in-refused").length, 0);
});

test("a recovery code stands in for TOTP once, as people type it", async () => {
  const { desk, person } = await ines();
  const codes = await desk.recoveryCodes.make(person);
  assert.equal(new Set(codes).size, RECOVERY_CODES);
  const [one = ""] = codes;
  assert.match(one, /^([0-9A-HJKMNP-TV-Z]{4}-){5}[0-9A-HJKMNP-TV-Z]{4}$/);
  assert.ok(!JSON.stringify([...desk.store.recoveryCodes.kept]).includes(one));
  const typed = {
    second: { kind: "recovery-code", code: ` ${one.toLowerCase().replaceAll("-", " ")} ` },
  };
  assert.equal((await desk.passwords.signIn(request("", typed), SOURCE)).kind, "signed-in");
  assert.equal(
    causeOf(await desk.passwords.signIn(request("", typed), SOURCE)),
    "recovery-code-wrong",
  );
  assert.deepEqual(desk.events.of("recovery-code-used"), [
    { person: "ines", left: RECOVERY_CODES - 1 },
  ]);
});

test("two with one recovery code at the same moment: one signs in", async () => {
  const { desk, person } = await ines();
  const [code] = await desk.recoveryCodes.make(person);
  const typed = request("", { second: { kind: "recovery-code", code } });
  const outcomes = await Promise.all([
    desk.passwords.signIn(typed, SOURCE),
    desk.passwords.signIn(typed, SOURCE),
  ]);
  assert.equal(outcomes.filter((outcome) => outcome.kind === "signed-in").length, 1);
});

test("new recovery codes end the old ones; nobody uses another's", async () => {
  const { desk, person } = await ines();
  const [old = ""] = await desk.recoveryCodes.make(person);
  const [fresh = ""] = await desk.recoveryCodes.make(person);
  const otto = await desk.person("otto", "viewer");
  assert.equal(await desk.recoveryCodes.use(person, old), false);
  assert.equal(await desk.recoveryCodes.use(otto, fresh), false);
  assert.equal(await desk.recoveryCodes.use(person, fresh), true);
});

test("passwords that everybody tries first are refused when they are set", async () => {
  const { desk, person } = await ines();
  const set = async (password: unknown): Promise<string> =>
    causeOf(await desk.passwords.set(person, password));
  assert.equal(await set("elevenchars"), "password-weak");
  assert.equal(await set("x".repeat(129)), "password-weak");
  assert.equal(await set("aaaaaaaaaaaaaaaa"), "password-weak");
  assert.equal(await set("InesSallyport1"), "password-weak");
  assert.equal(await set("\ud800 long enough otherwise"), "password-weak");
  assert.equal(await set(undefined), "request-malformed");
  assert.equal(await desk.passwords.set(person, "twelve chars"), "set");
  assert.equal(await desk.passwords.set(person, "0123456789".repeat(12) + "12345678"), "set");
});

test("one password, in whichever of two forms a keyboard writes its letters", async () => {
  const { desk, person, code } = await ines();
  await desk.passwords.set(person, "f\u00fcnf Br\u00f6tchen, bitte");
  const typed = request(code(), { password: "fu\u0308nf Bro\u0308tchen, bitte" });
  assert.equal((await desk.passwords.signIn(typed, SOURCE)).kind, "signed-in");
});

test("TOTP again steps up; a wrong or used code does not, and is counted", async () => {
  const { desk, code } = await ines();
  const signedIn = await desk.passwords.signIn(request(code()), SOURCE);
  assert.ok(signedIn.kind === "signed-in");
  const present = { ...signedIn, kind: "present" as const };
  assert.equal(causeOf(await desk.passwords.stepUp(present, code(), SOURCE)), "totp-used");
  assert.equal(causeOf(await desk.passwords.stepUp(present, "12345", SOURCE)), "request-malformed");
  desk.clock.advance(10 * MINUTE_MS);
  const again = await desk.passwords.stepUp(present, code(), SOURCE);
  assert.ok(again.kind === "present");
  assert.equal(again.signIn.provedAtMs, desk.clock.nowMs());
  const wrong = code() === "000000" ? "111111" : "000000";
  for (let index = 0; index < 6; index++) await desk.passwords.stepUp(present, wrong, SOURCE);
  assert.equal(causeOf(await desk.passwords.stepUp(present, wrong, SOURCE)), "sign-in-later");
});
