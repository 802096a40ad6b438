/** Rows of what must not happen: refused for the written reason, with the process untouched. */
import { forge, knock, type ScanKind, scan } from "./attacks.ts";
import { describeAnswer, readModbus, writeModbus } from "./client.ts";
import type { HostName } from "./plant.ts";
import type { Outcome, Row, Stage } from "./story.ts";
import { arrivalFault, changeFault, directly, endpointOf, outcome, settle } from "./witness.ts";

/** The policy's port with its neighbors, and what else a plant's devices listen on. */
const SCAN_PORTS = "102,501-503,2404,4711,4840,20000,44818,47808";
/** Packets a second. */
const SCAN_RATE = 200;
const SCAN_LIMIT_S = 8;
const CONTROL_PORT = 8080;
const FORGED_FRAMES = 3;

interface WrongWrite {
  readonly from: HostName;
  readonly conduit: string;
  readonly address: number;
  readonly value: number;
}

/** A write the gate must answer with a Modbus exception, and the PLC must never see. */
async function wrongWrite(stage: Stage, wrong: WrongWrite): Promise<Outcome> {
  const { from, conduit, address, value } = wrong;
  const before = stage.plant.device("tank-plc").register(address);
  const to = endpointOf(stage, conduit, "tank-plc");
  const answer = await writeModbus(stage.plant, from, to, address, [value]);
  await settle();
  const change = changeFault(stage, "tank-plc", address, before);
  const evidence = [describeAnswer(answer), `register ${address} is still ${before}`];
  if (answer.ok) return outcome("allow", [describeAnswer(answer)], [change]);
  const unclear = answer.exception === undefined ? "it was not a Modbus exception" : undefined;
  return outcome("deny", evidence, [change, unclear && `${describeAnswer(answer)}: ${unclear}`]);
}

/** Protocol identifier 1 instead of 0: no Modbus. */
const NO_MODBUS = "000100010006010300000001";

async function sendGarbage(stage: Stage): Promise<Outcome> {
  const to = endpointOf(stage, "engineering-tunes-tank", "tank-plc");
  const result = await knock(stage.plant, "eng-ws", to, NO_MODBUS);
  await settle();
  const seen = stage.links.get("tank-plc")?.since(stage.since) ?? [];
  const passed = seen.some(({ payload }) => payload.includes(Buffer.from(NO_MODBUS, "hex")));
  const evidence = [result.ended ? "the connection was closed" : "the connection stayed open"];
  if (!result.ok) return outcome("unknown", [], [`no connection: ${result.error}`]);
  if (result.answer !== "") return outcome("allow", [], [`it was answered: ${result.answer}`]);
  const verdict = result.ended ? "deny" : "unknown";
  return outcome(verdict, evidence, [passed ? "the bytes reached the tank's link" : undefined]);
}

/** Dials the asset's own address as nobody may. */
async function dialDirectly(stage: Stage, from: HostName, asset: HostName): Promise<Outcome> {
  const answer = await readModbus(stage.plant, from, directly(stage, asset), {
    area: "holding",
    address: 0,
    count: 1,
  });
  await settle();
  const address = stage.plant.address(from);
  const arrived = arrivalFault(stage, asset, ({ source }) => source === address);
  const evidence = [describeAnswer(answer), `nothing from ${address} on the link of ${asset}`];
  const refused = answer.op === "connect" && !answer.ok;
  return outcome(refused ? "deny" : "allow", evidence, [arrived]);
}

interface ScanRow {
  readonly from: HostName;
  readonly kind: ScanKind;
  /** A host of the same segment whose port must answer, or the scan proves nothing. */
  readonly control: HostName;
  readonly targets: readonly HostName[];
}

async function scanFrom(stage: Stage, row: ScanRow): Promise<Outcome> {
  const { plant } = stage;
  const control = plant.address(row.control);
  const results = await scan(plant, row.from, {
    kind: row.kind,
    targets: [control, ...row.targets.map((host) => plant.address(host))],
    ports: `${SCAN_PORTS},${CONTROL_PORT}`,
    rate: SCAN_RATE,
    limitSeconds: SCAN_LIMIT_S,
  });
  await settle();
  const answered = results.some(
    ({ target, port, state }) => target === control && port === CONTROL_PORT && state === "open",
  );
  const open = results.filter(({ target, state }) => target !== control && state === "open");
  const source = plant.address(row.from);
  const arrived = row.targets.map((host) =>
    arrivalFault(stage, host, (packet) => packet.source === source),
  );
  const listed = open.map(({ target, port }) => `${target}:${port}`).join(", ");
  const evidence = [
    `no port open on ${row.targets.join(", ")}`,
    `the control port ${control}:${CONTROL_PORT} answered the same scan`,
    "nothing of it on the targets' links",
  ];
  const isDenied = open.length === 0 && arrived.every((fault) => fault === undefined);
  return outcome(isDenied ? "deny" : "allow", evidence, [
    answered ? undefined : "the control port did not answer: the scan proves nothing",
    open.length === 0 ? undefined : `open: ${listed}`,
    ...arrived,
  ]);
}

/** A device of cell B says it is someone else. */
async function spoof(stage: Stage, source: string | undefined, port: number): Promise<Outcome> {
  if (source === undefined) return outcome("unknown", [], ["there is no such address to steal"]);
  const { plant } = stage;
  const target = plant.address("tank-plc");
  const frames = await forge(plant, "rogue", {
    source,
    destination: target,
    port: 502,
    sourcePort: port,
    count: FORGED_FRAMES,
  });
  await settle();
  const arrived = arrivalFault(stage, "tank-plc", ({ sourcePort }) => sourcePort === port);
  const evidence = [`${frames} frames from "${source}", none on the tank's link`];
  return outcome(arrived === undefined ? "deny" : "allow", evidence, [arrived]);
}

