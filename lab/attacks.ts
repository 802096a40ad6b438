/** What the plant's attackers do: scans, hand-made frames, bytes that are no protocol. */
import { SallyportError } from "@sallyport/core";
import type { Endpoint } from "./client.ts";
import { PYTHON, program } from "./device.ts";
import type { HostName } from "./plant.ts";
import { segmentOf } from "./plant.ts";
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
  readonly limitSeconds: number;
}

export interface ScanResult {
  readonly target: string;
  readonly port: number;
  readonly state: string;
}

/** A full scan of one host in a few seconds; more would only measure the sender. */
const RATE_MAX = 20_000;
/** Targets are addresses of this plant, one by one: no range, no name, nothing from outside. */
const PLANT_ADDRESS = /^10\.(?:10|20|30|31|40|41|42|43)\.0\.[0-9]{1,3}$/;

/** Every port that answered or could have; `filtered` and `closed` ones only where nmap lists them. */
export async function scan(plant: Plant, from: HostName, plan: ScanPlan): Promise<ScanResult[]> {
  if (plant.netns(from) === undefined || !plan.targets.every((t) => PLANT_ADDRESS.test(t))) {
    throw new SallyportError("lab-bad-target", `${plan.targets.join(" ")}: not hosts of the plant`);
  }
  const rate = String(Math.min(plan.rate, RATE_MAX));
  const argv = [
    ...["nmap", "--privileged", "-n", "-Pn", ...SCAN_ARGUMENTS[plan.kind]],
    ...["--min-rate", rate, "--max-rate", rate, "--max-retries", "1"],
    ...["--initial-rtt-timeout", "200ms", "--max-rtt-timeout", "300ms"],
    ...["--host-timeout", `${plan.limitSeconds}s`, "-p", plan.ports, "-oX", "-", ...plan.targets],
  ];
  const result = await plant.run(from, argv, { timeoutMs: (plan.limitSeconds + 5) * 1000 });
  if (result.code !== 0 || !result.stdout.includes("<runstats>")) {
    throw new SallyportError("lab-tool-failed", `nmap: ${result.stderr.trim()}`);
  }
  return readScan(result.stdout);
}

/** nmap.dtd: host > address, ports > port > state. */
export function readScan(xml: string): ScanResult[] {
  const out: ScanResult[] = [];
  for (const host of xml.split("<host ").slice(1)) {
    const target = /<address addr="([0-9.]+)" addrtype="ipv4"/.exec(host)?.[1] ?? "";
    for (const port of host.matchAll(/portid="([0-9]+)"><state state="([a-z|]+)"/g)) {
      out.push({ target, port: Number(port[1]), state: port[2] ?? "" });
    }
  }
  return out;
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
