import assert from "node:assert/strict";
import { test } from "node:test";
import { HASH_QUEUE_MAX, HASH_WORKERS } from "../limits.ts";
import type { PasswordHasher } from "../ports.ts";
import { argon2id, COST, parsePhc, SALT_BYTES, writePhc } from "./argon2.ts";
import { HashPool } from "./hash-pool.ts";

const SALT = Buffer.alloc(SALT_BYTES, 1);
const PASSWORD = Buffer.from("correct horse battery");

/** Answers when the test says so. */
class HeldHasher implements PasswordHasher {
  readonly waiting: { resolve: (hash: Uint8Array) => void; reject: (error: Error) => void }[] = [];
  calls = 0;
  most = 0;
  hash(): Promise<Uint8Array> {
    this.calls++;
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    this.waiting.push({ resolve, reject });
    this.most = Math.max(this.most, this.waiting.length);
    return promise;
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
}

test("two hash at once, 32 wait, and the next is told to come later before any hash", async () => {
  const hasher = new HeldHasher();
  const pool = new HashPool(hasher);
  const room = HASH_WORKERS + HASH_QUEUE_MAX;
  const runs = Array.from({ length: room }, () => pool.run(PASSWORD, SALT, COST));
  await settle();
  assert.equal(hasher.calls, HASH_WORKERS);
  assert.equal(pool.hasRoom, false);
  const refused = await pool.run(PASSWORD, SALT, COST);
  assert.ok("kind" in refused);
  assert.equal(refused.cause, "hash-queue-full");
  assert.ok((refused.retryAfterMs ?? 0) > 0);
  assert.equal(hasher.calls, HASH_WORKERS, "nothing was hashed for it");
  for (let done = 0; done < room; done++) {
    hasher.waiting.shift()?.resolve(Buffer.alloc(32));
    await settle();
  }
  assert.ok((await Promise.all(runs)).every((hash) => !("kind" in hash)));
  assert.equal(hasher.calls, room);
  assert.equal(hasher.most, HASH_WORKERS, "never more at once");
  assert.equal(pool.hasRoom, true);
});

test("one place that becomes free lets one more in", async () => {
  const hasher = new HeldHasher();
  const pool = new HashPool(hasher);
  const runs = Array.from({ length: HASH_WORKERS + HASH_QUEUE_MAX }, () =>
    pool.run(PASSWORD, SALT, COST),
  );
  hasher.waiting.shift()?.resolve(Buffer.alloc(32));
  await runs[0];
  await settle();
  assert.equal(pool.hasRoom, true);
  void pool.run(PASSWORD, SALT, COST);
  assert.equal(pool.hasRoom, false);
});

test("a hash that fails gives its place back", async () => {
  const hasher = new HeldHasher();
  const pool = new HashPool(hasher);
  const runs = Array.from({ length: 3 }, () => pool.run(PASSWORD, SALT, COST));
  hasher.waiting.shift()?.reject(new Error("no memory"));
  await assert.rejects(async () => runs[0]);
  await settle();
  assert.equal(hasher.calls, 3);
  for (const { resolve } of hasher.waiting.splice(0)) resolve(Buffer.alloc(32));
  await Promise.all(runs.slice(1));
  assert.equal(pool.hasRoom, true);
});

// From test.c of P-H-C/phc-winner-argon2: version 0x13, t=2, m=2^16, p=1.
test("argon2id of Node gives the reference implementation's value", async () => {
  const cost = { memoryKib: 65_536, passes: 2, lanes: 1 };
  const hash = await argon2id.hash(Buffer.from("password"), Buffer.from("somesalt"), cost);
  assert.equal(
    Buffer.from(hash).toString("hex"),
    "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7",
  );
});

test("two argon2id hashes at our cost leave the event loop free", async () => {
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  const pool = new HashPool(argon2id);
  const [one, two] = await Promise.all([
    pool.run(PASSWORD, SALT, COST),
    pool.run(PASSWORD, Buffer.alloc(SALT_BYTES, 2), COST),
  ]);
  clearInterval(timer);
  assert.notDeepEqual(one, two);
  assert.ok(ticks >= 5, `${ticks} ticks while hashing`);
});

test("a hash is written as others read it, and read back", () => {
  const phc = { cost: COST, salt: SALT, hash: Buffer.alloc(32, 7) };
  const text = writePhc(phc);
  assert.match(text, /^\$argon2id\$v=19\$m=47104,t=1,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
  const back = parsePhc(text);
  assert.deepEqual(back?.cost, COST);
  assert.deepEqual(Buffer.from(back?.hash ?? []), phc.hash);
});

test("refuses a hash that asks for the machine's memory, or is not one", () => {
  const text = writePhc({ cost: COST, salt: SALT, hash: Buffer.alloc(32, 7) });
  assert.ok(parsePhc(text.replace("m=47104", "m=262144")));
  const bad = [
    text.replace("m=47104", "m=262145"),
    text.replace("m=47104", "m=1023"),
    text.replace("t=1", "t=11"),
    text.replace("t=1", "t=0"),
    text.replace("p=1", "p=5"),
    text.replace("p=1", "p=0"),
    text.replace("argon2id", "argon2i"),
    text.replace("v=19", "v=16"),
    `${text}A`,
    text.slice(1),
    "",
  ];
  for (const value of bad) assert.equal(parsePhc(value), undefined, value);
});
