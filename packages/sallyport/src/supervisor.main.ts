/**
 * The supervisor: mounts the code where every uid can read it, starts the enforcer, and starts each
 * worker in the room that the enforcer made for it. It opens nothing and decides nothing.
 */
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { caged } from "./cage.ts";
import { EventLog } from "./event-log.ts";
import { doorOf, eventsDir, exportsDir, type Instance, instanceNamed } from "./instance.ts";
import type { RoomsStand } from "./supervisor-messages.ts";
import { Worker } from "./worker.ts";

/** A worker's event file is cut to nothing above this: newer events matter more than a full disk. */
const OUTPUT_MAX_BYTES = 32 * 1024 * 1024;
const OUTPUT_CHECK_MS = 10_000;
const UID_FIRST = 1_700_000;
const UIDS_PER_INSTANCE = 256;

const [name = "main", codeFrom = "", hostNetns = "/proc/self/ns/net"] = process.argv.slice(2);
const instance = instanceNamed(name);
const rootless =
  fs.readFileSync("/proc/self/uid_map", "utf8").trim().split(/\s+/)[2] !== "4294967295";
process.umask(0o022);
fs.mkdirSync(instance.runDir, { recursive: true });
fs.mkdirSync(instance.stateDir, { recursive: true });
fs.writeFileSync(path.join(instance.runDir, "supervisor.pid"), String(process.pid));
const events = new EventLog(eventsDir(instance), "supervisor");
const code = mountCode(instance, codeFrom);
const node = process.execPath.startsWith(`${codeFrom}/`)
  ? path.join(code, path.relative(codeFrom, process.execPath))
  : process.execPath;
const gates = new Map<string, Worker>();
const listeners = new Map<string, object>();
/** Which namespace each worker was started in: a room that is made anew has its old name. */
const rooms = new Map([["control", ""]]);
let watch: Worker | undefined;
let names: object | undefined;

const flags = ["--disable-sigusr1", `--max-old-space-size=256`];
/** Who may call whom, each through a directory of its own. Root passes everywhere. */
const DOORS: readonly (readonly [server: string, caller: string])[] = [
  ["enforcer", "root"],
  ["enforcer", "control"],
  ["enforcer", "keyholder"],
  ["control", "root"],
  ["archivist", "root"],
  ["archivist", "control"],
  ["archivist", "keyholder"],
  ["keyholder", "control"],
];
for (const [server, caller] of DOORS) makeDoor(server, caller);

const enforcer = new Worker(
  {
    name: "enforcer",
    command: [
      // It leaves by itself when this process does; one that hangs does not.
      ...["setpriv", "--pdeathsig=KILL", "--", "unshare", "--net", "--"],
      ...[node, ...flags, main("enforcer")],
      ...[instance.name, code, hostNetns, node, String(uidOf("compiler") ?? "")],
    ],
    descriptors: ["ipc"],
  },
  events,
  (child) => child.on("message", (message) => onRooms(message as RoomsStand)),
);

function main(process: string): string {
  return path.join(code, "packages/sallyport/src", `${process}.main.ts`);
}

/** Read-only and under /run: a checkout in a 0700 home is still loadable by every uid. */
function mountCode({ runDir, stateDir }: Instance, from: string): string {
  // Workers pass through to directories of their own, whatever umask this was started with.
  for (const directory of [path.dirname(runDir), runDir, path.dirname(stateDir), stateDir]) {
    fs.chmodSync(directory, 0o711);
  }
  // With one uid there is nobody else to load it.
  if (rootless) return from;
  const at = path.join(runDir, "code");
  fs.mkdirSync(at, { recursive: true });
  const commands = [
    ["umount", "-q", at],
    ["mount", "--bind", from, at],
    ["mount", "-o", "remount,bind,ro,nosuid,nodev", at],
  ];
  for (const [file = "", ...args] of commands) {
    const done = spawnSync(file, args, { encoding: "utf8" });
    if (done.status !== 0 && file !== "umount") throw new Error(`${file}: ${done.stderr.trim()}`);
  }
  return at;
}

/**
 * A uid for each process that outlives restarts: never two processes with one. The file is the
 * supervisor's own; where only one uid is mapped there is none to give.
 */
function uidOf(process: string): number | undefined {
  if (rootless) return undefined;
  const file = path.join(instance.stateDir, "uids.json");
  const known: Record<string, number> = fs.existsSync(file)
    ? (JSON.parse(fs.readFileSync(file, "utf8")) as Record<string, number>)
    : {};
  const seen = known[process];
  if (seen !== undefined) return seen;
  const taken = Object.keys(known).length;
  if (taken >= UIDS_PER_INSTANCE) throw new Error("no uid is left for another process");
  // Instances side by side (the demo, tests) must not meet either.
  let hash = 7;
  for (const character of instance.name) hash = (hash * 31 + character.charCodeAt(0)) % 10_007;
  const uid = UID_FIRST + hash * UIDS_PER_INSTANCE + taken;
  // Whole or not at all: with half of it no supervisor would start any more.
  fs.writeFileSync(`${file}.new`, JSON.stringify({ ...known, [process]: uid }), { flush: true });
  fs.renameSync(`${file}.new`, file);
  return uid;
}

/** Owned by the server, which makes its socket there; the caller's group may pass through and see nothing. */
function makeDoor(server: string, caller: string): void {
  const [owner, group] = [server, caller].map((who) =>
    ["enforcer", "root"].includes(who) && !rootless ? 0 : uidOf(who),
  );
  makePlace(doorOf(instance, server, caller), caller === "root" ? 0o700 : 0o710, owner, group);
}

