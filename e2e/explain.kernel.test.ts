/**
 * What was refused, as two that know nothing of each other tell it: the engine or gate that refused a
 * real packet, and `explain`, asked about the same packet at the same time.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { after, before, describe, test } from "node:test";
import { ask, fields, listOf, word } from "sallyport";
import { forge } from "../lab/attacks.ts";
import { whyNoNamespaces } from "../lab/namespaces.ts";
import { must, within } from "../lab/shell.ts";
import { buildSite, plantPolicy, type Site } from "../lab/site.ts";
import type { PolicyText } from "../lab/story.ts";
import { explained, modeled } from "./explain/asked.ts";
import {
  FRAMES,
  type FrameCase,
  PACKETS,
  type PacketCase,
  REQUESTS,
  type RequestCase,
} from "./explain/cases.ts";
import { Seen } from "./explain/seen.ts";

const why = process.getuid?.() === 0 ? await whyNoNamespaces() : "needs root: rooms, eBPF and uids";
/** Long enough for the plant to be built before it is over. */
const SHORT_LIVED_MS = 20_000;
const FLOOD = 500;
/** 10 at once and 5 a second, for as long as 500 frames could take to be sent on a busy machine. */
const SAMPLES_MAX = 100;
const RING_MAX_BYTES = 16 * 1024 * 1024;
/** A minute has to end, and the enforcer to look. */
const MINUTE_LIMIT_MS = 90_000;

interface Stage {
  readonly site: Site;
  readonly seen: Seen;
  readonly shortLivedUntil: number;
}
let stage: Stage | undefined;
/** The first look of the enforcer's minutes only says where counters stand. */
const COUNTED_FROM_MS = 8_000;
let builtAt = 0;

before(async () => {
  if (why !== undefined) return;
  const shortLivedUntil = Math.floor(Date.now() / 1000) * 1000 + SHORT_LIVED_MS;
  const policy = policyUntil(shortLivedUntil);
  const site = await buildSite({ name: `x${process.pid}`, mode: "kernel", policy });
  builtAt = Date.now();
  stage = { site, seen: new Seen(site.instance), shortLivedUntil };
});
after(async () => {
  await stage?.site.destroy();
});

describe("the denial log and explain name the same", { skip: why ?? false }, () => {
  for (const one of REQUESTS) {
    test(`gate, conduit, policy line and reason: ${one.what}`, () => agreeOnRequest(one));
  }
  for (const one of FRAMES) {
    test(`reason, by the model: ${one.what}`, () => agreeOnFrame(one));
  }
  for (const one of PACKETS) {
    test(`engine, conduit, policy line and reason: ${one.what}`, () => agreeOnPacket(one));
  }
});

function onStage(): Stage {
  assert.ok(stage, "the plant was built");
  return stage;
}

/** The plant's policy, with a window that is shut now and a conduit that is about to end. */
function policyUntil(end: number): PolicyText {
  const { name, text } = plantPolicy();
  const shut = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"][(new Date().getUTCDay() + 3) % 7];
  const conduit = `  short-lived:
    from: hmi
    to: press-plc
    service: press-diag
    via: direct
    reason: A vendor protocol without a decoder, inside OT
    owner: operations
    why: Diagnosis of the press drive for a few seconds
    expires: "${new Date(end).toISOString().slice(0, 19)}Z"
`;
  const changed = text.replace("days: [sun]", `days: [${String(shut)}]`);
  return { name, text: changed.replace("\ninvariants:\n", `${conduit}\ninvariants:\n`) };
}

