import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";
import { tryRun } from "../apply/run.ts";

const kit = path.join(import.meta.dirname, "rootless-process.test-kit.ts");
const NOBODY = 65534;

test("without root the same rooms stand in a user namespace, and refuse when flushed", async (t) => {
  const asNobody = ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"];
  const become = process.getuid?.() === 0 ? asNobody : [];
  const enter = ["unshare", "-U", "-n", "-m", "--map-current-user", "--keep-caps"];
  const [program = "", ...rest] = [...become, ...enter];
  const possible = await tryRun(program, [...rest, "ip", "link", "set", "lo", "up"]);
  if (possible.exitCode !== 0) {
    t.skip(`needs user namespaces: ${possible.stderr.trim()}`);
    return;
  }
  if ((await tryRun(program, [...rest, process.execPath, "--check", kit])).exitCode !== 0) {
    t.skip("needs a checkout that another uid can read");
    return;
  }
  const { stdout, stderr } = await tryRun(program, [...rest, process.execPath, kit]);
  assert.notEqual(stdout, "", stderr);
  assert.deepEqual(JSON.parse(stdout), {
    uid: process.getuid?.() === 0 ? NOBODY : process.getuid?.(),
    differences: [],
    allowed: true,
    refused: false,
    own: false,
    flushed: false,
    left: [],
  });
});
