/**
 * Who is in the simulated brewery, as data. Addresses agree with `plant/site.yaml`, which a test
 * checks; hosts that the policy does not name are the ones that have no business there.
 */

export type SegmentName = "it" | "vendor" | "supervisory" | "cell-a" | "cell-b" | "safety";

/** One switch with the gateway's NIC on it. */
export interface Segment {
  readonly name: SegmentName;
  /** The policy's zone. */
  readonly zone: string;
  readonly nic: string;
  /** The gateway's address there: the hosts' default route. */
  readonly gateway: string;
  readonly prefixLength: number;
}

export const SEGMENTS: readonly Segment[] = [
  { name: "it", zone: "enterprise", nic: "it0", gateway: "10.10.0.1", prefixLength: 24 },
  { name: "vendor", zone: "vendor", nic: "vendor0", gateway: "10.20.0.1", prefixLength: 24 },
  { name: "supervisory", zone: "supervisory", nic: "sup0", gateway: "10.40.0.1", prefixLength: 24 },
  { name: "cell-a", zone: "cell-a", nic: "cella0", gateway: "10.41.0.1", prefixLength: 24 },
  { name: "cell-b", zone: "cell-b", nic: "cellb0", gateway: "10.42.0.1", prefixLength: 24 },
  { name: "safety", zone: "safety", nic: "sis0", gateway: "10.43.0.1", prefixLength: 28 },
];

export type HostName =
  | "erp"
  | "historian"
  | "attacker"
  | "vendor-pc"
  | "vendor-rogue"
  | "hmi"
  | "eng-ws"
  | "tank-plc"
  | "tank-panel"
  | "press-plc"
  | "rogue"
  | "sis";

export interface Host {
  readonly name: HostName;
  readonly segment: SegmentName;
  readonly address: string;
  /** The program that makes it a device: a file of `devices/` or `clients/`, and its arguments. */
  readonly program?: readonly [file: string, ...rest: string[]];
}

export const HOSTS: readonly Host[] = [
  {
    name: "erp",
    segment: "it",
    address: "10.10.0.10",
    program: ["devices/listener.py", "--tcp", "8080"],
  },
  { name: "historian", segment: "it", address: "10.10.0.11" },
  { name: "attacker", segment: "it", address: "10.10.0.66" },
  {
    name: "vendor-pc",
    segment: "vendor",
    address: "10.20.0.10",
    program: ["devices/listener.py", "--tcp", "8080"],
  },
  { name: "vendor-rogue", segment: "vendor", address: "10.20.0.66" },
  {
    name: "hmi",
    segment: "supervisory",
    address: "10.40.0.10",
    program: ["devices/listener.py", "--udp", "514"],
  },
  { name: "eng-ws", segment: "supervisory", address: "10.40.0.20" },
  {
    name: "tank-plc",
    segment: "cell-a",
    address: "10.41.0.10",
    program: ["devices/tank.py"],
  },
  // The cell's own loop: it needs no gateway, and must go on when there is none.
  { name: "tank-panel", segment: "cell-a", address: "10.41.0.20" },
  {
    name: "press-plc",
    segment: "cell-b",
    address: "10.42.0.10",
    program: ["devices/press.py"],
  },
  { name: "rogue", segment: "cell-b", address: "10.42.0.66" },
  {
    name: "sis",
    segment: "safety",
    address: "10.43.0.10",
    program: ["devices/sis.py", "--to", "10.40.0.10"],
  },
];

export function hostNamed(name: HostName): Host {
  const host = HOSTS.find((candidate) => candidate.name === name);
  // Every HostName has its row above, which a test counts.
  if (host === undefined) throw new RangeError(`no host ${name}`);
  return host;
}

export function segmentOf(name: HostName): Segment {
  const { segment } = hostNamed(name);
  const found = SEGMENTS.find((candidate) => candidate.name === segment);
  if (found === undefined) throw new RangeError(`no segment ${segment}`);
  return found;
}
