#!/usr/bin/env node
// The first thing that runs, on whatever Node the machine has (18 or later), with built-ins only:
// installs what the lockfile pins, finds a Node that runs TypeScript, and hands over to it.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const BOOT_NODE_MIN = 18;
const NODE_MIN = 24;
/** sysexits.h EX_UNAVAILABLE: something this command needs is missing. */
const EXIT_MISSING = 69;
/** A full install on a slow disk stays well under this; a second one waits no longer for it. */
const INSTALL_WAIT_MS = 10 * 60 * 1000;
const LOCK_POLL_MS = 250;

const root = path.dirname(fileURLToPath(import.meta.url));
const modules = path.join(root, "node_modules");
const stampFile = path.join(modules, ".sallyport-stamp");
const lockDirectory = path.join(root, ".install.lock");

const VERBS = {
  screenshots: ["packages/sallyport/src/control/screenshots.test-main.ts"],
  demo: ["packages/sallyport/src/main.ts", "demo"],
  test: ["tools/test.ts"],
  check: ["tools/check.ts"],
  bench: ["bench/run.ts"],
};
/** What shows or tests the console; a policy is checked without waiting for it. */
const BUILDS = new Set(["demo", "test", "screenshots", "up"]);
const PRODUCT = "packages/sallyport/src/main.ts";
const consoleDirectory = path.join(root, "packages/console");

/** Ends with one sentence on what is missing, and one on how to get it. */
function missing(what, how) {
  process.stderr.write(`sallyport: ${what}. ${how}\n`);
  process.exit(EXIT_MISSING);
}

