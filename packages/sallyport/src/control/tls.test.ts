import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import type { Certificate } from "@sallyport/api";
import type { Json } from "@sallyport/core";
import { issueServer, makeSiteCa } from "@sallyport/identity/keyholder";
import type { KeyholderRequest } from "../keyholder/keyholder-messages.ts";
import { keepRenewed, newCertificate } from "./tls.ts";

const HOUR_MS = 3600 * 1000;
const LIFE_MS = 6 * 24 * HOUR_MS;
const random = { bytes: (size: number): Uint8Array => randomBytes(size) };

/** A door whose clock stands still until the test moves it. */
class Door {
  nowMs: number = Date.UTC(2026, 10, 18, 11, 0);
  readonly startMs: number = this.nowMs;
  given: Certificate | undefined;
  isAway = false;
  readonly replaced: Certificate[] = [];
  readonly alarms: (number | undefined)[] = [];
  #next: (() => void) | undefined;
  #looked: () => void = () => undefined;

  readonly renew = async (): Promise<Certificate> => {
    if (this.isAway) throw new Error("no keyholder");
    const moment = { nowMs: this.nowMs, random };
    const ca = await makeSiteCa("plant", moment);
    const keyholder = async (request: KeyholderRequest): Promise<Json> => {
      assert.ok(request.type === "tls-issue");
      const { key, names } = request;
      const issued = await issueServer(ca, { key, names, lifeMs: LIFE_MS }, moment);
      assert.ok(issued.kind === "issued");
      return { chain: issued.chainPem };
    };
    return await newCertificate(keyholder, ["localhost"]);
  };

  keep(certificate: Certificate): void {
    keepRenewed(
      { certificate, isGiven: false },
      {
        renew: this.renew,
        given: async () => {
          if (this.isAway) throw new Error("no keyholder");
          return this.given;
        },
        replace: (next) => this.replaced.push(next),
        alarm: (endMs) => this.alarms.push(endMs),
        nowMs: () => this.nowMs,
        wait: (ms, then) => {
          assert.ok(ms <= HOUR_MS, "it looks often");
          this.#next = then;
          this.#looked();
        },
      },
    );
  }

  async at(afterMs: number): Promise<void> {
    this.nowMs = this.startMs + afterMs;
    const looked = new Promise<void>((resolve) => (this.#looked = resolve));
    assert.ok(this.#next, "it never stops looking");
    this.#next();
    await looked;
  }
}

test("a certificate is renewed in its last third, also when the keyholder was away at first", async () => {
  const door = new Door();
  const first = await door.renew();
  door.keep(first);
  await door.at(3.9 * 24 * HOUR_MS);
  assert.equal(door.replaced.length, 0, "it is good for long");
  door.isAway = true;
  await door.at(4.1 * 24 * HOUR_MS);
  assert.equal(door.replaced.length, 0, "nobody is there to sign");
  door.isAway = false;
  await door.at(4.2 * 24 * HOUR_MS);
  assert.equal(door.replaced.length, 1);
  assert.notEqual(door.replaced[0]?.key, first.key, "with a key of its own");
  assert.ok(door.alarms.every((endMs) => endMs === undefined));
});

test("before a certificate ends that could not be renewed there is an alarm, until it was", async () => {
  const door = new Door();
  door.keep(await door.renew());
  door.isAway = true;
  await door.at(4.9 * 24 * HOUR_MS);
  assert.deepEqual(door.alarms, [undefined], "a third of its life is time enough to mend it");
  await door.at(5.1 * 24 * HOUR_MS);
  assert.equal(door.alarms.at(-1), door.startMs + LIFE_MS, "when it ends");
  door.isAway = false;
  await door.at(5.2 * 24 * HOUR_MS);
  assert.equal(door.alarms.at(-1), undefined, "all is well again");
});

test("a certificate that the plant gives is used at once, watched, and given up when it is taken back", async () => {
  const door = new Door();
  const own = await door.renew();
  door.keep(own);
  door.given = await door.renew();
  await door.at(HOUR_MS);
  assert.equal(door.replaced.at(-1), door.given);
  await door.at(5.1 * 24 * HOUR_MS);
  assert.equal(door.replaced.length, 1, "it is not ours to renew");
  assert.equal(door.alarms.at(-1), door.startMs + LIFE_MS, "so somebody must hear of it");
  door.given = undefined;
  await door.at(5.2 * 24 * HOUR_MS);
  assert.equal(door.replaced.length, 2);
  assert.equal(door.alarms.at(-1), undefined);
});
