import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { buildLoopbackPlant } from "./loopback.ts";
import { readModbus } from "./client.ts";
import { readSurvey } from "./attacks.ts";
import { PcapStream } from "./pcap.ts";
import { HOSTS, SEGMENTS } from "./plant.ts";
import { badPolicy, cuttingPolicy } from "./story-changes.ts";
import { canEnforce } from "./story.ts";
import { ROWS } from "./story-rows.ts";
import { run } from "./shell.ts";

const text = fs.readFileSync(new URL("plant/site.yaml", import.meta.url), "utf8");
const policy = { name: "site.yaml", text };

test("the plant has a host for every asset that the policy names, at its address", () => {
  const assets = [...text.matchAll(/^ {2}([a-z-]+): +\{ zone: ([a-z-]+), address: ([0-9.]+)/gm)];
  assert.ok(assets.length >= 8, `only ${assets.length} assets were found in the policy`);
  for (const [, name, zone, address] of assets) {
    const host = HOSTS.find((candidate) => candidate.name === name);
    assert.equal(host?.address, address, name);
    assert.equal(SEGMENTS.find((segment) => segment.name === host?.segment)?.zone, zone, name);
  }
});

test("the plant has a segment for every NIC that the policy names, with its address", () => {
  const nics = [...text.matchAll(/attach: \{ nic: ([a-z0-9]+), address: ([0-9.]+)\/([0-9]+)/g)];
  assert.ok(nics.length >= 6, `only ${nics.length} NICs were found in the policy`);
  const named = nics.map(
    ([, nic = "", address = "", length = ""]) => `${nic} ${address}/${length}`,
  );
  const ours = SEGMENTS.map((s) => `${s.nic} ${s.gateway}/${s.prefixLength}`);
  assert.deepEqual(ours.sort(), named.sort());
});

test("the story's conduits are those of the policy, and no row is told twice", () => {
  const ids = ROWS.map(({ id }) => id);
  assert.equal(new Set(ids).size, ids.length);
  const named = ROWS.flatMap(({ expect }) => (expect.conduit === undefined ? [] : expect.conduit));
  assert.ok(named.length > 0);
  for (const conduit of named) assert.match(text, new RegExp(`^ {2}${conduit}:$`, "m"));
});

test("without packet filter only rows of the gates are played; without eBPF all but one", () => {
  const count = (mode: "kernel" | "one-engine" | "loopback") =>
    ROWS.filter(({ needs }) => canEnforce(mode, needs)).length;
  assert.equal(count("kernel"), ROWS.length);
  assert.equal(count("one-engine"), ROWS.length - 1);
  assert.ok(count("loopback") > 5 && count("loopback") < count("one-engine"));
});

test("the changed policies of the story differ from the plant's where they say", () => {
  const bad = badPolicy(policy).text;
  assert.ok(bad.includes("tank-plcc") && bad.includes("65536"));
  const cut = cuttingPolicy(policy).text;
  assert.ok(!cut.includes("hmi-operates-cells") && cut.includes("engineering-tunes-tank"));
  assert.equal(cut.split("\n").length, text.split("\n").length - hmiLines());
});

function hmiLines(): number {
  const lines = text.split("\n");
  const first = lines.indexOf("  hmi-operates-cells:");
  return lines.findIndex((line, index) => index > first && /^ {2}\S/.test(line)) - first;
}

//                 magic      ver  ver  zone     sigfigs  snaplen  Ethernet
const FILE_HEADER = "d4c3b2a1 0200 0400 00000000 00000000 00000400 01000000";
//               seconds  µs       captured original
const PACKET = "01000000 f4010000 36000000 36000000";
//             destination   source        type version..checksum            source   destination
const FRAME = `020000000002 020000000001 0800 45000028000040004006 0000 0a0a0042 0a29000a
  9c40 01f6 00000001 00000000 5002 faf0 0000 0000`; // 40000 > 502, SYN
const PCAP = Buffer.from(`${FILE_HEADER}${PACKET}${FRAME}`.replace(/\s/g, ""), "hex");

test("a capture is read whole in whatever pieces it comes", () => {
  for (let cut = 0; cut <= PCAP.length; cut++) {
    const stream = new PcapStream();
    const packets = [...stream.push(PCAP.subarray(0, cut)), ...stream.push(PCAP.subarray(cut))];
    assert.equal(packets.length, 1, `cut at ${cut}`);
    const [packet] = packets;
    assert.equal(packet?.at, 1000.5);
    assert.equal(packet?.source, "10.10.0.66");
    assert.equal(packet?.destination, "10.41.0.10");
    assert.equal(packet?.port, 502);
    assert.equal(packet?.flags, "S");
  }
});

test("what is no capture is a fault, not an empty capture", () => {
  const stream = new PcapStream();
  assert.deepEqual(stream.push(Buffer.alloc(100, 0x41)), []);
  assert.ok(stream.fault !== undefined);
});

test("frames cut short anywhere never break the reader", () => {
  for (let length = 0; length < 0x36; length++) {
    const header = Buffer.from(PCAP.subarray(0, 24 + 16 + length));
    header.writeUInt32LE(length, 24 + 8);
    assert.equal(new PcapStream().push(header).length, 1, `frame of ${length} bytes`);
  }
});

test("a scan's report names every port with its state", () => {
  const xml = `<host starttime="1"><status state="up"/><address addr="10.41.0.10" addrtype="ipv4"/>
    <ports><extraports state="filtered" count="998"><extrareasons reason="no-response"/></extraports>
    <port protocol="tcp" portid="501"><state state="filtered" reason="no-response"/></port>
    <port protocol="tcp" portid="502"><state state="open" reason="syn-ack"/></port></ports></host>
    <host starttime="1" timedout="true"><address addr="10.42.0.10" addrtype="ipv4"/></host>`;
  assert.deepEqual(readSurvey(xml), {
    ports: [
      { target: "10.41.0.10", port: 501, state: "filtered" },
      { target: "10.41.0.10", port: 502, state: "open" },
    ],
    others: [{ target: "10.41.0.10", state: "filtered", count: 998 }],
    targets: ["10.41.0.10"],
  });
});

const pymodbus = await run(["/usr/bin/python3", "-c", "import pymodbus.server"]).catch(
  () => undefined,
);
const skip = pymodbus?.code === 0 ? false : "needs python3-pymodbus and python3-serial-asyncio";

test("on loopback the PLCs answer on ports of this machine, with the same seed the same values", {
  skip,
}, async () => {
  const plants = await Promise.all([buildLoopbackPlant(3), buildLoopbackPlant(3)]);
  try {
    const [one, two] = plants;
    const tank = one?.assets.get("tank-plc");
    assert.ok(one !== undefined && two !== undefined && tank !== undefined);
    const answer = await readModbus(one, "hmi", tank, { area: "input", address: 0, count: 1 });
    assert.ok(answer.ok, JSON.stringify(answer));
    const states = await Promise.all(plants.map((plant) => plant.device("tank-plc").atTick(12)));
    assert.ok(typeof states[0]?.["level"] === "number");
    assert.deepEqual(states[0]?.["level"], states[1]?.["level"]);
    assert.deepEqual(states[0]?.["outflow"], states[1]?.["outflow"]);
  } finally {
    await Promise.all(plants.map((plant) => plant.destroy()));
  }
});