const TANK_SAFE = "the tank's registers are unchanged";
const NOTHING_ARRIVES = "nothing arrives on the target's link";

export const GATE_ATTACK_ROWS: readonly Row[] = [
  {
    id: "erp-writes",
    what: "The ERP, which may only read, writes the set point",
    from: "erp",
    needs: "gates",
    expect: {
      verdict: "deny",
      reason: "l7.function-not-allowed",
      conduit: "erp-reads-tank",
      effect: TANK_SAFE,
    },
    act: (stage) =>
      wrongWrite(stage, { from: "erp", conduit: "erp-reads-tank", address: 10, value: 990 }),
  },
  {
    id: "hmi-writes-too-high",
    what: "The HMI sets a fill level above the limit of 800",
    from: "hmi",
    needs: "gates",
    expect: {
      verdict: "deny",
      reason: "l7.value-not-allowed",
      conduit: "hmi-operates-cells",
      effect: TANK_SAFE,
    },
    act: (stage) =>
      wrongWrite(stage, { from: "hmi", conduit: "hmi-operates-cells", address: 10, value: 950 }),
  },
  {
    id: "engineering-writes-outside",
    what: "The engineering station writes outside its registers",
    from: "eng-ws",
    needs: "gates",
    expect: {
      verdict: "deny",
      reason: "l7.address-not-allowed",
      conduit: "engineering-tunes-tank",
      effect: TANK_SAFE,
    },
    act: (stage) =>
      wrongWrite(stage, {
        from: "eng-ws",
        conduit: "engineering-tunes-tank",
        address: 10,
        value: 980,
      }),
  },
  {
    id: "engineering-sends-garbage",
    what: "The engineering station sends bytes that are no Modbus",
    from: "eng-ws",
    needs: "gates",
    expect: {
      verdict: "deny",
      reason: "l7.request-bad-protocol-id",
      conduit: "engineering-tunes-tank",
      effect: "the connection is closed",
    },
    act: sendGarbage,
  },
];

export const PACKET_ATTACK_ROWS: readonly Row[] = [
  {
    id: "attacker-scans",
    what: "An attacker in IT scans cell A and the safety zone",
    from: "attacker",
    needs: "packets",
    expect: {
      verdict: "deny",
      reason: "no-conduit",
      fromZone: "enterprise",
      toZone: "cell-a",
      effect: NOTHING_ARRIVES,
    },
    act: (stage) =>
      scanFrom(stage, {
        from: "attacker",
        kind: "syn",
        control: "erp",
        targets: ["tank-plc", "sis"],
      }),
  },
  {
    id: "attacker-fragments",
    what: "The same scan in tiny fragments",
    from: "attacker",
    needs: "packets",
    expect: { verdict: "deny", reason: "fragment", effect: NOTHING_ARRIVES },
    act: (stage) =>
      scanFrom(stage, {
        from: "attacker",
        kind: "fragments",
        control: "erp",
        targets: ["tank-plc"],
      }),
  },
  {
    id: "attacker-ip-options",
    what: "The same scan with IP options",
    from: "attacker",
    needs: "packets",
    expect: { verdict: "deny", reason: "ip-options", effect: NOTHING_ARRIVES },
    act: (stage) =>
      scanFrom(stage, {
        from: "attacker",
        kind: "ip-options",
        control: "erp",
        targets: ["tank-plc"],
      }),
  },
  {
    id: "vendor-scans",
    what: "An infected machine in the vendor's network scans cell B",
    from: "vendor-rogue",
    needs: "packets",
    expect: {
      verdict: "deny",
      reason: "no-conduit",
      fromZone: "vendor",
      toZone: "cell-b",
      effect: NOTHING_ARRIVES,
    },
    act: (stage) =>
      scanFrom(stage, {
        from: "vendor-rogue",
        kind: "connect",
        control: "vendor-pc",
        targets: ["press-plc"],
      }),
  },
  {
    id: "vendor-without-grant",
    what: "The vendor dials the press without a grant",
    from: "vendor-pc",
    needs: "packets",
    expect: {
      verdict: "deny",
      reason: "no-grant",
      conduit: "vendor-services-press",
      effect: NOTHING_ARRIVES,
    },
    act: (stage) => dialDirectly(stage, "vendor-pc", "press-plc"),
  },
  {
    id: "cell-b-dials-cell-a",
    what: "A device of cell B dials the tank's PLC",
    from: "rogue",
    needs: "packets",
    expect: {
      verdict: "deny",
      reason: "no-conduit",
      fromZone: "cell-b",
      toZone: "cell-a",
      effect: NOTHING_ARRIVES,
    },
    act: (stage) => dialDirectly(stage, "rogue", "tank-plc"),
  },
  {
    id: "cell-b-spoofs-engineering",
    what: "A device of cell B claims the engineering station's address",
    from: "rogue",
    needs: "packets",
    expect: { verdict: "deny", reason: "wrong-interface", effect: NOTHING_ARRIVES },
    act: (stage) => spoof(stage, stage.plant.address("eng-ws"), 47_001),
  },
  {
    id: "cell-b-spoofs-gate",
    what: "A device of cell B claims a DMZ gate's address",
    from: "rogue",
    needs: "packets",
    expect: { verdict: "deny", reason: "wrong-interface", effect: NOTHING_ARRIVES },
    act: async (stage) => spoof(stage, await stage.gateway.egressAddress("erp-reads-tank"), 47_002),
  },
];
