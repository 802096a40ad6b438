/** Refusals of every kind: what is sent, and how `explain` is asked about it. */
import assert from "node:assert/strict";
import { ask, localRoot } from "sallyport";
import type { Forgery } from "../../lab/attacks.ts";
import { Poller, readModbus, writeModbus } from "../../lab/client.ts";
import { PYTHON, program } from "../../lab/device.ts";
import type { Packet } from "../../lab/pcap.ts";
import type { HostName } from "../../lab/plant.ts";
import { sleep, within } from "../../lab/shell.ts";
import type { Site } from "../../lab/site.ts";
import type { Plant } from "../../lab/topology.ts";

const TANK = "10.41.0.10";
const PRESS = "10.42.0.10";
/** Modbus exception 6. */
const DEVICE_BUSY = 6;
const HURRY_LIMIT_MS = 6_000;

export interface PacketCase {
  readonly what: string;
  readonly reason: string;
  readonly from: HostName;
  /** Where it arrives. */
  readonly interface: string;
  readonly frame: Forgery;
  readonly question: readonly string[];
  /** Answers what undoes it. */
  readonly prepare?: (site: Site) => Promise<() => Promise<void>>;
}

interface Short {
  readonly what: string;
  readonly reason: string;
  readonly from: HostName;
  readonly interface: string;
  readonly source: string;
  readonly to: string;
  readonly port?: number;
  readonly protocol?: "tcp" | "udp" | "icmp";
  readonly prepare?: PacketCase["prepare"];
}

/** Each has a source port of its own, by which its event is known. */
function packet(short: Short, index: number): PacketCase {
  const { what, reason, from, source, to, port = 502, protocol = "tcp", prepare } = short;
  const service = protocol === "icmp" ? ["--icmp"] : [`--${protocol}`, String(port)];
  const frame = { source, destination: to, port, sourcePort: 42_000 + index, protocol };
  const question = ["--from", source, "--to", to, ...service, "--interface", short.interface];
  const base = { what, reason, from, interface: short.interface, frame, question };
  return prepare === undefined ? base : { ...base, prepare };
}

const ATTACKER = { from: "attacker", interface: "it0", source: "10.10.0.66" } as const;
const HMI = { from: "hmi", interface: "sup0", source: "10.40.0.10" } as const;
const ENGINEER = { from: "eng-ws", interface: "sup0", source: "10.40.0.20" } as const;
const VENDOR = { from: "vendor-pc", interface: "vendor0", source: "10.20.0.10" } as const;

export const PACKETS: readonly PacketCase[] = (
  [
    { ...ATTACKER, what: "nobody allowed it", reason: "no-conduit", to: TANK },
    { ...ATTACKER, what: "a ping", reason: "no-conduit", to: TANK, protocol: "icmp" },
    {
      ...{ what: "the next port", reason: "no-conduit", from: "erp", interface: "it0" },
      ...{ source: "10.10.0.10", to: TANK, port: 503 },
    },
    { ...HMI, what: "UDP instead of TCP", reason: "no-conduit", to: TANK, protocol: "udp" },
    {
      ...{ ...HMI, what: "against a diode", reason: "no-conduit", to: "10.43.0.10" },
      ...{ port: 514, protocol: "udp" },
    },
    {
      ...{ ...ATTACKER, what: "from nowhere in the policy", reason: "no-src-zone" },
      ...{ source: "192.0.2.1", to: TANK },
    },
    { ...ENGINEER, what: "to the internet", reason: "no-dst-zone", to: "198.51.100.7", port: 443 },
    {
      ...{ what: "a cell as another cell", reason: "wrong-interface", from: "rogue" },
      ...{ interface: "cellb0", source: TANK, to: "10.40.0.10" },
    },
    {
      ...{ ...ATTACKER, what: "IT as the operators' network", reason: "wrong-interface" },
      ...{ source: "10.40.0.10", to: TANK },
    },
    { ...ATTACKER, what: "the gateway itself", reason: "to-gateway", to: "10.10.0.1", port: 22 },
    {
      ...{ ...HMI, what: "a multicast group", reason: "multicast", to: "224.0.0.251" },
      ...{ port: 5353, protocol: "udp" },
    },
    { ...HMI, what: "a broadcast", reason: "multicast", to: "10.41.0.255", protocol: "udp" },
    { ...VENDOR, what: "a vendor without a grant", reason: "no-grant", to: PRESS },
    {
      ...{ ...VENDOR, what: "a vendor whose grant is over", reason: "grant-expired", to: PRESS },
      prepare: endedGrant,
    },
    { ...ENGINEER, what: "outside the window", reason: "outside-window", to: PRESS, port: 4711 },
    { ...HMI, what: "after the conduit's last day", reason: "expired", to: PRESS, port: 4713 },
    {
      ...{ what: "to an island", reason: "island", from: "historian", interface: "it0" },
      ...{ source: "10.10.0.11", to: PRESS, prepare: islanded },
    },
  ] satisfies readonly Short[]
).map(packet);

async function islanded({ instance }: Site): Promise<() => Promise<void>> {
  const zone = "cell-b";
  await ask(instance.name, { type: "island-on", zone });
  return async () => {
    await ask(instance.name, { type: "island-off", zone, ...localRoot("end-to-end test") });
  };
}

async function endedGrant({ product, plant }: Site): Promise<() => Promise<void>> {
  const { notAfter } = await product.grant({
    conduit: "vendor-services-press",
    person: "vendor-tech",
    reason: "end-to-end test",
    source: plant.address("vendor-pc"),
    asset: "press-plc",
    seconds: 2,
  });
  await sleep(notAfter - Date.now() + 100);
  return () => Promise.resolve();
}

