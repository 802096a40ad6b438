/** What the plant's attackers do: scans, hand-made frames, bytes that are no protocol. */
import { SallyportError } from "@sallyport/core";
import type { Endpoint } from "./client.ts";
import { PYTHON, program } from "./device.ts";
import type { HostName } from "./plant.ts";
import { segmentOf } from "./plant.ts";
import { must } from "./shell.ts";
import type { Plant } from "./topology.ts";

/** nmap's own names: connect, half-open, UDP, tiny fragments, IP options (record route). */
export type ScanKind = "connect" | "syn" | "udp" | "fragments" | "ip-options";

const SCAN_ARGUMENTS: Readonly<Record<ScanKind, readonly string[]>> = {
  connect: ["-sT"],
  syn: ["-sS"],
  udp: ["-sU"],
  fragments: ["-sS", "-f"],
  "ip-options": ["-sS", "--ip-options", "R"],
};

export interface ScanPlan {
  readonly kind: ScanKind;
  readonly targets: readonly string[];
  /** As nmap takes it: `502,1000-1010` or `-` for all. */
  readonly ports: string;
  /** Packets a second, sent evenly. */
  readonly rate: number;
  /** For one target; it is a fault when nmap gives one up. */
  readonly limitSeconds: number;
  /** Times an unanswered packet is sent again, 0 or 1 (the default). */
  readonly retries?: 0 | 1;
}

export interface ScanResult {
  readonly target: string;
  readonly port: number;
  readonly state: string;
}

/** What a scan told: ports one by one, and the many that nmap puts together. */
export interface Survey {
  readonly ports: readonly ScanResult[];
  /** Per target, ports of one state that are not listed. */
  readonly others: readonly OtherPorts[];
  readonly targets: readonly string[];
}

export interface OtherPorts {
  readonly target: string;
  readonly state: string;
  readonly count: number;
}

/** A full scan of one host in a few seconds; more would only measure the sender. */
const RATE_MAX = 20_000;
/** Two networks of 256 addresses and a port that must answer. */
const TARGETS_MAX = 513;
/** Targets are addresses of this plant, one by one: no range, no name, nothing from outside. */
const PLANT_ADDRESS = /^10\.(?:10|20|30|31|40|41|42|43)\.0\.[0-9]{1,3}$/;

/** Every port that answered or could have; `filtered` and `closed` ones only where nmap lists them. */
export async function scan(plant: Plant, from: HostName, plan: ScanPlan): Promise<ScanResult[]> {
  return [...(await survey(plant, from, plan)).ports];
}

/** A scan with the state of every port of every target; one that gave up a target is an error. */
export async function survey(plant: Plant, from: HostName, plan: ScanPlan): Promise<Survey> {
  const { targets, limitSeconds } = plan;
  const allowed = targets.length <= TARGETS_MAX && targets.every((t) => PLANT_ADDRESS.test(t));
  if (plant.netns(from) === undefined || !allowed) {
    throw new SallyportError("lab-bad-target", `${targets.join(" ")}: not hosts of the plant`);
  }
  const rate = String(Math.min(plan.rate, RATE_MAX));
  const argv = [
    ...["nmap", "--privileged", "-n", "-Pn", ...SCAN_ARGUMENTS[plan.kind]],
    ...["--min-rate", rate, "--max-rate", rate, "--max-retries", String(plan.retries ?? 1)],
    ...["--initial-rtt-timeout", "200ms", "--max-rtt-timeout", "300ms"],
    ...["--host-timeout", `${limitSeconds}s`, "-p", plan.ports, "-oX", "-", ...targets],
  ];
  const result = await plant.run(from, argv, { timeoutMs: (limitSeconds + 5) * 1000 });
  if (result.code !== 0 || !result.stdout.includes("<runstats>")) {
    throw new SallyportError("lab-tool-failed", `nmap: ${result.stderr.trim()}`);
  }
  const told = readSurvey(result.stdout);
  const missing = targets.filter((target) => !told.targets.includes(target));
  if (missing.length === 0) return told;
  const why = `nmap on ${from} gave up ${missing.length} targets (${missing.slice(0, 3).join(" ")})`;
  throw new SallyportError("lab-tool-failed", why);
}

