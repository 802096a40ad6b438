/** The API's names and shapes beside identity's, whose they are. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { PERMISSIONS as KNOWN, termsOf } from "@sallyport/identity";
import type { Approval as Verified } from "@sallyport/identity/approval";
import { ROUTES } from "../routes/index.ts";
import { type Approval, approval } from "../shapes/common.ts";
import { PERMISSIONS, STEP_UP } from "./permissions.ts";

test("each permission that a route asks for is one of identity's, and dangerous where it says so", () => {
  for (const permission of PERMISSIONS) {
    assert.ok(permission in KNOWN, permission);
    assert.equal(STEP_UP.has(permission), termsOf(permission).isDangerous === true, permission);
  }
  const asked = new Set<string>(ROUTES.map(({ access }) => access));
  assert.deepEqual(
    PERMISSIONS.filter((permission) => !asked.has(permission)),
    [],
  );
});

test("an approval as it comes is an approval as the enforcer verifies it", () => {
  const signed: Approval = approval.parse({ kind: "ed25519", key: "k-1", signature: "AA" });
  const same: Verified = signed;
  assert.equal(same.kind, "ed25519");
});