/** Frames that no question can put into words. */
export interface FrameCase {
  readonly what: string;
  readonly reason: string;
  readonly from: HostName;
  readonly interface: string;
  readonly frame: Pick<Forgery, "source" | "destination" | "extra">;
  /** False where the frame has no addresses that a log could tell. */
  readonly named: boolean;
  check(packet: Packet): void;
}

const FORMS: readonly {
  readonly what: string;
  readonly reason: string;
  readonly extra: readonly string[];
  readonly named?: false;
  check(packet: Packet): void;
}[] = [
  {
    what: "a fragment",
    reason: "fragment",
    extra: ["--fragment", "8"],
    check: ({ isFragment }) => assert.ok(isFragment),
  },
  {
    what: "a recorded route",
    reason: "ip-options",
    extra: ["--ip-options", "070704000000"],
    check: ({ hasIpOptions }) => assert.ok(hasIpOptions),
  },
  {
    what: "an answer to nothing",
    reason: "not-syn",
    extra: ["--flags", "A"],
    check: ({ flags }) => assert.equal(flags, "A"),
  },
  {
    what: "a SYN that is cut short",
    reason: "short",
    extra: ["--total-length", "32"],
    check: ({ flags }) => assert.equal(flags, ""),
  },
  {
    // Not IPv6: the lab's switches drop what is no whole IPv6 packet.
    what: "no IP at all",
    reason: "not-ipv4",
    extra: ["--ethertype", "88b5"],
    named: false,
    check: ({ ethertype }) => assert.equal(ethertype, 0x88b5),
  },
];

/** From a client that may: the form of its packet alone is wrong. At both engines. */
export const FRAMES: readonly FrameCase[] = FORMS.flatMap(({ named = true, ...form }) => {
  const { extra, what, ...rest } = form;
  return [
    {
      ...{ ...rest, what: `${what}, outside`, from: "erp", interface: "it0", named },
      frame: { source: "10.10.0.10", destination: TANK, extra },
    },
    {
      ...{ ...rest, what: `${what}, inside`, from: "hmi", interface: "sup0", named },
      frame: { source: "10.40.0.10", destination: TANK, extra },
    },
  ] satisfies FrameCase[];
});

export interface RequestCase {
  readonly what: string;
  readonly reason: string;
  readonly from: HostName;
  readonly to: string;
  readonly question: readonly string[];
  send(plant: Plant): Promise<unknown>;
}

const AT_TANK = { address: TANK, port: 502 };
const AT_PRESS = { address: PRESS, port: 502 };
/** Asks as fast as it can, for longer than the burst that a rate allows. */
async function hurry(plant: Plant): Promise<void> {
  const request = { area: "holding", address: 0, count: 1 } as const;
  const poller = new Poller(plant, "erp", AT_TANK, request, { intervalMs: 1, seconds: 5 });
  const isBusy = (): true | undefined =>
    poller.since(0).some(({ exception }) => exception === DEVICE_BUSY) || undefined;
  const refused = await within(HURRY_LIMIT_MS, isBusy);
  await poller.stop();
  assert.equal(refused, true, "the client was asked to come again later");
}

export const REQUESTS: readonly RequestCase[] = [
  {
    what: "a function",
    reason: "l7.function-not-allowed",
    from: "erp",
    to: TANK,
    question: ["--modbus", "write-single-register:5=4"],
    send: (plant) => writeModbus(plant, "erp", AT_TANK, 5, [4]),
  },
  {
    what: "an address",
    reason: "l7.address-not-allowed",
    from: "eng-ws",
    to: TANK,
    question: ["--modbus", "write-multiple-registers:38=1,2,3"],
    send: (plant) => writeModbus(plant, "eng-ws", AT_TANK, 38, [1, 2, 3]),
  },
  {
    what: "an address of another conduit's registers",
    reason: "l7.address-not-allowed",
    from: "historian",
    to: PRESS,
    question: ["--modbus", "read-holding-registers:49+2"],
    send: (plant) =>
      readModbus(plant, "historian", AT_PRESS, { area: "holding", address: 49, count: 2 }),
  },
  {
    what: "a value",
    reason: "l7.value-not-allowed",
    from: "hmi",
    to: TANK,
    question: ["--modbus", "write-single-register:10=801"],
    send: (plant) => writeModbus(plant, "hmi", AT_TANK, 10, [801]),
  },
  {
    what: "a unit",
    reason: "l7.unit-not-allowed",
    from: "hmi",
    to: PRESS,
    question: ["--modbus", "read-holding-registers:0+1", "--unit", "7"],
    send: (plant) =>
      plant.run("hmi", [
        ...[...PYTHON, program("clients/modbus.py"), "read", PRESS, "--unit", "7"],
        ...["--area", "holding", "--address", "0", "--count", "1"],
      ]),
  },
  {
    what: "a quantity",
    reason: "l7.quantity-not-allowed",
    from: "erp",
    to: TANK,
    question: ["--modbus", "read-holding-registers:0+21"],
    send: (plant) => readModbus(plant, "erp", AT_TANK, { area: "holding", address: 0, count: 21 }),
  },
  {
    what: "a rate",
    reason: "rate",
    from: "erp",
    to: TANK,
    question: ["--modbus", "read-holding-registers:0+1"],
    send: hurry,
  },
];
