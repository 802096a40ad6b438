import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { type Algorithm, type Bend, SoftAuthenticator } from "../authenticator.test-kit.ts";
import { verifyApproval } from "../approval/index.ts";
import { causeOf, Desk, ORIGIN, SOURCE } from "../desk.test-kit.ts";
import { CHALLENGE_MS, PASSKEYS_MAX } from "../limits.ts";
import type { Person } from "../records.ts";
import { relyingParty } from "./passkeys.ts";

const UP = 0x01;
const UV = 0x04;
const AT = 0x40;

async function ines(
  algorithm?: Algorithm,
): Promise<{ desk: Desk; person: Person; key: SoftAuthenticator }> {
  const desk = new Desk();
  const person = await desk.person("ines", "engineer");
  const key = await desk.withPasskey(person, new SoftAuthenticator(algorithm));
  return { desk, person, key };
}

async function signIn(desk: Desk, key: SoftAuthenticator, bend: Bend = {}): Promise<unknown> {
  return desk.passkeys.finishSignIn(
    key.get(await desk.passkeys.beginSignIn(), ORIGIN, bend),
    SOURCE,
  );
}

for (const algorithm of ["es256", "eddsa", "rs256"] satisfies Algorithm[]) {
  test(`a passkey with ${algorithm} registers and signs in without a name`, async () => {
    const { desk, key } = await ines(algorithm);
    const options = await desk.passkeys.beginSignIn();
    assert.deepEqual(options.allowCredentials, [], "tells nobody who has a passkey");
    assert.equal(options.userVerification, "required");
    const signedIn = await desk.passkeys.finishSignIn(key.get(options, ORIGIN), SOURCE);
    assert.ok(signedIn.kind === "signed-in");
    assert.equal(signedIn.person.id, "ines");
    assert.deepEqual(signedIn.signIn.factors, ["passkey"]);
  });

  test(`the SPKI of an ${algorithm} passkey is the one its browser gives, and verifies approvals`, async () => {
    const { desk, key } = await ines(algorithm);
    const passkey = await desk.store.passkeys.get(key.credentialId);
    assert.ok(passkey);
    assert.equal(passkey.spki, key.spki);
    const challenge = randomBytes(32);
    const options = { challenge: challenge.toString("base64url"), rpId: passkey.rpId };
    const { clientDataJSON, authenticatorData, signature } = key.get(options, ORIGIN).response;
    const approval = {
      kind: "passkey",
      key: "k",
      credentialId: passkey.id,
      clientDataJSON,
      authenticatorData,
      signature,
    } as const;
    const { spki, rpId, origin, id: credentialId } = passkey;
    const approver = {
      id: "k",
      person: "ines",
      kind: "passkey",
      spki,
      credentialId,
      rpId,
      origin,
      enrolledAtMs: 0,
    } as const;
    assert.equal(verifyApproval(approval, approver, challenge, 1).kind, "verified");
  });
}

test("the same answer again is a replay, and is refused", async () => {
  const { desk, key } = await ines();
  const answer = key.get(await desk.passkeys.beginSignIn(), ORIGIN);
  assert.equal((await desk.passkeys.finishSignIn(answer, SOURCE)).kind, "signed-in");
  const replay = await desk.passkeys.finishSignIn(answer, SOURCE);
  assert.ok(replay.kind === "refused" && replay.code === "sign-in-failed");
  assert.equal(desk.events.of("sign-in").length, 1);
});

test("a replay of a passkey that counts nothing is refused by its challenge", async () => {
  const { desk, key } = await ines();
  const answer = key.get(await desk.passkeys.beginSignIn(), ORIGIN, { counter: 0 });
  assert.equal((await desk.passkeys.finishSignIn(answer, SOURCE)).kind, "signed-in");
  assert.equal(causeOf(await desk.passkeys.finishSignIn(answer, SOURCE)), "challenge-used");
});

test("of two with one answer at the same moment, one signs in", async () => {
  const { desk, key } = await ines();
  const answer = key.get(await desk.passkeys.beginSignIn(), ORIGIN, { counter: 0 });
  const outcomes = await Promise.all(
    [1, 2, 3].map(() => desk.passkeys.finishSignIn(answer, SOURCE)),
  );
  assert.equal(outcomes.filter((outcome) => outcome.kind === "signed-in").length, 1);
});

