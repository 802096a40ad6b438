import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Json, SallyportError } from "@sallyport/core";
import { openEnforcement } from "@sallyport/enforce";
import { starterPolicy } from "@sallyport/policy";
import { type Disk, diskOf, diskSentence } from "../disk.ts";
import { type Finding, runDoctor } from "../doctor.ts";
import { EventReader, type StoredEvent } from "../event-reader.ts";
import { eventsDir, type Instance, instanceNamed } from "../instance.ts";
import { doctorFile } from "../own-places.ts";
import { type Command, EXIT, type Invocation } from "./command.ts";
import { completion } from "./dispatch.ts";
import { ask, fields, listOf } from "./enforcer-client.ts";
import { release } from "./release.ts";
import { statusText } from "./status-text.ts";

const ROOT = path.resolve(import.meta.dirname, "../../../..");
/** A boot with 10,000 conduits on a slow disk stays well below. */
const UP_MAX_MS = 30_000;
/** On a machine so busy that it takes longer: as long as nothing has ended, it still starts. */
const UP_SLOW_MAX_MS = 180_000;
const UP_POLL_MS = 50;

export const up: Command = {
  name: "up",
  args: "",
  help: "Starts the gateway with its last confirmed generation; with none, it waits for the first `apply`.",
  flags: {
    boot: { type: "boolean", help: "stay in the foreground, as a unit file wants" },
    "host-netns": { type: "string", value: "PATH", help: "where the NICs are (default: here)" },
  },
  async run(invocation) {
    const instance = instanceNamed(invocation.instance);
    const pid = supervisorPid(instance);
    if (pid !== undefined) {
      throw new SallyportError(
        "already-running",
        `the gateway is running already (process ${pid})`,
        {
          hint: "sallyport status, or sallyport down to stop it",
        },
      );
    }
    if (process.getuid?.() !== 0) {
      throw new SallyportError("needs-root", "rooms and rules are root's to make", {
        hint: "sudo sallyport up, or see the plant without root: npm start",
      });
    }
    await startSupervisor(instance, {
      hostNetns: invocation.text("host-netns") ?? `/proc/${process.pid}/ns/net`,
      foreground: invocation.flag("boot"),
    });
    const status = await ask(instance.name, { type: "status" });
    invocation.result(status, statusText(status));
    return EXIT.ok;
  },
};

/** Starts the supervisor and waits until the enforcer answers. */
export async function startSupervisor(
  instance: Instance,
  options: { readonly hostNetns: string; readonly foreground: boolean },
): Promise<void> {
  fs.mkdirSync(instance.runDir, { recursive: true });
  fs.mkdirSync(instance.stateDir, { recursive: true });
  const main = path.join(ROOT, "packages/sallyport/src/supervisor.main.ts");
  const args = ["--disable-sigusr1", main, instance.name, ROOT, options.hostNetns];
  if (options.foreground) {
    const child = spawn(process.execPath, args, { stdio: "inherit" });
    for (const signal of ["SIGTERM", "SIGINT"] as const)
      process.on(signal, () => child.kill(signal));
    await new Promise((resolve) => child.once("exit", resolve));
    process.exit(child.exitCode ?? EXIT.failed);
  }
  const log = fs.openSync(path.join(instance.stateDir, "supervisor.log"), "a", 0o600);
  const child = spawn(process.execPath, args, { stdio: ["ignore", log, log], detached: true });
  fs.closeSync(log);
  child.unref();
  const started = Date.now();
  for (;;) {
    await sleep(UP_POLL_MS);
    try {
      await ask(instance.name, { type: "status" });
      return;
    } catch (error) {
      const waiting = error instanceof SallyportError && error.code === "not-running";
      if (!waiting) throw error;
      const ranMs = Date.now() - started;
      const isSlow = (): boolean =>
        ranMs < UP_SLOW_MAX_MS && endsOf(instance, started).length === 0;
      if (child.exitCode === null && (ranMs < UP_MAX_MS || isSlow())) continue;
      throw new SallyportError("gateway-not-started", whyNotStarted(instance, started), {
        cause: error,
        hint: "sallyport doctor",
      });
    }
  }
}

/** The enforcer's ends since then. */
function endsOf(instance: Instance, since: number): readonly StoredEvent[] {
  return new EventReader(eventsDir(instance))
    .poll()
    .filter((event) => event.type === "process-ended" && event["worker"] === "enforcer")
    .filter(({ at }) => Date.parse(at) >= since);
}

/** What the supervisor, or a process that it started, said last. */
function whyNotStarted(instance: Instance, since: number): string {
  const log = fs.readFileSync(path.join(instance.stateDir, "supervisor.log"), "utf8");
  const complaint = endsOf(instance, since).at(-1)?.["complaint"];
  const said = typeof complaint === "string" && complaint !== "" ? complaint : log.trim();
  return `the gateway did not start: ${said.split("\n").at(-1) || "no reason was given"}`;
}

