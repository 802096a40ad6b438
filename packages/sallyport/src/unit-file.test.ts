import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";

const UNIT = path.join(import.meta.dirname, "../../../packaging/systemd/sallyport.service");

test("systemd accepts the unit file as it stands", (t) => {
  if (spawnSync("systemd-analyze", ["--version"]).status !== 0) {
    t.skip("needs systemd-analyze (apt-get install systemd)");
    return;
  }
  // Everything but the path of the program, which is only there on an installed system.
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-unit-"));
  try {
    const text = fs.readFileSync(UNIT, "utf8");
    assert.match(text, /^ExecStart=\/usr\/bin\/sallyport up --boot$/m);
    const copy = path.join(directory, "sallyport.service");
    fs.writeFileSync(copy, text.replace("/usr/bin/sallyport", "/usr/bin/true"));
    const done = spawnSync("systemd-analyze", ["verify", copy], { encoding: "utf8" });
    const about = `${done.stdout}${done.stderr}`
      .split("\n")
      .filter((line) => line.includes("sallyport"));
    assert.deepEqual(about, []);
    assert.equal(done.status, 0);
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
});

test("no line of the unit file gives the gateway a mount namespace, in which its rooms would be lost", () => {
  const text = fs.readFileSync(UNIT, "utf8");
  // systemd.exec(5): sandboxing by mounts; a restart would then find names without rooms behind them.
  const mounting =
    /^(Protect|Private|(ReadOnly|ReadWrite|Inaccessible|Exec|NoExec)Paths|Bind|TemporaryFileSystem|MountFlags|Root|DynamicUser|ProcSubset)/;
  const lines = text.split("\n").filter((line) => /^[A-Z]\w*=/.test(line));
  assert.ok(lines.length > 15, `${lines.length} lines`);
  assert.deepEqual(
    lines.filter((line) => mounting.test(line)),
    [],
  );
});