test("an answer to an old challenge, or to one that is not ours, is refused", async () => {
  const { desk, key } = await ines();
  const options = await desk.passkeys.beginSignIn();
  const answer = key.get(options, ORIGIN);
  desk.clock.advance(CHALLENGE_MS + 1000);
  assert.equal(causeOf(await desk.passkeys.finishSignIn(answer, SOURCE)), "challenge-expired");
  desk.clock.advance(-2 * CHALLENGE_MS);
  assert.equal(causeOf(await desk.passkeys.finishSignIn(answer, SOURCE)), "challenge-expired");
  const foreign = randomBytes(32).toString("base64url");
  assert.equal(causeOf(await signIn(desk, key, { challenge: foreign })), "challenge-unknown");
  assert.equal(
    causeOf(await signIn(desk, key, { challenge: `${options.challenge}=` })),
    "challenge-unknown",
  );
});

test("a challenge for one thing serves for no other", async () => {
  const { desk, person, key } = await ines();
  const present = await desk.present(person);
  const stepUp = await desk.passkeys.beginStepUp(present);
  assert.equal(
    causeOf(await signIn(desk, key, { challenge: stepUp.challenge })),
    "challenge-unknown",
  );
  const registration = await desk.passkeys.beginRegistration(person);
  assert.equal(
    causeOf(await signIn(desk, key, { challenge: registration.challenge })),
    "challenge-unknown",
  );
});

const BENT: readonly [string, Bend, string][] = [
  ["another origin", { origin: "https://evil.example" }, "origin-mismatch"],
  ["another relying party", { rpId: "evil.example" }, "rp-mismatch"],
  ["inside another page", { crossOrigin: true }, "cross-origin"],
  ["nobody present", { flags: UV }, "user-not-present"],
  ["nobody verified", { flags: UP }, "user-not-verified"],
  ["a registration", { type: "webauthn.create" }, "client-data-type"],
  ["signature of nobody", { signature: randomBytes(70) }, "signature-invalid"],
];

for (const [what, bend, detail] of BENT) {
  test(`a passkey does not sign in: ${what}`, async () => {
    const { desk, key } = await ines();
    assert.equal(causeOf(await signIn(desk, key, bend)), "passkey-assertion");
    assert.equal(desk.events.of("sign-in-refused")[0]?.["detail"], detail);
    assert.equal(desk.store.signIns.kept.size, 0);
  });
}

test("a counter that does not rise is a copy's, and is refused", async () => {
  const { desk, key } = await ines();
  assert.ok(await signIn(desk, key, { counter: 9 }));
  assert.equal(causeOf(await signIn(desk, key, { counter: 8 })), "passkey-assertion");
  assert.equal(causeOf(await signIn(desk, key, { counter: 9 })), "passkey-assertion");
  assert.equal(causeOf(await signIn(desk, key, { counter: 0 })), "passkey-assertion");
  assert.equal(((await signIn(desk, key, { counter: 10 })) as { kind: string }).kind, "signed-in");
  assert.equal((await desk.store.passkeys.get(key.credentialId))?.counter, 10);
});

test("two answers with different challenges but one counter: one signs in", async () => {
  const { desk, key } = await ines();
  const one = key.get(await desk.passkeys.beginSignIn(), ORIGIN, { counter: 5 });
  const two = key.get(await desk.passkeys.beginSignIn(), ORIGIN, { counter: 5 });
  const outcomes = await Promise.all(
    [one, two].map((answer) => desk.passkeys.finishSignIn(answer, SOURCE)),
  );
  assert.equal(outcomes.filter((outcome) => outcome.kind === "signed-in").length, 1);
});

test("an unknown passkey, another's user handle and a disabled person don't sign in", async () => {
  const { desk, person, key } = await ines();
  assert.equal(causeOf(await signIn(desk, new SoftAuthenticator())), "passkey-unknown");
  assert.equal(causeOf(await signIn(desk, key, { userHandle: "AAAA" })), "passkey-other-person");
  await desk.store.people.replace(person, { ...person, revision: 2, state: "disabled" });
  assert.equal(causeOf(await signIn(desk, key)), "person-disabled");
  const shown = desk.events.of("sign-in-refused");
  assert.equal(shown.length, 3);
});