async function agreeOnRequest(one: RequestCase): Promise<void> {
  const { site, seen } = onStage();
  const since = Date.now();
  await one.send(site.plant);
  const { address } = { address: site.plant.address(one.from) };
  const refusal = await seen.refusal(since, ({ type, source }) => {
    return type === "pdu-refused" && source === address;
  });
  assert.ok(refusal, "the gate told of its refusal");
  const answer = await explained(site, ["--from", address, "--to", one.to, ...one.question]);
  const { event, ...told } = refusal;
  const { text, ...said } = answer;
  // How many requests came before is no part of a question: the limit itself is told.
  if (one.reason === "rate") {
    assert.deepEqual(told, { ...said, reason: "rate", place: told.place });
    assert.match(text, /at most 50 requests a second/);
  } else {
    assert.deepEqual(told, said);
    assert.ok(text.includes(String(event["why"])), `"${String(event["why"])}" is in: ${text}`);
  }
  assert.equal(told.reason, one.reason);
  assertLine(site, told);
}

async function agreeOnFrame(one: FrameCase): Promise<void> {
  const { site, seen } = onStage();
  const since = Date.now();
  await forge(site.plant, one.from, { sourcePort: 41_000, port: 502, ...one.frame });
  const wanted = one.frame.source;
  const refusal = await seen.refusal(since, ({ type, reason, source }) => {
    return type === "packet-denied" && reason === one.reason && isFrom(source, wanted, one.named);
  });
  assert.ok(refusal, "the engine told of its refusal");
  const { bytes, packet } = seen.kept(refusal.event);
  if (one.named)
    assert.deepEqual([packet.source, packet.destination], [wanted, one.frame.destination]);
  one.check(packet);
  const point = refusal.place === "outer" ? "outer" : "inner";
  const said = await modeled(site, point, { interface: one.interface, bytes });
  const { reason, conduit, policyLine } = refusal;
  assert.deepEqual({ reason, conduit, policyLine }, said);
}

async function agreeOnPacket(one: PacketCase): Promise<void> {
  const at = onStage();
  const { site, seen } = at;
  if (one.reason === "expired") {
    const isOver = (): true | undefined => Date.now() > at.shortLivedUntil || undefined;
    assert.ok(await within(SHORT_LIVED_MS, isOver), "the short-lived conduit is over");
  }
  const undo = await one.prepare?.(site);
  try {
    const since = Date.now();
    const { frame } = one;
    await forge(site.plant, one.from, frame);
    const ported = frame.protocol !== "icmp";
    const source = ported ? `${frame.source}:${frame.sourcePort}` : frame.source;
    const refusal = await seen.refusal(since, (event) => {
      return event.type === "packet-denied" && event["source"] === source;
    });
    assert.ok(refusal, "the engine told of its refusal");
    const answer = await explained(site, one.question);
    const { event, ...told } = refusal;
    const { text: _, ...said } = answer;
    assert.deepEqual(told, said);
    assert.equal(told.reason, one.reason);
    if (told.conduit !== "") assertLine(site, told);
    const { bytes, packet } = seen.kept(event);
    assert.deepEqual([packet.source, packet.destination], [frame.source, frame.destination]);
    if (ported) assert.deepEqual([packet.sourcePort, packet.port], [frame.sourcePort, frame.port]);
    const point = told.place === "outer" ? "outer" : "inner";
    const { place: __, ...rest } = said;
    assert.deepEqual(await modeled(site, point, { interface: one.interface, bytes }), rest);
  } finally {
    await undo?.();
  }
}

function isFrom(source: unknown, address: string, named: boolean): boolean {
  return !named || source === address || String(source).startsWith(`${address}:`);
}

/** The line that is named is the one at which the policy begins to speak of the conduit. */
function assertLine(
  { policy }: Site,
  { conduit, policyLine }: { readonly conduit: string; readonly policyLine: string },
): void {
  const line = policy.text.split("\n").findIndex((text) => text === `  ${conduit}:`) + 1;
  assert.ok(line > 0, `the policy has ${conduit}`);
  assert.equal(policyLine, `${policy.name}:${line}`);
}