/** The pid of a live supervisor of this instance, by its pid file and what /proc says it runs. */
export function supervisorPid(instance: Instance): number | undefined {
  try {
    const pid = Number(fs.readFileSync(path.join(instance.runDir, "supervisor.pid"), "utf8"));
    const command = fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    const ours = command.some((word) => word.endsWith("supervisor.main.ts"));
    return ours && command.includes(instance.name) ? pid : undefined;
  } catch {
    return undefined;
  }
}

export const down: Command = {
  name: "down",
  args: "",
  help: "Stops the gateway and removes rooms, rules and mounts. NICs go back to the host, down; policy and events stay.",
  flags: {},
  async run(invocation) {
    const instance = instanceNamed(invocation.instance);
    await stopGateway(instance);
    invocation.result(
      { stopped: true, state: instance.stateDir },
      `The gateway is stopped: no room, rule or mount is left. Its policy and events stay in ${instance.stateDir}.`,
    );
    return EXIT.ok;
  },
};

/** Idempotent: also removes what a killed gateway left behind. */
export async function stopGateway(
  instance: Instance,
  hostNetns: string = `/proc/${process.pid}/ns/net`,
): Promise<void> {
  if (!fs.existsSync(instance.runDir)) return;
  let isDown = true;
  try {
    await ask(instance.name, { type: "down" });
  } catch {
    isDown = false;
  }
  const pid = supervisorPid(instance);
  if (pid !== undefined) {
    process.kill(pid, "SIGTERM");
    for (
      let tries = 0;
      tries < UP_MAX_MS / UP_POLL_MS && supervisorPid(instance) !== undefined;
      tries++
    ) {
      await sleep(UP_POLL_MS);
    }
    // One that hangs hears nothing; all that it started goes with it.
    if (supervisorPid(instance) === pid) process.kill(pid, "SIGKILL");
  }
  if (!isDown) {
    // Nobody is there to ask any more: what was left is removed by the enforcer's own code, here.
    const place = { instance, hostNetns, oneEngine: process.getuid?.() !== 0 };
    const enforcement = await openEnforcement(place, { clock: Date.now, guardCommand: [] });
    await enforcement.down();
  }
  unmountAll(instance.runDir);
  fs.rmSync(instance.runDir, { recursive: true, force: true });
}

/**
 * One that was busy as the gateway started again has another upon it. What is mounted below is the code
 * that runs this: as long as any of it is there, nothing may be removed.
 */
function unmountAll(directory: string): void {
  const mounted = (): string[] =>
    fs
      .readFileSync("/proc/self/mounts", "utf8")
      .split("\n")
      .map((line) => line.split(" ")[1] ?? "")
      .filter((at) => at.startsWith(`${directory}/`));
  for (const at of mounted().reverse()) spawnSync("umount", ["-q", "-l", at]);
  const left = mounted();
  if (left.length === 0) return;
  throw new SallyportError("mount-left", `${left.join(", ")} cannot be unmounted`, {
    hint: "unmount it by hand, then again: sallyport down",
  });
}

export const status: Command = {
  name: "status",
  args: "",
  help: "What is in force: generation, conduits and their counters, grants, islands, what is degraded. Exits 3 if anything is.",
  flags: { watch: { type: "boolean", help: "refresh every two seconds until Ctrl-C" } },
  async run(invocation) {
    for (;;) {
      const answer = withDisk(
        await ask(invocation.instance, { type: "status" }),
        diskOf(instanceNamed(invocation.instance).stateDir),
      );
      if (invocation.flag("watch") && !invocation.json)
        invocation.result(answer, `\u001b[2J\u001b[H${statusText(answer)}`);
      else invocation.result(answer, statusText(answer));
      if (!invocation.flag("watch")) {
        const degraded =
          typeof answer === "object" &&
          answer !== null &&
          "degraded" in answer &&
          answer["degraded"];
        return Array.isArray(degraded) && degraded.length > 0 ? EXIT.degraded : EXIT.ok;
      }
      await sleep(2000);
    }
  },
};

