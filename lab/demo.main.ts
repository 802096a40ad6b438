/**
 * `npm start`: the plant, the gateway between its parts, the story, and a live status until Ctrl-C. As root
 * in real rooms, otherwise in a user namespace, otherwise on loopback with a plain notice.
 */
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import {
  ask,
  denialLine,
  EventReader,
  eventsDir,
  fields,
  instanceNamed,
  isRefusal,
  runDoctor,
  statusText,
  stopGateway,
  supervisorPid,
  table,
} from "sallyport";
import { leftovers } from "./leftovers.ts";
import { Poller } from "./client.ts";
import { type Mode, NOT_ENFORCED, playStory, type RowResult } from "./story.ts";
import { buildSite, type Site } from "./site.ts";
import type { Plant } from "./topology.ts";

const EXIT = { ok: 0, failed: 1, degraded: 3, missing: 69, interrupted: 130 } as const;
const REFRESH_MS = 2000;
/** `program` → the Debian package that brings it. */
const PROGRAMS: Readonly<Record<string, string>> = {
  ip: "iproute2",
  nft: "nftables",
  bpftool: "bpftool",
  tcpdump: "tcpdump",
  conntrack: "conntrack",
  nmap: "nmap",
  setpriv: "util-linux",
};

const { values: options } = parseArgs({
  options: {
    once: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    "no-install": { type: "boolean", default: false },
    "require-enforced": { type: "boolean", default: false },
    inside: { type: "boolean", default: false },
    instance: { type: "string", default: "demo" },
  },
});
const INSTANCE = options.instance;
const PREFIX = `sp${INSTANCE}`;

const isRoot = process.getuid?.() === 0;
/** Set by Ctrl-C; a field, because it changes while loops wait. */
const run = { interrupted: false };

/** Talk goes to standard error, so that `--json` leaves standard output to the rows. */
function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

process.exitCode = await main();

async function main(): Promise<number> {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      run.interrupted = true;
    });
  }
  if (isRoot) {
    const missing = installMissing();
    if (missing !== undefined) {
      say(missing);
      return EXIT.missing;
    }
  } else if (!options.inside) {
    return enterUserNamespace();
  }
  return await demo(modeHere());
}

/** Says what it is about to install, then does; answers what is missing if it may or can not. */
function installMissing(): string | undefined {
  const found = (program: string): boolean =>
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].some((at) => fs.existsSync(path.join(at, program)));
  const packages = new Set(
    Object.keys(PROGRAMS)
      .filter((name) => !found(name))
      .map((name) => PROGRAMS[name] ?? name),
  );
  // Debian only recommends what the server side of pymodbus cannot be loaded without.
  const python = spawnSync("/usr/bin/python3", ["-c", "import pymodbus.server"]);
  if (python.status !== 0) packages.add("python3-pymodbus").add("python3-serial-asyncio");
  if (packages.size === 0) return undefined;
  const list = [...packages].join(" ");
  const by = `apt-get install -y ${list}`;
  if (options["no-install"]) return `Missing: ${list}. Install with: sudo ${by}`;
  say(`This machine lacks ${list}. Installing from Debian: ${by}`);
  for (const args of [
    ["update", "-q"],
    ["install", "-y", "-q", "--no-install-recommends", ...packages],
  ]) {
    const done = spawnSync("apt-get", args, { stdio: ["ignore", "ignore", "inherit"] });
    if (done.status !== 0) return `apt-get ${args[0] ?? ""} failed. Install by hand: sudo ${by}`;
  }
  return undefined;
}

/** Runs itself again as the same user with namespaces of its own; without those, on loopback. */
function enterUserNamespace(): number {
  // With a process namespace of its own all that it starts ends with it, whatever ends it.
  const alone = ["--pid", "--fork", "--kill-child", "--mount-proc"];
  const unshare = ["--user", "--map-current-user", "--keep-caps", "--net", "--mount", ...alone];
  const self = [process.execPath, import.meta.filename, ...process.argv.slice(2), "--inside"];
  const tryIt = spawnSync("unshare", [...unshare, "mount", "-t", "tmpfs", "tmpfs", "/run"]);
  if (tryIt.status !== 0) {
    say("Neither root nor user namespaces here: the plant runs on loopback ports.");
    say(
      "What a gate checks is enforced; packets, zones and routes are not. For all of it: sudo npm start",
    );
    const done = spawnSync(
      process.execPath,
      [path.join(import.meta.dirname, "loopback.main.ts"), ...process.argv.slice(2)],
      { stdio: "inherit" },
    );
    return done.status ?? EXIT.failed;
  }
  const root = fs.mkdtempSync("/tmp/sallyport-");
  try {
    const done = spawnSync("unshare", [...unshare, "--", ...self], {
      stdio: "inherit",
      env: { ...process.env, SALLYPORT_ROOT: root },
    });
    return done.status ?? EXIT.interrupted;
  } finally {
    fs.rmSync(root, { recursive: true, force: true });
  }
}

/** Which engines this machine can run, by having tried. */
function modeHere(): Mode {
  if (!isRoot) return "one-engine";
  const ebpf = runDoctor().find(({ name }) => name === "eBPF engine");
  return ebpf?.state === "ok" ? "kernel" : "one-engine";
}