describe("a flood of one refused packet", { skip: why ?? false }, () => {
  for (const [point, from, source, destination, zones] of [
    ["outer", "vendor-rogue", "10.20.0.66", "10.43.0.10", "vendor safety"],
    ["inner", "sis", "10.43.0.10", "10.42.0.10", "safety cell-b"],
  ] as const) {
    test(`is counted exactly, sampled sparsely, and what was not sampled is known: ${point}`, async () => {
      const { site, seen } = onStage();
      await within(COUNTED_FROM_MS, () => Date.now() > builtAt + COUNTED_FROM_MS || undefined);
      // A frame before the flood: to find the gateway's MAC the sender knocks on a port of its own.
      const first = {
        source,
        destination,
        port: 510,
        sourcePort: 45_001,
        protocol: "udp",
      } as const;
      const since = Date.now();
      await forge(site.plant, from, first);
      assert.ok(await seen.refusal(since, (event) => event["source"] === `${source}:45001`));
      const key = `${point} no-conduit ${zones}`;
      const known = { packets: await refused(site, key), told: await toldOf(site, point) };
      assert.equal(known.packets, 1, "nobody else does this");
      const frame = { source, destination, port: 509, sourcePort: 45_000, count: FLOOD };
      assert.equal(await forge(site.plant, from, frame), FLOOD);
      assert.equal(await refused(site, key), FLOOD + 1);
      const samples = (): number =>
        seen.all.filter((event) => {
          const { type, source: by } = event;
          return type === "packet-denied" && by === `${source}:45000`;
        }).length;
      const sampled = (await toldOf(site, point)) - known.told;
      await within(MINUTE_LIMIT_MS, () => samples() >= sampled || undefined);
      assert.equal(samples(), sampled, "every sample is an event, and every event was a sample");
      assert.ok(sampled >= 1 && sampled <= SAMPLES_MAX, `${sampled} samples`);
      assert.ok(ringBytes(seen) <= RING_MAX_BYTES, `${ringBytes(seen)} bytes in the ring`);
      const minutes = await within(MINUTE_LIMIT_MS, () => {
        const sum = seen.all.reduce((total, event) => {
          const { type, sourceZone, destinationZone, reason } = event;
          const isIt = type === "flow-minute" && event["point"] === point;
          const kind = [point, reason, sourceZone, destinationZone].map(String).join(" ");
          const mine = isIt && kind === key;
          return mine ? total + Number(event["refused"]) : total;
        }, 0);
        return sum > FLOOD ? sum : undefined;
      });
      assert.equal(minutes, FLOOD + 1, "the minutes account for all of them");
    });
  }
});

async function refused({ instance }: Site, key: string): Promise<number> {
  const counters = fields(await ask(instance.name, { type: "counters" }));
  const mine = listOf(counters["denials"])
    .map(fields)
    .filter((denial) => {
      const { point, reason, sourceZone, destinationZone } = denial;
      return [point, reason, sourceZone, destinationZone].map(word).join(" ") === key;
    });
  return mine.reduce((sum, { packets }) => sum + Number(packets), 0);
}

/** How many refusals the kernel itself says that it told of. */
async function toldOf({ instance }: Site, point: "outer" | "inner"): Promise<number> {
  if (point === "outer") {
    const netns = `${instance.netnsPrefix}-outer`;
    const text = await must(["nft", "list", "counter", "ip", "sallyport", "sampled"], { netns });
    return Number(/packets ([0-9]+)/.exec(text)?.[1]);
  }
  const counters = fields(await ask(instance.name, { type: "counters" }));
  const inner = listOf(counters["denials"])
    .map(fields)
    .filter((denial) => denial["point"] === point);
  return inner.reduce((sum, denial) => {
    return sum + Number(denial["packets"]) - Number(denial["suppressed"]);
  }, 0);
}

function ringBytes({ ring }: Seen): number {
  const files = fs.readdirSync(ring);
  assert.ok(files.length > 0, "packets are kept");
  return files.reduce((sum, file) => sum + fs.statSync(path.join(ring, file)).size, 0);
}
