import assert from "node:assert/strict";
import fs from "node:fs";
import process from "node:process";
import { after, before, test } from "node:test";
import { forge, scan } from "./attacks.ts";
import { Poller, readModbus, writeModbus } from "./client.ts";
import { whyNoNamespaces } from "./namespaces.ts";
import { leftovers, remember } from "./leftovers.ts";
import { isRoot, must, NETNS_DIR, run, Running, within } from "./shell.ts";
import { type StandIn, standIn } from "./stand-in.ts";
import { buildPlant, type Plant } from "./topology.ts";

const TANK = { address: "10.41.0.10", port: 502 };
const level = { area: "input", address: 0, count: 4 } as const;

function namesOf(prefix: string): string[] {
  if (!fs.existsSync(NETNS_DIR)) return [];
  return fs.readdirSync(NETNS_DIR).filter((name) => name.startsWith(`${prefix}-`));
}

const why = await whyNoNamespaces();
const skip = why === undefined ? false : why;

let plant: Plant;
let router: StandIn;
before(async () => {
  if (skip !== false) return;
  plant = await buildPlant();
  router = await standIn(plant, "open");
});
after(async () => {
  if (skip !== false) return;
  await router?.remove();
  await plant?.destroy();
});

test("the gateway's NICs wait in the box, down and without addresses", { skip }, async () => {
  const other = await buildPlant({ prefix: `spb${process.pid}`, devices: false });
  try {
    const listed = await must(["ip", "-n", other.box, "-o", "address", "show"]);
    assert.deepEqual(listed.match(/(?:it|vendor|sup|cella|cellb|sis)0\b.*inet/g), null);
    const links = await must(["ip", "-n", other.box, "-o", "link", "show"]);
    for (const nic of ["it0", "vendor0", "sup0", "cella0", "cellb0", "sis0"]) {
      assert.match(links, new RegExp(`${nic}@.*state DOWN`));
    }
  } finally {
    await other.destroy();
  }
  assert.deepEqual(namesOf(other.prefix), []);
});

test("the HMI's poll sees the tank's level move, as the tank itself tells it", {
  skip,
}, async () => {
  const poller = new Poller(plant, "hmi", TANK, level, { intervalMs: 100, seconds: 8 });
  const levels = await within(8_000, () => {
    const seen = new Set(poller.since(0).map(({ values }) => values?.[0]));
    return seen.size >= 4 ? seen : undefined;
  });
  await poller.stop();
  assert.ok(levels !== undefined, "the level never moved");
  const told = plant.device("tank-plc").number("level");
  const last = poller.since(0).at(-1)?.values?.[0] ?? -1;
  assert.ok(Math.abs(told - last) < 30, `polled ${last}, told ${told}`);
});

test("a write shows in the device's own words, also when nobody may have seen it", {
  skip,
}, async () => {
  const at = Date.now();
  assert.ok((await writeModbus(plant, "eng-ws", TANK, 10, [640])).ok);
  const changed = await within(2_000, () =>
    plant.device("tank-plc").holding()[10] === 640 ? true : undefined,
  );
  assert.equal(changed, true);
  const writes = plant
    .device("tank-plc")
    .eventsSince(at)
    .filter(({ event }) => event === "write");
  assert.deepEqual(
    writes.map(({ address, values }) => [address, values]),
    [[10, [640]]],
  );
  assert.equal(
    (await readModbus(plant, "hmi", TANK, { area: "holding", address: 10, count: 1 })).values?.[0],
    640,
  );
  assert.equal(
    (await readModbus(plant, "hmi", TANK, { area: "holding", address: 500, count: 1 })).exception,
    2,
  );
});

test("a capture on the target's link shows spoofed frames, fragments and IP options", {
  skip,
}, async () => {
  const capture = await plant.capture("tank-plc", ["ip"]);
  const lie = { source: "10.40.0.20", destination: "10.41.0.10", port: 502 };
  assert.equal(await forge(plant, "rogue", { ...lie, sourcePort: 47001, count: 3 }), 3);
  await forge(plant, "rogue", { ...lie, sourcePort: 47002, extra: ["--fragment", "8"] });
  await forge(plant, "rogue", {
    ...lie,
    sourcePort: 47003,
    extra: ["--ip-options", "07070400000000"],
  });
  await within(2_000, () => (capture.since(0).some((p) => p.hasIpOptions) ? true : undefined));
  const packets = await capture.stop();
  const spoofed = packets.filter(({ sourcePort, flags }) => sourcePort === 47001 && flags === "S");
  assert.equal(spoofed.length, 3);
  assert.ok(spoofed.every(({ source, port }) => source === lie.source && port === 502));
  assert.ok(packets.some(({ isFragment, source }) => isFragment && source === lie.source));
  assert.ok(packets.some(({ hasIpOptions, sourcePort }) => hasIpOptions && sourcePort === 47003));
});

test("a scan finds the port that listens and names those that do not", { skip }, async () => {
  const plan = { targets: ["10.41.0.10"], ports: "501-503", rate: 200, limitSeconds: 8 };
  for (const kind of ["syn", "connect", "fragments"] as const) {
    const results = await scan(plant, "attacker", { ...plan, kind });
    const states = results.map(({ port, state }) => `${port} ${state}`);
    assert.deepEqual(states, ["501 closed", "502 open", "503 closed"], kind);
  }
});

test("a scan of an address outside the plant is refused", { skip }, async () => {
  const plan = { kind: "syn", ports: "80", rate: 10, limitSeconds: 1 } as const;
  for (const target of ["192.0.2.1", "10.41.0.0/24", "localhost"]) {
    await assert.rejects(scan(plant, "attacker", { ...plan, targets: [target] }), {
      code: "lab-bad-target",
    });
  }
});

