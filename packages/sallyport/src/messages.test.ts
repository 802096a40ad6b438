import assert from "node:assert/strict";
import { test } from "node:test";
import { SallyportError } from "@sallyport/core";
import fc from "fast-check";
import { CONFIRM_SECONDS_MAX, CONFIRM_SECONDS_MIN, readRequest, replyError } from "./messages.ts";

const APPLY = {
  type: "apply",
  author: "local-root",
  files: [{ name: "site.yaml", text: "version: 1" }],
  planSha256: "ab".repeat(32),
  confirmWithinSeconds: 90,
  approvals: [{ kind: "local-root", reason: "commissioning" }],
};

function codeOf(message: unknown): string {
  try {
    readRequest(typeof message === "string" ? message : JSON.stringify(message));
    return "taken";
  } catch (error) {
    return error instanceof SallyportError ? error.code : "not a SallyportError";
  }
}

test("takes an apply with its approvals as it was sent", () => {
  assert.deepEqual(readRequest(JSON.stringify(APPLY)), APPLY);
});

test("an approval of a kind that nobody can check yet is refused, not ignored", () => {
  assert.equal(codeOf({ ...APPLY, approvals: [{ kind: "webauthn", reason: "x" }] }), "bad-message");
});

test("the time to confirm is bounded on both sides", () => {
  for (const seconds of [CONFIRM_SECONDS_MIN, CONFIRM_SECONDS_MAX]) {
    assert.equal(codeOf({ ...APPLY, confirmWithinSeconds: seconds }), "taken");
  }
  for (const seconds of [CONFIRM_SECONDS_MIN - 1, CONFIRM_SECONDS_MAX + 1, 2.5, "90", null]) {
    assert.equal(codeOf({ ...APPLY, confirmWithinSeconds: seconds }), "bad-message");
  }
});

test("trusting the clock again is an opening act and carries its approvals", () => {
  const approvals = [{ kind: "local-root", reason: "the clock was set" }];
  const asked = { id: "a-1", author: "erin", startBy: "2026-11-18T12:00:00Z", approvals };
  const message = { type: "trust-time", ...asked };
  assert.deepEqual(readRequest(JSON.stringify(message)), message);
  assert.throws(() => readRequest('{"type":"trust-time","approvals":[]}'), /id must be text/);
});

test("no files, or more than 64, is refused", () => {
  const file = APPLY.files[0];
  assert.equal(codeOf({ ...APPLY, files: [] }), "bad-message");
  assert.equal(codeOf({ ...APPLY, files: Array(64).fill(file) }), "taken");
  assert.equal(codeOf({ ...APPLY, files: Array(65).fill(file) }), "bad-message");
});

test("a message the enforcer does not know names the field that is wrong", () => {
  assert.throws(() => readRequest('{"type":"open-everything"}'), /type names no request/);
  assert.throws(() => readRequest('{"type":"grant-revoke"}'), /grant must be text/);
  assert.throws(() => readRequest("[]"), /must be an object/);
  assert.throws(() => readRequest("{"), /is not JSON/);
});

test("whatever is sent, the answer is a request or a bad-message", () => {
  fc.assert(
    fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
      assert.ok(["taken", "bad-message"].includes(codeOf(text)));
    }),
  );
});

test("a failure nobody foresaw is told without a stack trace", () => {
  const reply = replyError(new TypeError("x is undefined"));
  assert.equal(reply.code, "internal-error");
  assert.doesNotMatch(JSON.stringify(reply), /at .*:\d+/);
});