test("wrong types are refused as malformed", async () => {
  const { desk, key } = await ines();
  const good = key.get(await desk.passkeys.beginSignIn(), ORIGIN);
  const { response } = good;
  const bad: unknown[] = [
    undefined,
    null,
    "x",
    [],
    {},
    { ...good, id: 7 },
    { ...good, id: "a b" },
    { ...good, rawId: "AAAA" },
    { ...good, type: "password" },
    { ...good, response: null },
    { ...good, response: [] },
    { ...good, response: { ...response, signature: undefined } },
    { ...good, response: { ...response, clientDataJSON: 1 } },
    { ...good, response: { ...response, clientDataJSON: "A".repeat(5464) } },
    { ...good, response: { ...response, authenticatorData: {} } },
    { ...good, response: { ...response, userHandle: 7 } },
  ];
  for (const value of bad) {
    assert.equal(causeOf(await desk.passkeys.finishSignIn(value, SOURCE)), "request-malformed");
  }
  const without = { ...good, response: { ...response, userHandle: null } };
  assert.equal((await desk.passkeys.finishSignIn(without, SOURCE)).kind, "signed-in");
});

test("who guesses passwords for somebody does not keep their passkey out", async () => {
  const { desk, key } = await ines();
  for (let index = 0; index < 8; index++) {
    const second = { kind: "totp", code: "123456" };
    await desk.passwords.signIn(
      { name: "ines", password: "wrong horse battery", second },
      "10.66.0.1",
    );
  }
  assert.equal(((await signIn(desk, key)) as { kind: string }).kind, "signed-in");
});

test("a source that sends nonsense is slowed down", async () => {
  const { desk, key } = await ines();
  for (let index = 0; index < 21; index++) await signIn(desk, key, { flags: 0 });
  assert.equal(causeOf(await signIn(desk, key)), "sign-in-later");
});

async function register(
  desk: Desk,
  person: Person,
  bend: Bend,
  key = new SoftAuthenticator(),
): Promise<unknown> {
  const options = await desk.passkeys.beginRegistration(person);
  return desk.passkeys.finishRegistration(person, key.create(options, ORIGIN, bend), "key");
}

const UNREGISTERED: readonly [string, Bend][] = [
  ["another origin", { origin: "https://evil.example" }],
  ["another relying party", { rpId: "evil.example" }],
  ["nobody verified", { flags: UP | AT }],
  ["nobody present", { flags: UV | AT }],
  ["no credential", { flags: UP | UV }],
  ["an assertion", { type: "webauthn.get" }],
  ["a format nobody knows", { format: "own" }],
  [
    "a certificate with an address to be fetched",
    {
      format: "packed",
      statement: [
        ["alg", -7],
        ["sig", Buffer.of(1)],
        ["x5c", [Buffer.of(1)]],
      ],
    },
  ],
  [
    "a self attestation that does not hold",
    {
      format: "packed",
      statement: [
        ["alg", -7],
        ["sig", Buffer.of(1)],
      ],
    },
  ],
];

for (const [what, bend] of UNREGISTERED) {
  test(`a passkey is not registered: ${what}`, async () => {
    const desk = new Desk();
    const person = await desk.person("ines", "engineer");
    assert.equal(causeOf(await register(desk, person, bend)), "passkey-refused");
    assert.equal(desk.store.passkeys.kept.size, 0);
    assert.equal(desk.events.of("passkey-refused").length, 1);
  });
}

test("a maker's certificate is refused before anything in it is read or fetched", async () => {
  const desk = new Desk();
  const statement: [string, unknown][] = [
    ["alg", -7],
    ["sig", Buffer.of(1)],
    ["x5c", [Buffer.of(1)]],
  ];
  for (const format of ["packed", "fido-u2f", "tpm", "apple", "android-key"]) {
    const person = await desk.person(format, "engineer");
    assert.equal(causeOf(await register(desk, person, { format, statement })), "passkey-refused");
  }
  const details = desk.events.of("passkey-refused").map((fields) => fields["detail"]);
  assert.deepEqual(new Set(details), new Set(["carries an attestation that was not asked for"]));
});

test("a registration's answer serves once, and only for the person it was asked for", async () => {
  const desk = new Desk();
  const [person, otto] = [
    await desk.person("ines", "engineer"),
    await desk.person("otto", "viewer"),
  ];
  const options = await desk.passkeys.beginRegistration(person);
  const answer = new SoftAuthenticator().create(options, ORIGIN);
  assert.equal(
    causeOf(await desk.passkeys.finishRegistration(otto, answer, "key")),
    "challenge-unknown",
  );
  assert.ok(!("kind" in (await desk.passkeys.finishRegistration(person, answer, "key"))));
  assert.equal(
    causeOf(await desk.passkeys.finishRegistration(person, answer, "key")),
    "challenge-used",
  );
});

