import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { type Algorithm, cbor, SoftAuthenticator } from "../authenticator.test-kit.ts";
import { coseToSpki } from "./cose.ts";

test("gives the SPKI of keys that passkeys have", () => {
  for (const algorithm of ["es256", "eddsa", "rs256"] satisfies Algorithm[]) {
    const soft = new SoftAuthenticator(algorithm);
    assert.equal(coseToSpki(soft.cose), soft.spki);
  }
});

// RFC 8032 §7.1, test 1: a public key as it is printed there.
test("wraps a known Ed25519 key in its twelve bytes of SPKI", () => {
  const x = Buffer.from("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "hex");
  const spki = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), x]).toString(
    "base64",
  );
  assert.equal(
    coseToSpki(
      cbor([
        [1, 1],
        [3, -8],
        [-1, 6],
        [-2, x],
      ]),
    ),
    spki,
  );
});

test("refuses keys whose type, algorithm and curve don't name each other", () => {
  const jwk = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({
    format: "jwk",
  });
  const x = Buffer.from(jwk.x ?? "", "base64url");
  const y = Buffer.from(jwk.y ?? "", "base64url");
  assert.ok(
    coseToSpki(
      cbor([
        [1, 2],
        [3, -7],
        [-1, 1],
        [-2, x],
        [-3, y],
      ]),
    ),
  );
  const bad: readonly (readonly [number, unknown])[][] = [
    [
      [1, 2],
      [3, -8],
      [-1, 1],
      [-2, x],
      [-3, y],
    ],
    [
      [1, 1],
      [3, -7],
      [-1, 1],
      [-2, x],
      [-3, y],
    ],
    [
      [1, 2],
      [3, -7],
      [-1, 2],
      [-2, x],
      [-3, y],
    ],
    [
      [1, 2],
      [3, -7],
      [-1, 1],
      [-2, y],
      [-3, x],
    ],
    [
      [1, 2],
      [3, -7],
      [-1, 1],
      [-2, x],
    ],
    [
      [1, 2],
      [3, -7],
      [-1, 1],
      [-2, "text"],
      [-3, y],
    ],
    [
      [1, 2],
      [3, -35],
      [-1, 2],
      [-2, x],
      [-3, y],
    ],
    [
      [1, 3],
      [3, -257],
      [-1, x],
      [-2, Buffer.of(1, 0, 1)],
    ],
    [],
  ];
  for (const entries of bad) assert.equal(coseToSpki(cbor(entries)), undefined);
});

test("no bytes make it throw", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void coseToSpki(bytes)));
});