test("a long-lived session reports the moment it is reset", { skip }, async () => {
  const poller = new Poller(plant, "hmi", TANK, level, { intervalMs: 2_000, seconds: 20 });
  assert.ok(await within(4_000, () => poller.goodSince(0)));
  const began = Date.now();
  await must(["ss", "-K", "dst", "10.40.0.10"], { netns: `${plant.prefix}-tank-plc` });
  const ended = await within(1_500, () => poller.since(began).find(({ op }) => op === "ended"));
  await poller.stop();
  // Well before the next request was due.
  assert.ok(ended !== undefined && ["reset", "closed"].includes(ended.error ?? ""));
});

test("the safety system's status reaches the HMI", { skip }, async () => {
  const heard = await within(3_000, () =>
    plant
      .device("hmi")
      .eventsSince(0)
      .find(({ event, peer }) => event === "datagram" && peer === "10.43.0.10"),
  );
  assert.match(String(heard?.["text"]), /^<134>1 .* trip=no$/);
});

test("destroy leaves no namespace, no process and no note", { skip }, async () => {
  const prefix = `spc${process.pid}`;
  const other = await buildPlant({ prefix });
  let inside: string[] = [];
  try {
    const poller = new Poller(other, "tank-panel", TANK, level, { intervalMs: 100, seconds: 30 });
    const capture = await other.capture("tank-plc");
    assert.ok(await within(4_000, () => poller.goodSince(0)));
    assert.equal(namesOf(prefix).length, 19);
    inside = (await run(["ip", "netns", "pids", `${prefix}-tank-plc`])).stdout.trim().split("\n");
    assert.ok(inside.length >= 2 && capture.since(0).length > 0);
  } finally {
    await other.destroy();
  }
  assert.deepEqual(namesOf(prefix), []);
  assert.ok(inside.every((pid) => !fs.existsSync(`/proc/${pid}`)));
  assert.equal(fs.existsSync(`/run/sallyport-lab/${prefix}`), false);
  await other.destroy();
});

test("what a killed lab left is found by its name and removed, a living one is left alone", {
  skip,
}, async () => {
  const prefix = `spd${process.pid}`;
  const script = `
    import { buildPlant } from ${JSON.stringify(new URL("topology.ts", import.meta.url).href)};
    await buildPlant({ prefix: ${JSON.stringify(prefix)} });
    console.log("built");
    setInterval(() => {}, 1000);`;
  let isBuilt = false;
  const argv = [process.execPath, "--input-type=module-typescript", "-e", script];
  const lab = new Running(argv, { onLine: (line) => (isBuilt ||= line === "built") });
  try {
    await within(15_000, () => (isBuilt || !lab.isRunning ? true : undefined));
    assert.ok(isBuilt, lab.stderr);
    const pattern = new RegExp(`^${prefix}$`);
    assert.deepEqual(await leftovers(pattern), []);
    const pids = (await run(["ip", "netns", "pids", `${prefix}-press-plc`])).stdout
      .trim()
      .split("\n");
    await lab.stop("SIGKILL");
    const ended = await within(3_000, () =>
      pids.every((pid) => !fs.existsSync(`/proc/${pid}`)) ? true : undefined,
    );
    assert.ok(ended, "devices outlived their killed lab");
    assert.equal(namesOf(prefix).length, 19);
    assert.deepEqual(await leftovers(pattern), [prefix]);
    assert.deepEqual(namesOf(prefix), []);
  } finally {
    await lab.stop("SIGKILL");
    await leftovers(new RegExp(`^${prefix}$`));
  }
});

test("a process number that came round again does not hide leftovers", { skip }, async () => {
  const prefix = `spe${process.pid}`;
  await must(["ip", "netns", "add", `${prefix}-box`]);
  remember(prefix);
  const note = `/run/sallyport-lab/${prefix}`;
  assert.deepEqual(await leftovers(new RegExp(`^${prefix}$`)), []);
  fs.writeFileSync(note, `${process.pid} 1\n`);
  assert.deepEqual(await leftovers(new RegExp(`^${prefix}$`)), [prefix]);
  assert.deepEqual(namesOf(prefix), []);
});

test("the plant stands without root, in a user namespace of its own", {
  skip: skip === false && !isRoot() ? "is being run without root already" : skip,
}, async (t) => {
  const other = ["setpriv", "--reuid", "65534", "--clear-groups", process.execPath, "-e", "0"];
  if ((await run(other)).code !== 0) {
    t.skip("only its owner can enter the directory of this checkout: another user cannot run it");
    return;
  }
  const script = `
    import { buildPlant } from ${JSON.stringify(new URL("topology.ts", import.meta.url).href)};
    import { readModbus } from ${JSON.stringify(new URL("client.ts", import.meta.url).href)};
    const plant = await buildPlant();
    const to = { address: "10.41.0.10", port: 502 };
    const capture = await plant.capture("tank-plc");
    const answer = await readModbus(plant, "tank-panel", to, { area: "input", address: 0, count: 1 });
    const packets = (await capture.stop()).filter(({ port }) => port === 502);
    await plant.destroy();
    console.log(JSON.stringify({ uid: process.getuid(), ok: answer.ok, seen: packets.length > 0 }));`;
  const enter = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "unshare"];
  const inside = `mount -t tmpfs t /run && mkdir /run/netns && exec "$@"`;
  const result = await run([
    ...[...enter, "-U", "-n", "-m", "--map-current-user", "--keep-caps", "sh", "-c", inside, "sh"],
    ...[process.execPath, "--input-type=module-typescript", "-e", script],
  ]);
  assert.equal(result.code, 0, result.stderr);
  assert.deepEqual(JSON.parse(result.stdout), { uid: 65534, ok: true, seen: true });
});