function read(file) {
  try {
    return fs.readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}

/** The lockfile and the machine decide what is installed; nothing else does. */
function wantedStamp() {
  const lockfile = read(path.join(root, "package-lock.json"));
  if (lockfile === undefined) {
    missing("package-lock.json cannot be read", "Get a complete copy of the repository.");
  }
  return createHash("sha256")
    .update(`${process.platform}-${process.arch}\n${lockfile}`)
    .digest("hex");
}

/**
 * Whether npm itself last left exactly what the lockfile pins, as after `npm install <package>`.
 * Then nothing needs to be removed and fetched again under the feet of processes that run from it.
 */
function installedByHand() {
  const installed = read(path.join(modules, ".package-lock.json"));
  const wanted = read(path.join(root, "package-lock.json"));
  if (installed === undefined || wanted === undefined) return false;
  const present = JSON.parse(installed).packages;
  const pinned = JSON.parse(wanted).packages;
  const isSame = (name) =>
    present[name] !== undefined &&
    pinned[name] !== undefined &&
    present[name].integrity === pinned[name].integrity &&
    present[name].version === pinned[name].version;
  return (
    Object.keys(present).every((name) => isSame(name) || present[name].link === true) &&
    Object.keys(pinned).every(
      (name) => !name.startsWith("node_modules/") || isSame(name) || pinned[name].optional === true,
    ) &&
    Object.keys(pinned).every((name) => pinned[name].link !== true || present[name]?.link === true)
  );
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

function sleep(milliseconds) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

/** Two commands started at once must not both rebuild node_modules; false when another has. */
function takeInstallLock() {
  const owner = path.join(lockDirectory, "pid");
  const giveUpAt = Date.now() + INSTALL_WAIT_MS;
  let waited = false;
  for (;;) {
    try {
      fs.mkdirSync(lockDirectory);
      fs.writeFileSync(owner, String(process.pid));
      return !waited || read(stampFile) !== wantedStamp();
    } catch (error) {
      if (error.code !== "EEXIST") {
        missing(
          `packages must be installed, but ${root} is not writable (${error.code})`,
          "Run the same command once as the owner of this directory.",
        );
      }
    }
    waited = true;
    const pid = Number(read(owner) ?? 0);
    if (Date.now() > giveUpAt) {
      missing(
        "another installation has not ended",
        `Remove ${lockDirectory} if none is running, and try again.`,
      );
    }
    if (pid > 0 && !isAlive(pid)) fs.rmSync(lockDirectory, { recursive: true, force: true });
    else sleep(LOCK_POLL_MS);
  }
}

function install() {
  const wanted = wantedStamp();
  if (read(stampFile) === wanted) return;
  const isOurs = takeInstallLock();
  const release = () => fs.rmSync(lockDirectory, { recursive: true, force: true });
  process.on("exit", release);
  if (isOurs) {
    if (!installedByHand()) {
      process.stderr.write("sallyport: installing the packages that package-lock.json pins…\n");
      npmCi();
    }
    fs.writeFileSync(stampFile, wanted);
  }
  release();
  process.off("exit", release);
}

function npmCi() {
  // npm names itself to the scripts it runs; started without npm, it is looked up in PATH.
  const npmScript = process.env.npm_execpath;
  const [command, ...before] = npmScript?.endsWith(".js") ? [process.execPath, npmScript] : ["npm"];
  const run = spawnSync(command, [...before, "ci", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: root,
    // stdout belongs to the command that follows.
    stdio: ["ignore", 2, 2],
  });
  if (run.error !== undefined) {
    missing(
      `npm could not be started (${run.error.code})`,
      "Install it with Node.js, on Debian by: apt-get install npm.",
    );
  }
  if (run.status !== 0) {
    missing(
      "the pinned packages could not be installed (npm's reason is above)",
      "Reach a package registry or a mirror of it (npm config set registry URL), and try again.",
    );
  }
}

/** The system's Node when it is new enough, else the one that the lockfile pins. */
function findNode() {
  if (Number(process.versions.node.split(".")[0]) >= NODE_MIN) return process.execPath;
  const pinned = path.join(modules, `node-${process.platform}-${process.arch}`, "bin", "node");
  const probe = spawnSync(pinned, ["--version"], { encoding: "utf8" });
  if (probe.status === 0 && Number(/^v(\d+)/.exec(probe.stdout)?.[1]) >= NODE_MIN) return pinned;
  const reason = probe.error?.code ?? `exit ${probe.status}`;
  return missing(
    `Node ${NODE_MIN} or later is needed, this is ${process.versions.node}, and none is packaged ` +
      `for ${process.platform}-${process.arch} (${reason})`,
    `Install Node ${NODE_MIN} and run the same command with it.`,
  );
}

function digestTree(hash, directory) {
  const entries = fs.readdirSync(directory, { withFileTypes: true });
  for (const entry of entries.sort((one, other) => (one.name < other.name ? -1 : 1))) {
    const file = path.join(directory, entry.name);
    if (entry.isDirectory()) digestTree(hash, file);
    else if (!entry.name.includes(".test"))
      hash.update(`${entry.name}\n`).update(fs.readFileSync(file));
  }
}

/** The console's files are built from its sources and the pinned packages; nothing else makes them stale. */
function buildConsole(node) {
  const hash = createHash("sha256").update(wantedStamp());
  try {
    hash.update(fs.readFileSync(path.join(consoleDirectory, "bundle.mjs")));
    for (const part of ["src", "static"]) digestTree(hash, path.join(consoleDirectory, part));
  } catch {
    return;
  }
  const wanted = hash.digest("hex");
  if (read(path.join(consoleDirectory, "dist/.stamp")) === wanted) return;
  const run = spawnSync(node, [path.join(consoleDirectory, "bundle.mjs"), wanted], {
    cwd: root,
    stdio: ["ignore", 2, 2],
  });
  if (run.status === 0) return;
  // Everything but the pages works without it, and a gateway must start.
  process.stderr.write(
    "sallyport: the console could not be built (the reason is above); the API works\n",
  );
}

/** Becomes the command as far as a process can: its signals, its exit code, its death. */
function handOver(node, args) {
  // npm puts node_modules/.bin first: there a dependency could pass for `ip` or `nft`.
  const searchPath = (process.env.PATH ?? "")
    .split(path.delimiter)
    .filter((entry) => !entry.endsWith(path.join("node_modules", ".bin")))
    .join(path.delimiter);
  const environment = { ...process.env, PATH: searchPath };
  const child = spawn(node, args, { stdio: "inherit", env: environment });
  const forward = (signal) => child.kill(signal);
  for (const signal of ["SIGTERM", "SIGHUP", "SIGUSR2"]) process.on(signal, forward);
  for (const signal of ["SIGINT", "SIGQUIT"]) {
    // From a terminal the kernel has already sent these to the whole group; twice means "at once".
    process.on(signal, () => {
      if (!process.stdin.isTTY) forward(signal);
    });
  }
  child.on("error", (error) => missing(`${node} did not start (${error.code})`, "Reinstall it."));
  child.on("exit", (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
    // Reached only for signals that do not end a process.
    setTimeout(() => process.exit(1), 1000);
  });
}

function main() {
  if (Number(process.versions.node.split(".")[0]) < BOOT_NODE_MIN) {
    missing(
      `Node ${BOOT_NODE_MIN} or later is needed to start, and this is ${process.versions.node}`,
      `Install Node ${NODE_MIN}, or any from ${BOOT_NODE_MIN} on: the right one is then fetched.`,
    );
  }
  const [first, ...rest] = process.argv.slice(2);
  const isVerb = first !== undefined && Object.hasOwn(VERBS, first);
  const [script, ...before] = isVerb ? VERBS[first] : [PRODUCT];
  const after = isVerb || first === "--" ? rest : process.argv.slice(2);
  const file = path.join(root, script);
  install();
  if (!fs.existsSync(file))
    missing(`${script} is not here`, "Get a complete copy of the repository.");
  const node = findNode();
  if (BUILDS.has(isVerb ? first : after[0])) buildConsole(node);
  handOver(node, [file, ...before, ...after]);
}

main();