/** A directory that is somebody's; nobody else's for a moment before. */
function makePlace(directory: string, mode: number, owner?: number, group?: number): void {
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (owner !== undefined) fs.chownSync(directory, owner, group ?? owner);
  fs.chmodSync(directory, mode);
}

function onRooms(stand: RoomsStand): void {
  if (stand.type !== "rooms") return;
  for (const gate of stand.gates) {
    const message = { type: "listeners", listeners: gate.listeners };
    listeners.set(gate.room, message);
    const running = whoIsIn(`gate ${gate.room}`, gates.get(gate.room), gate.netns);
    if (running !== undefined) running.send(message);
    else gates.set(gate.room, startGate(gate.room, gate.netns));
  }
  for (const [room, worker] of gates) {
    if (stand.gates.some((gate) => gate.room === room)) continue;
    worker.stop();
    gates.delete(room);
  }
  control = whoIsIn("control", control, stand.control ?? "") ?? startControl(stand.control);
  names = { type: "names", ...stand.names };
  watch = whoIsIn("watch", watch, stand.outer, stand.inner.netns) ?? startWatch(stand);
  watch.send(names);
}

/** The worker, if its rooms are those that it was started in; else it is ended and there is none. */
function whoIsIn(
  who: string,
  worker: Worker | undefined,
  ...namespaces: readonly string[]
): Worker | undefined {
  const now = namespaces.map((at) => fs.statSync(at, { throwIfNoEntry: false })?.ino).join(" ");
  if (rooms.get(who) === now) return worker;
  rooms.set(who, now);
  worker?.stop();
  return undefined;
}

function startGate(room: string, netns: string): Worker {
  // Whatever a policy calls it, it is none of our own processes.
  const uid = uidOf(`gate ${room}`);
  return new Worker(
    {
      name: room,
      command: caged({ netns, ...(uid === undefined ? {} : { uid }) }, [
        node,
        ...flags,
        main("gate"),
      ]),
      outputFile: path.join(eventsDir(instance), `${room}.ndjson`),
    },
    events,
    (child) => child.stdin?.write(`${JSON.stringify(listeners.get(room))}\n`),
  );
}

/**
 * Two captures and the process that reads them, as one unit. A netlink log socket cannot send to
 * the plant, and the tap room has no way out; the reader has neither, and a uid of its own.
 */
function startWatch(stand: RoomsStand): Worker {
  const directory = path.join(instance.stateDir, "packets");
  const uid = uidOf("watch");
  makePlace(directory, 0o755, uid);
  return new Worker(
    {
      name: "watch",
      // A capture that gives up root forgets whose death it should follow; a process namespace does not.
      command: caged({}, [
        ...[node, ...flags, main("watch"), stand.outer, stand.inner.netns, stand.inner.device],
        ...[directory, String(uid ?? "")],
      ]),
      outputFile: path.join(eventsDir(instance), "watch.ndjson"),
    },
    events,
    (child) => child.stdin?.write(`${JSON.stringify(names)}\n`),
  );
}

/** A process with a uid and a directory of its own, in a room or without any network. */
function startAlone(
  process: string,
  at: string,
  mode: number,
  args: readonly string[],
  netns?: string,
): Worker {
  const [directory, uid] = [path.join(instance.stateDir, at), uidOf(process)];
  makePlace(directory, mode, uid);
  const cage = { ...(netns === undefined ? {} : { netns }), ...(uid === undefined ? {} : { uid }) };
  const command = caged(cage, [node, ...flags, main(process), ...args, directory]);
  return new Worker(
    {
      name: process,
      command: netns === undefined ? ["unshare", "--net", "--", ...command] : command,
      // Only the journal tells of itself; the others have the ledger.
      ...(at === "flows"
        ? { outputFile: path.join(eventsDir(instance), `${process}.ndjson`) }
        : {}),
    },
    events,
    () => undefined,
  );
}

// What is written to exports belongs to the group that may read it.
makePlace(exportsDir(instance), 0o2750, uidOf("archivist"), uidOf("control"));
makePlace(path.join(instance.runDir, "api"), 0o755, uidOf("control"));
// Sticky: a file in it is of the uid that made it, whoever it is.
makePlace(path.join(instance.runDir, "proof"), 0o1777);

const own = [
  startAlone("journal", "flows", 0o755, [eventsDir(instance)]),
  startAlone("archivist", "archivist", 0o700, [
    ...[instance.name, eventsDir(instance), exportsDir(instance)],
  ]),
  startAlone("keyholder", "keyholder", 0o700, [instance.name]),
];

/** In its room once there is one; without, it answers on the box only. */
function startControl(netns?: string): Worker {
  return startAlone("control", "control", 0o700, [instance.name, netns ?? ""], netns);
}

let control = startControl();

setInterval(() => {
  for (const room of [...gates.keys(), "watch", "journal"]) {
    const file = path.join(eventsDir(instance), `${room}.ndjson`);
    const size = fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0;
    if (size > OUTPUT_MAX_BYTES) fs.truncateSync(file);
  }
}, OUTPUT_CHECK_MS);

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.on(signal, () => {
    // The rooms and their rules stay: `sallyport down` is what removes them.
    for (const worker of [
      ...[...gates.values(), enforcer, ...own, control],
      ...(watch === undefined ? [] : [watch]),
    ]) {
      worker.stop();
    }
    events.append(Date.now(), "supervisor-stopped", { signal });
    process.exit(0);
  });
}
