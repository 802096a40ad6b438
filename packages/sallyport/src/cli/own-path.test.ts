import assert from "node:assert/strict";
import { test } from "node:test";
import type { Legs } from "@sallyport/policy/legs";
import { ownPathCut } from "./own-path.ts";

const SSH = "10.10.0.10 50000 10.30.0.5 22";

function legs(port: number): Legs {
  const at = (address: number) => [{ first: address, last: address }];
  const leg = {
    point: "outer",
    from: at(0x0a0a000a),
    to: at(0x0a1e0005),
    protocol: "tcp",
    ports: [{ first: port, last: port }],
    replies: true,
    redirects: [],
  };
  return { conduits: [{ name: "ssh", legs: [leg] }] } as unknown as Legs;
}

test("warns when the login that asks would be cut, and only then", () => {
  assert.match(ownPathCut(legs(22), legs(23), SSH) ?? "", /10\.10\.0\.10.*10\.30\.0\.5/);
  assert.equal(ownPathCut(legs(22), legs(22), SSH), undefined);
  assert.equal(ownPathCut(legs(23), legs(23), SSH), undefined, "it was no path before either");
  assert.equal(ownPathCut(legs(22), legs(23), ""), undefined, "a login at the console");
  assert.equal(ownPathCut(undefined, legs(23), SSH), undefined, "nothing was in force");
});
