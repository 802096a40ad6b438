import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

const SKIP =
  process.getuid?.() === 0 ? false : "needs root: it starts the demo as root and as nobody";
/** Debian's `nobody`. */
const NOBODY = 65534;
const BOOT = path.join(import.meta.dirname, "../boot.mjs");
/** The story is bounded by a minute; building, cleaning and a busy machine come on top. */
const RUN_MAX_MS = 180_000;

/** In a directory that only root can enter, nobody else has a checkout to start. */
const SKIP_NOBODY =
  SKIP !== false ||
  spawnSync(process.execPath, ["-e", "0"], { uid: NOBODY, gid: NOBODY }).status === 0
    ? SKIP
    : "only its owner can enter the directory of this checkout: another user cannot run it";
/** Beside a demo that a person runs on this machine. */
const INSTANCE = `t${process.pid}`;

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

class Demo {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  out = "";
  err = "";

  constructor(args: readonly string[], uid?: number) {
    this.child = spawn(process.execPath, [BOOT, "demo", "--instance", INSTANCE, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      ...(uid === undefined ? {} : { uid, gid: uid, env: { PATH: process.env["PATH"] ?? "" } }),
    });
    this.child.stdout?.on("data", (chunk: Buffer) => {
      this.out += chunk.toString("utf8");
    });
    this.child.stderr?.on("data", (chunk: Buffer) => {
      this.err += chunk.toString("utf8");
    });
    const timer = setTimeout(() => this.child.kill("SIGKILL"), RUN_MAX_MS);
    this.ended = new Promise((resolve) => {
      this.child.once("close", (code) => {
        clearTimeout(timer);
        resolve({ code, out: this.out, err: this.err });
      });
    });
  }

  async said(text: RegExp): Promise<void> {
    for (let tries = 0; tries < 600; tries++) {
      if (text.test(this.err) || text.test(this.out)) return;
      await sleep(100);
    }
    assert.fail(`the demo never said ${String(text)}:\n${this.err}\n${this.out}`);
  }
}

interface Line {
  readonly type: string;
  readonly id?: string;
  readonly ok?: boolean;
  readonly enforced?: boolean;
  readonly seen?: string;
}

function rowsOf(out: string): Line[] {
  const lines = out.split("\n").filter((line) => line.startsWith("{"));
  return lines.map((line) => JSON.parse(line) as Line).filter(({ type }) => type === "row");
}

function leftBehind(): string[] {
  const names = fs.existsSync("/run/netns") ? fs.readdirSync("/run/netns") : [];
  const rooms = names.filter((name) => new RegExp(`^sp-?${INSTANCE}-`).test(name));
  const mounts = fs
    .readFileSync("/proc/mounts", "utf8")
    .split("\n")
    .filter((line) => line.includes(`/run/sallyport/${INSTANCE}`));
  const files = [`/run/sallyport/${INSTANCE}`, `/var/lib/sallyport/${INSTANCE}`].filter((at) =>
    fs.existsSync(at),
  );
  return [...rooms, ...mounts, ...files];
}

test("npm start -- --once plays the whole story as root, a second one beside it says so, and nothing stays", {
  skip: SKIP,
}, async () => {
  const first = new Demo(["--once", "--json", "--no-install", "--require-enforced"]);
  await first.said(/"type":"row"/);
  const second = await new Demo(["--once"]).ended;
  assert.equal(second.code, 1);
  assert.match(second.err, /running already \(process \d+\)/);
  const { code, out, err } = await first.ended;
  const rows = rowsOf(out);
  assert.deepEqual(
    rows.filter(({ ok }) => ok !== true),
    [],
    err,
  );
  assert.ok(rows.length >= 20);
  assert.equal(code, 0);
  assert.deepEqual(leftBehind(), []);
});

test("what a killed demo left is found and cleaned by the next one, and Ctrl-C leaves nothing", {
  skip: SKIP,
}, async () => {
  const killed = new Demo(["--json", "--no-install"]);
  await killed.said(/"type":"row"/);
  const main = spawnSync("pgrep", ["-f", `lab/demo.main.ts.*${INSTANCE}`], { encoding: "utf8" })
    .stdout.trim()
    .split("\n");
  for (const pid of main.map(Number)) process.kill(pid, "SIGKILL");
  await killed.ended;
  assert.notDeepEqual(leftBehind(), [], "the kill came too late to leave anything");
  const next = new Demo(["--json", "--no-install"]);
  await next.said(/"type":"row"/);
  assert.match(next.err, /left things behind: cleaning/);
  next.child.kill("SIGINT");
  await next.ended;
  assert.deepEqual(leftBehind(), []);
});

test("without root the same story runs in a user namespace and says what is not enforced", {
  skip: SKIP_NOBODY,
}, async () => {
  const { code, out, err } = await new Demo(["--once", "--json", "--require-enforced"], NOBODY)
    .ended;
  const rows = rowsOf(out);
  assert.match(err, /degraded: one rule engine, one uid/);
  assert.deepEqual(
    rows.filter(({ ok, enforced }) => ok !== true && enforced !== false),
    [],
    err,
  );
  assert.deepEqual(
    rows
      .filter(({ enforced }) => enforced === false)
      .map(({ id, seen }) => `${id ?? ""}: ${seen ?? ""}`),
    ["program-detached: not enforced here"],
  );
  assert.equal(code, 3);
});

test("a demo without root that is killed takes all its processes with it", {
  skip: SKIP_NOBODY,
}, async () => {
  const demo = new Demo(["--json"], NOBODY);
  await demo.said(/"type":"row"/);
  const processes = (pattern: string): number[] =>
    spawnSync("pgrep", ["-f", pattern, "-u", String(NOBODY)], { encoding: "utf8" })
      .stdout.split("\n")
      .filter((line) => line !== "")
      .map(Number);
  assert.ok(processes(`supervisor.main.ts ${INSTANCE}`).length > 0);
  for (const pid of processes(`lab/demo.main.ts.*${INSTANCE}`)) {
    // The second goes with the first, which is what is tried here.
    if (fs.existsSync(`/proc/${pid}`)) process.kill(pid, "SIGKILL");
  }
  demo.child.kill("SIGKILL");
  await demo.ended;
  for (let tries = 0; tries < 100 && processes(INSTANCE).length > 0; tries++) await sleep(100);
  assert.deepEqual(processes(INSTANCE), []);
});
