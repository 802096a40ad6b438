import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { caged } from "./cage.ts";
import { EventLog } from "./event-log.ts";
import { type Instance, eventsDir } from "./instance.ts";
import { askFlows, flowsDir, flowsFile } from "./journal-place.ts";

/** Nobody's on this machine: far above accounts, and not what an instance is given. */
const UID = 1_699_000 + (process.pid % 1000);

/** Whether a process of another uid can come to the code: a checkout in a private home cannot be used here. */
function isOpenToAll(file: string): boolean {
  const parts = file.split("/").map((_, index, all) => all.slice(0, index + 1).join("/") || "/");
  return parts.every((part) => (fs.statSync(part).mode & 0o005) === 0o005);
}

test("the journal works caged, and root reads what it wrote with the journal's rights", async (t) => {
  if (process.getuid?.() !== 0) return t.skip("needs root: it gives a process another uid");
  if (!isOpenToAll(import.meta.dirname)) return t.skip("needs a checkout that every uid can read");
  const root = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-caged-"));
  const instance: Instance = {
    name: "caged",
    runDir: root,
    stateDir: root,
    netnsPrefix: "sp-caged",
  };
  const main = path.join(import.meta.dirname, "journal.main.ts");
  const directory = flowsDir(instance);
  fs.chmodSync(root, 0o711);
  new EventLog(eventsDir(instance), "enforcer").append(Date.UTC(2026, 10, 18), "flow-minute", {
    point: "outer",
    conduit: "erp-reads-tank",
    source: "10.10.0.10",
    destination: "10.41.0.10",
    sourceZone: "enterprise",
    destinationZone: "cell-a",
    protocol: "tcp",
    port: 502,
    accepted: 3,
    refused: 0,
    reason: "",
  });
  fs.mkdirSync(directory);
  fs.chownSync(directory, UID, UID);
  const [file = "", ...args] = [
    ...["unshare", "--net", "--"],
    ...caged({ uid: UID }, [process.execPath, main, eventsDir(instance), directory]),
  ];
  const child = spawn(file, args, { cwd: "/", stdio: ["ignore", "ignore", "inherit"] });
  try {
    const seen = (): number =>
      askFlows(instance, (answers) => {
        assert.equal(process.geteuid?.(), UID, "asked with the owner's rights");
        return answers.flows({ limit: 10 })[0]?.accepted ?? 0;
      }) ?? 0;
    for (let tries = 0; tries < 1000 && seen() === 0; tries++) await sleep(10);
    assert.equal(seen(), 3);
    assert.equal(process.geteuid?.(), 0, "and root's again after it");
    for (const name of fs.readdirSync(directory)) {
      assert.equal(
        fs.statSync(path.join(directory, name)).uid,
        UID,
        `${name} is the journal's own`,
      );
    }
    child.kill("SIGKILL");
    await once(child, "close");
    assert.equal(seen(), 3, "also when the journal is down");
    assert.equal(fs.statSync(flowsFile(directory)).uid, UID);
  } finally {
    child.kill("SIGKILL");
    fs.rmSync(root, { recursive: true });
  }
});
