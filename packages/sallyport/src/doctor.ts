import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

/** One thing the product needs, tried for real in a namespace that is thrown away. */
export interface Check {
  readonly name: string;
  /** What is lost without it. */
  readonly why: string;
  /** The exact line that mends it. */
  readonly fix: string;
  /** Without it nothing is enforced; otherwise the gateway runs degraded. */
  readonly needed: boolean;
  /** Undefined when it works, otherwise what was seen. */
  run(context: CheckContext): string | undefined;
}

export interface CheckContext {
  /** Runs a command inside the throw-away namespace; answers its complaint or undefined. */
  inRoom(command: readonly string[]): string | undefined;
  readonly isRoot: boolean;
  readonly directory: string;
}

export interface Finding {
  readonly name: string;
  readonly state: "ok" | "degraded" | "blocked";
  readonly seen: string;
  readonly why: string;
  readonly fix: string;
}

const COMMAND_TIMEOUT_MS = 10_000;
const DOCTOR_TIMEOUT_MS = 60_000;

function apt(packages: string): string {
  return `sudo apt-get install -y ${packages}`;
}

export const CHECKS: readonly Check[] = [
  {
    name: "virtual links",
    why: "rooms are network namespaces joined by veth pairs",
    fix: apt("iproute2"),
    needed: true,
    run: (context) =>
      context.inRoom(["ip", "link", "add", "a0", "type", "veth", "peer", "name", "b0"]),
  },
  {
    name: "guard routes",
    why: "policy routing by mark is what fails closed when an engine is gone",
    fix: "use a kernel with CONFIG_IP_MULTIPLE_TABLES (every Debian kernel has it)",
    needed: true,
    run: (context) =>
      context.inRoom([
        "ip",
        "rule",
        "add",
        "pref",
        "10",
        "fwmark",
        "0x5a000001",
        "lookup",
        "main",
      ]) ?? context.inRoom(["ip", "route", "add", "unreachable", "default", "table", "99"]),
  },
  {
    name: "nftables engine",
    why: "it decides at the outer door",
    fix: apt("nftables"),
    needed: true,
    run: (context) => context.inRoom(["nft", "-j", "-f", nftProbe(context.directory)]),
  },
  {
    name: "tc clsact",
    why: "the inner engine hangs on it",
    fix: "use a kernel with CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF (every Debian kernel has them)",
    needed: false,
    run: (context) => context.inRoom(["tc", "qdisc", "add", "dev", "lo", "clsact"]),
  },
  {
    name: "eBPF engine",
    why: "without it both doors are judged by one rule engine",
    fix: apt("bpftool"),
    needed: false,
    run: loadProgram,
  },
  {
    name: "VLANs",
    why: "zones on a trunk need them; zones on NICs of their own do not",
    fix: "sudo modprobe 8021q",
    needed: false,
    run: (context) =>
      context.inRoom([
        "ip",
        "link",
        "add",
        "link",
        "a0",
        "name",
        "a0.7",
        "type",
        "vlan",
        "id",
        "7",
      ]),
  },
  {
    name: "packet samples",
    why: "without it a denial is counted but its packet is not kept",
    fix: apt("tcpdump"),
    needed: false,
    run: (context) => context.inRoom(["tcpdump", "--version"]),
  },
  {
    name: "process cages",
    why: "every process has a uid, a process namespace and no capability of its own",
    fix: `run as root (${apt("util-linux")} if a program is missing)`,
    needed: false,
    run: (context) =>
      context.isRoot
        ? context.inRoom([
            ...["unshare", "--ipc", "--pid", "--fork", "--mount-proc", "--"],
            ...["setpriv", "--reuid=65533", "--regid=65533", "--clear-groups", "--no-new-privs"],
            ...["--bounding-set=-all", "--inh-caps=-all", "--", "true"],
          ])
        : "one uid only: this is not root",
  },
  {
    name: "host does not forward",
    why: "a host that routes between its NICs would be a way around the rooms",
    fix: "sudo sysctl -w net.ipv4.ip_forward=0",
    needed: false,
    run: () =>
      readNumber("/proc/sys/net/ipv4/ip_forward") === 0 ? undefined : "net.ipv4.ip_forward is 1",
  },
];

function nftProbe(directory: string): string {
  const table = { family: "ip", name: "probe" };
  const set = { family: "ip", table: "probe", name: "live", type: "mark", flags: ["timeout"] };
  const file = path.join(directory, "probe.json");
  fs.writeFileSync(file, JSON.stringify({ nftables: [{ add: { table } }, { add: { set } }] }));
  return file;
}

/** Loads the very program that the product attaches, under a bpffs of its own. */
function loadProgram(context: CheckContext): string | undefined {
  const object = path.join(import.meta.dirname, "../../enforce/src/ebpf/inner.bpf.o");
  if (!fs.existsSync(object)) return "the prebuilt program is missing from this copy";
  const pin = path.join(context.directory, "probe");
  return (
    context.inRoom(["mount", "-t", "bpf", "bpf", context.directory]) ??
    context.inRoom(["bpftool", "prog", "load", object, pin, "type", "classifier"])
  );
}

function readNumber(file: string): number {
  return Number(fs.readFileSync(file, "utf8"));
}

/**
 * Runs all checks in namespaces that vanish with the child process that tries them: as root in its own
 * network and mount namespace, otherwise in a user namespace too.
 */
export function runDoctor(): Finding[] {
  const user = process.getuid?.() === 0 ? [] : ["--user", "--map-current-user", "--keep-caps"];
  const child = path.join(import.meta.dirname, "doctor.main.ts");
  const done = spawnSync(
    "unshare",
    [...user, "--net", "--mount", "--", process.execPath, child, String(process.getuid?.() === 0)],
    { encoding: "utf8", timeout: DOCTOR_TIMEOUT_MS },
  );
  if (done.status !== 0) return [blockedNamespaces(done.stderr ?? "unshare is missing")];
  return JSON.parse(done.stdout) as Finding[];
}

/** The child's part: it is inside already. */
export function runChecks(isRoot: boolean, checks: readonly Check[] = CHECKS): Finding[] {
  const directory = fs.mkdtempSync("/tmp/sallyport-doctor-");
  const inRoom: CheckContext["inRoom"] = ([file = "", ...args]) => {
    const done = spawnSync(file, args, { encoding: "utf8", timeout: COMMAND_TIMEOUT_MS });
    if (done.status === 0) return undefined;
    const text = done.stderr.trim() || done.error?.message || `exit ${String(done.status)}`;
    return text.split("\n").find((line) => line.trim() !== "") ?? text;
  };
  try {
    return checks.map((check) => {
      const seen = check.run({ inRoom, isRoot, directory });
      const state = seen === undefined ? "ok" : check.needed ? "blocked" : "degraded";
      return { name: check.name, state, seen: seen ?? "works", why: check.why, fix: check.fix };
    });
  } finally {
    inRoom(["umount", "-q", directory]);
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

function blockedNamespaces(complaint: string): Finding {
  return {
    name: "network namespaces",
    state: "blocked",
    seen: complaint.trim().split("\n")[0] ?? "not permitted",
    why: "every room is one; without them only proxies run and no packet is filtered",
    fix: "run as root, or allow user namespaces: sudo sysctl -w kernel.unprivileged_userns_clone=1 (Ubuntu: kernel.apparmor_restrict_unprivileged_userns=0)",
  };
}