/** What is degraded by the disk is said with all else that is. */
function withDisk(answer: Json, disk: Disk): Json {
  const { degraded, ...rest } = fields(answer);
  const sentence = diskSentence(disk);
  const all = [...listOf(degraded), ...(sentence === undefined ? [] : [sentence])];
  const told: Readonly<Record<string, Json | undefined>> = {
    ...rest,
    degraded: all,
    disk: { ...disk },
  };
  return Object.fromEntries(
    Object.entries(told).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}

function diskFindings(name: string): readonly Finding[] {
  const { stateDir } = instanceNamed(name);
  if (!fs.existsSync(stateDir)) return [];
  const disk = diskOf(stateDir);
  const seen = diskSentence(disk);
  return [
    {
      name: "disk of the state",
      state: seen === undefined ? "ok" : "degraded",
      seen: seen ?? `${disk.usedPercent} % used`,
      why: "acts that must be recorded are refused where they cannot be",
      fix: `make room on the disk of ${stateDir}: df ${stateDir}`,
    },
  ];
}

export const doctor: Command = {
  name: "doctor",
  args: "",
  help: "Tries each kernel feature in a throw-away namespace and prints the exact fix. Exits 3 if degraded, 1 if blocked.",
  flags: {},
  async run(invocation) {
    const findings = [...runDoctor(), ...diskFindings(invocation.instance)];
    noteForApi(instanceNamed(invocation.instance), findings);
    const mark = { ok: "ok      ", degraded: "degraded", blocked: "BLOCKED " };
    const lines = findings.map(({ name, state, seen, why, fix }) =>
      state === "ok"
        ? `${mark[state]}  ${name}`
        : `${mark[state]}  ${name}: ${seen}\n            why: ${why}\n            fix: ${fix}`,
    );
    invocation.result(findings, lines.join("\n"));
    if (findings.some(({ state }) => state === "blocked")) return EXIT.failed;
    return findings.some(({ state }) => state === "degraded") ? EXIT.degraded : EXIT.ok;
  },
};

/** The API repeats what root found; whoever is not root tried another thing: a namespace of their own. */
function noteForApi(instance: Instance, findings: readonly Finding[]): void {
  if (process.getuid?.() !== 0 || !fs.existsSync(instance.stateDir)) return;
  const text = JSON.stringify({ at: new Date().toISOString(), findings });
  const file = doctorFile(instance);
  fs.writeFileSync(`${file}.new`, text, { mode: 0o644 });
  fs.renameSync(`${file}.new`, file);
}

export const init: Command = {
  name: "init",
  args: "[FILE]",
  help: "Writes a commented starter policy from this machine's real NICs. Never overwrites.",
  flags: {},
  async run(invocation) {
    const file = invocation.args[0] ?? "site.yaml";
    const text = starterPolicy(realNics());
    try {
      fs.writeFileSync(file, text, { flag: "wx", mode: 0o644 });
    } catch (cause) {
      throw new SallyportError("file-exists", `${file} cannot be written, or is there already`, {
        cause,
        hint: "name another file: sallyport init other.yaml",
      });
    }
    invocation.result(
      { file },
      `${file} is written. Read it, mend it, then: sallyport policy validate ${file}`,
    );
    return EXIT.ok;
  },
};

/** Network cards with a device behind them: not loopback, not virtual. */
function realNics(): string[] {
  const at = "/sys/class/net";
  if (!fs.existsSync(at)) return [];
  return fs
    .readdirSync(at)
    .filter((name) => fs.existsSync(path.join(at, name, "device")))
    .sort();
}

export const demo: Command = {
  name: "demo",
  args: "",
  help: "The simulated plant: builds it, applies its policy, plays its story, shows live status until Ctrl-C.",
  flags: {
    once: { type: "boolean", help: "play the story once, print expected and seen, and end" },
    "no-install": { type: "boolean", help: "do not install missing Debian packages" },
    "require-enforced": {
      type: "boolean",
      help: "exit 3 if this machine cannot enforce every row",
    },
  },
  async run(invocation: Invocation) {
    const main = path.join(ROOT, "lab/demo.main.ts");
    if (!fs.existsSync(main)) {
      throw new SallyportError("demo-not-here", "this installation has no demo plant", {
        hint: "the demo is in the source: git clone, then npm start",
      });
    }
    const flags = ["once", "no-install", "require-enforced", "json"].filter(
      (flag) => invocation.flag(flag) || (flag === "json" && invocation.json),
    );
    const name = invocation.text("instance");
    const args = [
      ...flags.map((flag) => `--${flag}`),
      ...(name === undefined ? [] : ["--instance", name]),
    ];
    const child = spawn(process.execPath, [main, ...args], { stdio: "inherit" });
    // This process waits for the demo to clean up. A terminal's Ctrl-C reaches both; twice is once.
    for (const signal of ["SIGINT", "SIGTERM"] as const)
      process.on(signal, () => child.kill(signal));
    const code = await new Promise<number>((resolve) => {
      child.once("error", () => resolve(EXIT.failed));
      child.once("exit", (exit, signal) =>
        resolve(exit ?? (signal === "SIGINT" ? EXIT.interrupted : EXIT.failed)),
      );
    });
    process.exit(code);
  },
};

export const version: Command = {
  name: "version",
  args: "",
  help: "The version of Sallyport and of the Node it runs on.",
  flags: {},
  async run(invocation) {
    const own = release();
    invocation.result(
      { sallyport: own, node: process.versions.node },
      `sallyport ${own} (Node ${process.versions.node})`,
    );
    return EXIT.ok;
  },
};

export function completionCommand(all: () => readonly Command[]): Command {
  return {
    name: "completion",
    args: "bash|zsh",
    help: "Prints completion for a shell: source it from the shell's start-up file.",
    flags: {},
    async run(invocation) {
      invocation.result(undefined, completion(all(), invocation.args[0] ?? "bash"));
      return EXIT.ok;
    },
  };
}