test("a credential that somebody has is not registered for another", async () => {
  const { desk, key } = await ines();
  const otto = await desk.person("otto", "viewer");
  assert.equal(causeOf(await register(desk, otto, {}, key)), "passkey-taken");
  assert.equal((await desk.store.passkeys.get(key.credentialId))?.person, "ines");
});

test("a person has at most ten passkeys", async () => {
  const desk = new Desk();
  const person = await desk.person("ines", "engineer");
  for (let index = 0; index < PASSKEYS_MAX; index++) await desk.withPasskey(person);
  assert.equal(causeOf(await register(desk, person, {})), "passkeys-at-limit");
});

test("registrations of wrong types are refused as malformed", async () => {
  const desk = new Desk();
  const person = await desk.person("ines", "engineer");
  const good = new SoftAuthenticator().create(
    await desk.passkeys.beginRegistration(person),
    ORIGIN,
  ) as { response: object };
  const bad: [unknown, unknown][] = [
    [null, "key"],
    [{}, "key"],
    [{ ...good, type: 1 }, "key"],
    [{ ...good, response: { ...good.response, attestationObject: "" } }, "key"],
    [{ ...good, response: { ...good.response, transports: "usb" } }, "key"],
    [{ ...good, response: { ...good.response, transports: Array(9).fill("usb") } }, "key"],
    [good, ""],
    [good, "x".repeat(65)],
    [good, 7],
  ];
  for (const [value, label] of bad) {
    assert.equal(
      causeOf(await desk.passkeys.finishRegistration(person, value, label)),
      "request-malformed",
    );
  }
  const junk = { ...good, response: { ...good.response, attestationObject: "AAAA" } };
  assert.equal(
    causeOf(await desk.passkeys.finishRegistration(person, junk, "key")),
    "passkey-refused",
  );
});

test("a passkey steps up its own sign-in, and another's does not", async () => {
  const { desk, person, key } = await ines();
  const present = await desk.present(person);
  desk.clock.advance(600_000);
  const options = await desk.passkeys.beginStepUp(present);
  assert.deepEqual(
    options.allowCredentials?.map(({ id }) => id),
    [key.credentialId],
  );
  const otto = await desk.withPasskey(await desk.person("otto", "viewer"));
  const foreign = await desk.passkeys.finishStepUp(present, otto.get(options, ORIGIN));
  assert.equal(causeOf(foreign), "passkey-other-person");
  assert.equal(causeOf(await desk.passkeys.finishStepUp(present, {})), "request-malformed");
  const fresh = await desk.passkeys.beginStepUp(present);
  const again = await desk.passkeys.finishStepUp(present, key.get(fresh, ORIGIN));
  assert.ok(again.kind === "present");
  assert.equal(again.signIn.provedAtMs, desk.clock.nowMs());
  const second = await desk.present(person);
  const taken = key.get(await desk.passkeys.beginStepUp(second), ORIGIN);
  assert.equal(causeOf(await desk.passkeys.finishStepUp(present, taken)), "challenge-unknown");
  assert.equal(desk.events.of("step-up-refused").length, 2);
});

test("a removed passkey signs nobody in; only its owner removes it", async () => {
  const { desk, person, key } = await ines();
  const otto = await desk.person("otto", "viewer");
  assert.equal(await desk.passkeys.remove(otto, key.credentialId), false);
  assert.equal(await desk.passkeys.remove(person, key.credentialId), true);
  assert.equal(causeOf(await signIn(desk, key)), "passkey-unknown");
});

test("passkeys want a name and https; this machine itself may do without", () => {
  const good = [
    "https://gate.plant.example",
    "https://gate",
    "https://gate.plant:8443",
    "http://localhost:3000",
  ];
  for (const origin of good) assert.ok(!("kind" in relyingParty(origin, "Plant")), origin);
  const bad = [
    "http://gate.plant.example",
    "https://10.1.0.1",
    "https://[::1]",
    "https://gate/x",
    "gate",
    "",
    "https://gate/",
  ];
  for (const origin of bad) {
    assert.equal(causeOf(relyingParty(origin, "Plant")), "relying-party-not-a-name", origin);
  }
});

test("nothing is kept for visitors who only ask", async () => {
  const desk = new Desk();
  for (let index = 0; index < 1000; index++) await desk.passkeys.beginSignIn();
  assert.equal(desk.store.used.kept.size, 0);
});
