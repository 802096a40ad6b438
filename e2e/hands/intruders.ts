/**
 * Everything that must not pass, tried at once from every side: scans of the policy's ports and their
 * neighbors, a real Modbus client where none may dial, frames whose source is a lie.
 */
import type { Legs } from "@sallyport/policy/legs";
import { forge, knock, scan } from "../../lab/attacks.ts";
import { readModbus } from "../../lab/client.ts";
import { type HostName, hostNamed } from "../../lab/plant.ts";
import type { Plant } from "../../lab/topology.ts";
import { addressesOf, type Wires } from "./wires.ts";

/** What the policy opens, the next ports to it, and what devices of a plant listen on. */
export const PORTS = "102,501-503,514,4711,4714,8080,44818";
const RATE = 400;
const LIMIT_S = 6;
const FRAMES = 3;
const MODBUS = 502;

interface Intruder {
  readonly host: HostName;
  readonly targets: readonly HostName[];
  /** A port in its own segment that must answer, or its scan proves nothing. */
  readonly control: readonly [host: HostName, port: number];
}

const INTRUDERS: readonly Intruder[] = [
  {
    host: "attacker",
    targets: ["tank-plc", "press-plc", "sis", "hmi", "eng-ws", "vendor-pc"],
    control: ["erp", 8080],
  },
  {
    host: "vendor-rogue",
    targets: ["press-plc", "tank-plc", "hmi", "erp"],
    control: ["vendor-pc", 8080],
  },
  {
    host: "rogue",
    targets: ["tank-plc", "sis", "hmi", "eng-ws", "erp", "vendor-pc"],
    control: ["press-plc", MODBUS],
  },
];

export interface Attempts {
  /** Ports that answered an intruder, beside those that had to: `rogue: 10.41.0.10:502`. */
  readonly answered: readonly string[];
  /** What makes the attempts worthless: a control that was silent, frames that never left. */
  readonly faults: readonly string[];
}

export async function tryEverything(plant: Plant, legs: Legs, wires: Wires): Promise<Attempts> {
  const since = Date.now();
  const gates = legs.rooms.flatMap(({ name }) => addressesOf(legs, name));
  const found = await Promise.all([
    ...INTRUDERS.map((intruder) => scanAll(plant, intruder, gates)),
    ...INTRUDERS.map((intruder) => dialAll(plant, intruder)),
    lie(plant, gates),
  ]);
  const silent = INTRUDERS.flatMap(({ host, targets }) =>
    targets
      .filter((target) => wires.sent(host, hostNamed(target).address, since) === 0)
      .map((target) => `${host} sent nothing to ${target}`),
  );
  return {
    answered: found.flatMap(({ answered }) => answered),
    faults: [...found.flatMap(({ faults }) => faults), ...silent],
  };
}

async function scanAll(
  plant: Plant,
  { host, targets, control: [neighbor, port] }: Intruder,
  gates: readonly string[],
): Promise<Attempts> {
  const control = hostNamed(neighbor).address;
  const results = await scan(plant, host, {
    kind: "syn",
    targets: [control, ...targets.map((target) => hostNamed(target).address), ...gates],
    ports: PORTS,
    rate: RATE,
    limitSeconds: LIMIT_S,
  });
  const open = results.filter(({ state }) => state === "open");
  const heard = open.some((result) => result.target === control && result.port === port);
  return {
    answered: open
      .filter(({ target }) => target !== control)
      .map((result) => `${host}: ${result.target}:${result.port}`),
    faults: heard ? [] : [`the scan from ${host} did not even find ${neighbor}:${port}`],
  };
}

/** As a real client would, and by UDP. */
async function dialAll(plant: Plant, { host, targets }: Intruder): Promise<Attempts> {
  const request = { area: "holding", address: 0, count: 1 } as const;
  const dialled = await Promise.all(
    targets.map(async (target) => {
      const { address } = hostNamed(target);
      const answer = await readModbus(plant, host, { address, port: MODBUS }, request);
      const said = await knock(plant, host, { address, port: 514 }, "3c31333e", "udp");
      return answer.ok || said.answer !== "" ? [`${host}: ${address} by a real client`] : [];
    }),
  );
  return { answered: dialled.flat(), faults: [] };
}

/** Sources that are somebody else's, towards both cells and out of them. */
async function lie(plant: Plant, gates: readonly string[]): Promise<Attempts> {
  const [tank, hmi, erp] = ["tank-plc", "hmi", "erp"].map((name) =>
    plant.address(name as HostName),
  );
  const lies: readonly (readonly [HostName, string, string])[] = [
    ["attacker", hmi ?? "", tank ?? ""],
    ["attacker", gates.at(-1) ?? "", tank ?? ""],
    ["rogue", hmi ?? "", tank ?? ""],
    ["rogue", erp ?? "", hmi ?? ""],
    ...gates.map((gate) => ["rogue", gate, tank ?? ""] as const),
  ];
  const sent = await Promise.all(
    lies.flatMap(([from, source, destination], index) =>
      (["tcp", "udp"] as const).map((protocol) =>
        forge(plant, from, {
          source,
          destination,
          protocol,
          port: MODBUS,
          sourcePort: 47_100 + index,
          count: FRAMES,
        }),
      ),
    ),
  );
  const faults = sent.every((count) => count === FRAMES) ? [] : ["not every forged frame went out"];
  return { answered: [], faults };
}
