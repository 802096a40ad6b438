/** Rows of everyday work: all of it must flow, through a gate, and say what the device says. */
import {
  type Answer,
  describeAnswer,
  type ReadRequest,
  readModbus,
  writeModbus,
} from "./client.ts";
import type { HostName } from "./plant.ts";
import { within } from "./shell.ts";
import type { Outcome, Row, Stage } from "./story.ts";
import { endpointOf, outcome, throughGateEvidence, throughGateFault } from "./witness.ts";

/** The level and the press move between two looks; by no more than this within a second. */
const DRIFT_MAX = 60;
const EFFECT_LIMIT_MS = 2_000;

interface Reading {
  readonly from: HostName;
  readonly asset: HostName;
  readonly conduit: string;
  readonly request: ReadRequest;
  /** What the device itself says of the values that were read. */
  readonly truth: (stage: Stage) => readonly number[];
}

/** Reads, and compares with the device's own words. */
async function read(stage: Stage, reading: Reading): Promise<Outcome> {
  const { from, asset, conduit, request } = reading;
  const to = endpointOf(stage, conduit, asset);
  const answer = await readModbus(stage.plant, from, to, request);
  if (!answer.ok) return outcome("deny", [describeAnswer(answer)], [describeAnswer(answer)]);
  const truth = reading.truth(stage);
  const isTrue = truth.every(
    (value, index) => Math.abs(value - (answer.values?.[index] ?? -1e9)) <= DRIFT_MAX,
  );
  const evidence = [
    describeAnswer(answer),
    `the device says ${truth.join(" ")}`,
    throughGateEvidence(stage, asset),
  ];
  const lie = isTrue ? undefined : `${describeAnswer(answer)} is not what the device says`;
  return outcome("allow", evidence, [lie, throughGateFault(stage, asset)]);
}

interface Writing {
  readonly from: HostName;
  readonly asset: HostName;
  readonly conduit: string;
  readonly address: number;
  readonly value: number;
}

/** An allowed write must reach the process: without these rows a gate that refuses all looks right. */
async function write(stage: Stage, writing: Writing): Promise<Outcome> {
  const { from, asset, conduit, address, value } = writing;
  const device = stage.plant.device(asset);
  const before = device.register(address);
  const to = endpointOf(stage, conduit, asset);
  const answer: Answer = await writeModbus(stage.plant, from, to, address, [value]);
  if (!answer.ok) return outcome("deny", [describeAnswer(answer)], [describeAnswer(answer)]);
  const took = await within(EFFECT_LIMIT_MS, () =>
    device.register(address) === value ? true : undefined,
  );
  const evidence = [`register ${address} went from ${before} to ${device.register(address)}`];
  const fault = took === true ? undefined : "the device does not show the value";
  return outcome("allow", evidence, [fault, throughGateFault(stage, asset)]);
}

async function hearSafety(stage: Stage): Promise<Outcome> {
  const heard = await within(EFFECT_LIMIT_MS, () =>
    stage.plant
      .device("hmi")
      .eventsSince(stage.since)
      .find(({ event, peer }) => event === "datagram" && peer === stage.plant.address("sis")),
  );
  if (heard === undefined) return outcome("deny", [], ["the HMI heard nothing"]);
  return outcome("allow", [`the HMI heard: ${String(heard["text"])}`]);
}

const tankLevel: ReadRequest = { area: "input", address: 0, count: 1 };
const levelTruth = (stage: Stage) => [Math.round(stage.plant.device("tank-plc").number("level"))];
const press: ReadRequest = { area: "holding", address: 3, count: 3 };
const pressTruth = (stage: Stage) => stage.plant.device("press-plc").holding().slice(3, 6);

export const FLOW_ROWS: readonly Row[] = [
  {
    id: "hmi-reads-tank",
    what: "The HMI reads the tank's level",
    from: "hmi",
    needs: "gates",
    expect: { verdict: "allow", conduit: "hmi-operates-cells", effect: "the level is the tank's" },
    act: (stage) =>
      read(stage, {
        from: "hmi",
        asset: "tank-plc",
        conduit: "hmi-operates-cells",
        request: tankLevel,
        truth: levelTruth,
      }),
  },
  {
    id: "hmi-reads-press",
    what: "The HMI reads the press",
    from: "hmi",
    needs: "gates",
    expect: { verdict: "allow", conduit: "hmi-operates-cells", effect: "values are the press's" },
    act: (stage) =>
      read(stage, {
        from: "hmi",
        asset: "press-plc",
        conduit: "hmi-operates-cells",
        request: press,
        truth: pressTruth,
      }),
  },
  {
    id: "erp-reads-tank",
    what: "The ERP reads the tank through the DMZ, dialing the PLC's own address",
    from: "erp",
    needs: "gates",
    expect: { verdict: "allow", conduit: "erp-reads-tank", effect: "the level is the tank's" },
    act: (stage) =>
      read(stage, {
        from: "erp",
        asset: "tank-plc",
        conduit: "erp-reads-tank",
        request: tankLevel,
        truth: levelTruth,
      }),
  },
  {
    id: "historian-reads-press",
    what: "The historian reads the press through the DMZ",
    from: "historian",
    needs: "gates",
    expect: {
      verdict: "allow",
      conduit: "historian-reads-press",
      effect: "values are the press's",
    },
    act: (stage) =>
      read(stage, {
        from: "historian",
        asset: "press-plc",
        conduit: "historian-reads-press",
        request: press,
        truth: pressTruth,
      }),
  },
  {
    id: "hmi-sets-level",
    what: "An operator sets the fill level to 560 mm",
    from: "hmi",
    needs: "gates",
    expect: {
      verdict: "allow",
      conduit: "hmi-operates-cells",
      effect: "the set point becomes 560",
    },
    act: (stage) =>
      write(stage, {
        from: "hmi",
        asset: "tank-plc",
        conduit: "hmi-operates-cells",
        address: 10,
        value: 560,
      }),
  },
  {
    id: "engineering-tunes-recipe",
    what: "Engineering changes a recipe parameter inside its range",
    from: "eng-ws",
    needs: "gates",
    expect: {
      verdict: "allow",
      conduit: "engineering-tunes-tank",
      effect: "register 25 becomes 42",
    },
    act: (stage) =>
      write(stage, {
        from: "eng-ws",
        asset: "tank-plc",
        conduit: "engineering-tunes-tank",
        address: 25,
        value: 42,
      }),
  },
  {
    id: "safety-reports",
    what: "The safety system's one-way status reaches the HMI",
    from: "sis",
    needs: "packets",
    expect: { verdict: "allow", conduit: "sis-status", effect: "the HMI hears it" },
    act: hearSafety,
  },
];