/** nmap.dtd: host > address, ports > extraports and port > state. */
export function readSurvey(xml: string): Survey {
  const ports: ScanResult[] = [];
  const others: OtherPorts[] = [];
  const targets: string[] = [];
  for (const host of xml.split("<host ").slice(1)) {
    const target = /<address addr="([0-9.]+)" addrtype="ipv4"/.exec(host)?.[1] ?? "";
    const isWhole = host.includes("<ports>") && !host.includes('timedout="true"');
    if (isWhole) targets.push(target);
    for (const extra of host.matchAll(/<extraports state="([a-z|]+)" count="([0-9]+)"/g)) {
      others.push({ target, state: extra[1] ?? "", count: Number(extra[2]) });
    }
    for (const port of host.matchAll(/portid="([0-9]+)"><state state="([a-z|]+)"/g)) {
      ports.push({ target, port: Number(port[1]), state: port[2] ?? "" });
    }
  }
  return { ports, others, targets };
}

/** The ports that nmap finds open most often, of one protocol, as it takes and gives them. */
export async function topPorts(protocol: "tcp" | "udp", count: number): Promise<string> {
  const kind = protocol === "tcp" ? "-sT" : "-sU";
  // Without a target it only says what it would have scanned.
  const argv = ["nmap", "--privileged", kind, "--top-ports", String(count), "-v", "-oG", "-"];
  const listed = /(?:TCP|UDP)\(([1-9][0-9]*);([0-9,-]+)\)/.exec(await must(argv));
  if (Number(listed?.[1]) === count && listed?.[2] !== undefined) return listed[2];
  throw new SallyportError("lab-tool-failed", `nmap lists no ${count} most common ports`);
}

export interface Forgery {
  readonly source: string;
  readonly destination: string;
  readonly port: number;
  readonly sourcePort: number;
  readonly protocol?: "tcp" | "udp" | "icmp";
  readonly count?: number;
  /** Further arguments of `clients/frames.py`. */
  readonly extra?: readonly string[];
}

/** Sends frames whose source is a lie, to the gateway's MAC. Answers how many went out. */
export async function forge(plant: Plant, from: HostName, forgery: Forgery): Promise<number> {
  const result = await plant.run(from, [
    ...[...PYTHON, program("clients/frames.py"), "--next-hop", segmentOf(from).gateway],
    ...["--source", forgery.source, "--destination", forgery.destination],
    ...["--port", String(forgery.port), "--source-port", String(forgery.sourcePort)],
    ...["--protocol", forgery.protocol ?? "tcp", "--count", String(forgery.count ?? 1)],
    ...(forgery.extra ?? []),
  ]);
  const sent = /"frames": ([0-9]+)/.exec(result.stdout)?.[1];
  if (sent !== undefined) return Number(sent);
  const said = result.stdout.trim() || result.stderr.trim();
  throw new SallyportError("lab-tool-failed", `frames.py on ${from}: ${said}`);
}

export interface Knock {
  /** TCP: connected. UDP: nothing said no. */
  readonly ok: boolean;
  /** Hex of what came back. */
  readonly answer: string;
  /** TCP: the other side ended the connection. */
  readonly ended: boolean;
  readonly error: string;
}

export async function knock(
  plant: Plant,
  from: HostName,
  to: Endpoint,
  sendHex = "",
  protocol: "tcp" | "udp" = "tcp",
): Promise<Knock> {
  const argv = [...PYTHON, program("clients/probe.py"), protocol, to.address, String(to.port)];
  const result = await plant.run(from, [...argv, "--send", sendHex], { timeoutMs: 10_000 });
  const told: unknown = JSON.parse(result.stdout.trim() || "{}");
  const fields = typeof told === "object" && told !== null ? Object.entries(told) : [];
  const said = new Map<string, unknown>(fields);
  const word = (name: string): string => {
    const value = said.get(name);
    return typeof value === "string" ? value : "";
  };
  return {
    ok: said.get("ok") === true,
    answer: word("answer"),
    ended: said.get("ended") === true,
    error: word("error"),
  };
}