async function demo(mode: Mode): Promise<number> {
  if (options.inside) {
    spawnSync("mount", ["-t", "tmpfs", "tmpfs", "/run"]);
    fs.mkdirSync("/run/netns", { recursive: true });
  }
  const instance = instanceNamed(INSTANCE);
  const running = demoPid();
  if (running !== undefined) {
    say(
      `The demo is running already (process ${running}). Stop it with Ctrl-C there, or look at it: sallyport status --instance ${INSTANCE}`,
    );
    return EXIT.failed;
  }
  await cleanLeftovers();
  fs.mkdirSync(instance.runDir, { recursive: true });
  fs.writeFileSync(pidFile(), String(process.pid));
  let site: Site | undefined;
  try {
    say(
      `Building the plant (${mode === "kernel" ? "root: rooms, nftables outside, eBPF inside" : "degraded: one rule engine, one uid"}) …`,
    );
    site = await buildSite({ name: INSTANCE, mode });
    const { plant, product, policy } = site;
    const results = await playStory(product, plant, showRow, { policy });
    const code = conclude(results);
    if (!options.once && !run.interrupted) await live(plant);
    return options.once ? code : EXIT.ok;
  } catch (error) {
    say(`demo: ${error instanceof Error ? error.message : String(error)}`);
    return EXIT.failed;
  } finally {
    await site?.destroy();
    fs.rmSync(pidFile(), { force: true });
  }
}

function pidFile(): string {
  return path.join(path.dirname(instanceNamed(INSTANCE).runDir), `${INSTANCE}.pid`);
}

function demoPid(): number | undefined {
  try {
    const pid = Number(fs.readFileSync(pidFile(), "utf8"));
    const command = fs.readFileSync(`/proc/${pid}/cmdline`, "utf8");
    return command.includes("demo.main.ts") && pid !== process.pid ? pid : undefined;
  } catch {
    return undefined;
  }
}

/** What a killed demo left: its processes, rooms, plant and files. */
async function cleanLeftovers(): Promise<void> {
  const instance = instanceNamed(INSTANCE);
  const hasGateway = supervisorPid(instance) !== undefined || fs.existsSync(instance.stateDir);
  if (hasGateway) {
    say("A demo that was killed left things behind: cleaning them.");
    await stopGateway(instance).catch(() => undefined);
    fs.rmSync(instance.stateDir, { recursive: true, force: true });
  }
  await leftovers(new RegExp(`^${PREFIX}$`));
}

function showRow(row: RowResult): void {
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ type: "row", ...row })}\n`);
    return;
  }
  const mark = row.ok ? "ok  " : row.enforced ? "FAIL" : "--  ";
  say(
    `${mark} ${row.what}${row.ok ? `: ${row.expected}` : `: expected ${row.expected}; seen ${row.seen}`}`,
  );
}

/** The table expected / seen, and the exit code that it deserves. */
function conclude(results: readonly RowResult[]): number {
  const wrong = results.filter((row) => row.enforced && !row.ok);
  const left = results.filter((row) => !row.enforced);
  if (options.json) {
    const summary = { rows: results.length, wrong: wrong.length, notEnforced: left.length };
    process.stdout.write(`${JSON.stringify({ type: "summary", ...summary })}\n`);
  } else {
    // Zones and conduits stand in the lines above; the table is to be read at a glance.
    const rows = results.map((row) => [
      row.what,
      row.expected.replace(/ \(.*\)$/, ""),
      row.enforced ? (row.ok ? "same" : row.seen) : NOT_ENFORCED,
    ]);
    process.stdout.write(`\n${table(["what", "expected", "seen"], rows)}\n`);
    process.stdout.write(
      `\n${results.length - wrong.length - left.length} as expected, ${wrong.length} not, ${left.length} not enforced here\n`,
    );
  }
  if (wrong.length > 0) return EXIT.failed;
  return left.length > 0 && options["require-enforced"] ? EXIT.degraded : EXIT.ok;
}

/** Keeps ordinary traffic going and shows the status until Ctrl-C. */
async function live(plant: Plant): Promise<void> {
  const instance = instanceNamed(INSTANCE);
  const polls = [
    new Poller(
      plant,
      "hmi",
      { address: "10.41.0.10", port: 502 },
      { area: "input", address: 0, count: 1 },
      { intervalMs: 1000, seconds: 86_400, reconnect: true },
    ),
    new Poller(
      plant,
      "erp",
      { address: "10.41.0.10", port: 502 },
      { area: "input", address: 0, count: 4 },
      { intervalMs: 2000, seconds: 86_400, reconnect: true },
    ),
  ];
  const reader = new EventReader(eventsDir(instance));
  let recent: string[] = [];
  try {
    while (!run.interrupted) {
      const status = await ask(instance.name, { type: "status" });
      const news = reader.poll().filter(isRefusal).map(denialLine);
      recent = [...recent, ...news].slice(-8);
      const level = polls[0]?.goodSince(0)?.values?.[0];
      if (options.json)
        process.stdout.write(`${JSON.stringify({ type: "status", ...fields(status) })}\n`);
      else {
        process.stdout.write(`\u001b[2J\u001b[H${statusText(status)}\n`);
        process.stdout.write(
          `tank level as the HMI sees it: ${level ?? "no answer"}\n\nlast denials:\n${recent.join("\n")}\n`,
        );
        process.stdout.write(
          `\nTry: node packages/sallyport/bin/sallyport.mjs status --instance ${INSTANCE}\nStop: Ctrl-C (removes everything it made)\n`,
        );
      }
      for (let waited = 0; waited < REFRESH_MS && !run.interrupted; waited += 100) await sleep(100);
    }
  } finally {
    await Promise.all(polls.map((poller) => poller.stop()));
  }
}
