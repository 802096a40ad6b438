import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { after, before, test, type TestContext } from "node:test";
import { EventReader, eventsDir } from "sallyport";
import { PYTHON, program } from "../lab/device.ts";
import { whyNoNamespaces } from "../lab/namespaces.ts";
import type { HostName } from "../lab/plant.ts";
import { describePacket } from "../lab/pcap.ts";
import { within } from "../lab/shell.ts";
import { applyAndConfirm, buildSite, plantPolicy, type Site } from "../lab/site.ts";
import type { PolicyText } from "../lab/story.ts";

const why = process.getuid?.() === 0 ? await whyNoNamespaces() : "needs root: rooms, eBPF and uids";
const PANEL = "10.41.0.20";
const GHOST = "10.41.0.99";
const HISTORIAN = "10.10.0.11";
const PRESS = "10.42.0.10";
const WEB = 8080;
const STREAM = 9000;
const CLOSED = 9001;
const DRIVE = 4712;
/** As the policy below says it. */
const MAX = 100;
const IDLE_SECONDS = 3;
const CONNECT_SECONDS = 2;
const EVENT_LIMIT_MS = 5_000;
const CLIENT_LIMIT_MS = 60_000;
/** The conduits that this file's streams take. */
const STREAMS = /^(stream-|press-diagnosis)/;
/** Connections that live while a policy is applied. */
const TALKING = 10;

const ASSETS = `
  panel:      { zone: cell-a, address: ${PANEL} }
  ghost:      { zone: cell-a, address: ${GHOST} }
`;
const SERVICES = `
  panel-web:    { tcp: [${WEB}] }
  panel-stream: { tcp: [${STREAM}, ${CLOSED}] }
`;
const TERMS = `owner: operations
    why: What a test needs
    expires: 2027-01-31`;
const CONDUITS = `
  web-through-the-dmz:
    from: erp
    to: panel
    service: panel-web
    via: proxy
    through: gate-erp
    ${TERMS}
  stream-through-the-dmz:
    from: erp
    to: [panel, ghost]
    service: panel-stream
    via: proxy
    through: gate-erp
    connections: { max: ${MAX}, idle: ${IDLE_SECONDS}s, connect: ${CONNECT_SECONDS}s }
    ${TERMS}
  stream-between-segments:
    from: eng-ws
    to: panel
    service: panel-stream
    via: inspect
    through: gate-cells
    connections: { max: ${MAX} }
    ${TERMS}
  stream-to-it:
    from: panel
    to: historian
    service: panel-stream
    via: proxy
    through: gate-erp
    connections: { max: ${MAX} }
    ${TERMS}
`;

function policy(withStreams = true): PolicyText {
  let { text } = plantPolicy();
  const add = (head: string, more: string): void => {
    assert.ok(text.includes(head), head);
    text = text.replace(head, `${head}${more.replace(/^\n|\n$/g, "")}\n`);
  };
  add("assets:\n", ASSETS);
  add("services:\n", SERVICES);
  if (withStreams) add("conduits:\n", CONDUITS);
  text = text.replace("    when: sunday-maintenance\n", "");
  return { name: "site.yaml", text };
}

let site: Site | undefined;
let files = "";
/** What the stream servers told, by host. */
const told = new Map<HostName, string[]>();

before(async () => {
  if (why !== undefined) return;
  files = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-clients-"));
  site = await buildSite({ name: `c${process.pid}`, mode: "kernel", policy: policy() });
  await serve(site, "tank-panel", [STREAM]);
  await serve(site, "historian", [STREAM]);
  await serve(site, "press-plc", [DRIVE]);
  let isUp = false;
  const argv = ["-u", "-m", "http.server", String(WEB), "--directory", files];
  site.plant.spawn("tank-panel", [...PYTHON, ...argv], () => {
    isUp = true;
  });
  assert.ok(await within(EVENT_LIMIT_MS, () => isUp || undefined), "the panel's web server");
});
after(async () => {
  await site?.destroy();
  if (files !== "") fs.rmSync(files, { recursive: true, force: true });
});

async function serve({ plant }: Site, host: HostName, ports: readonly number[]): Promise<void> {
  const lines: string[] = [];
  told.set(host, lines);
  const argv = [...PYTHON, program("devices/streams.py"), ...ports.map(String)];
  plant.spawn(host, argv, (line) => lines.push(line));
  assert.ok(await within(EVENT_LIMIT_MS, () => lines[0]), `the server of ${host}`);
}

function standing(t: TestContext): Site | undefined {
  if (site === undefined) t.skip(why ?? "no plant");
  return site;
}

interface Streams {
  readonly from: HostName;
  readonly to: string;
  readonly port?: number;
  readonly extra?: readonly string[];
}

/** How each connection of one client ended. */
async function stream({ plant }: Site, asked: Streams): Promise<string[]> {
  const { from, to, port = STREAM, extra = [] } = asked;
  const argv = [...PYTHON, program("clients/streams.py"), to, String(port), ...extra];
  const { stdout, stderr } = await plant.run(from, argv, { timeoutMs: CLIENT_LIMIT_MS });
  const results = [...stdout.matchAll(/"result": "([^"]*)"/g)].map((match) => match[1] ?? "");
  assert.ok(results.length > 0, stderr);
  return results;
}

function tally(results: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const result of results) counts[result] = (counts[result] ?? 0) + 1;
  return counts;
}

test("curl through an opaque relay gets a file whole, and the server sees only the gate", async (t) => {
  const here = standing(t);
  if (here === undefined) return;
  const { plant, product } = here;
  const body = randomBytes(5_000_000);
  fs.writeFileSync(path.join(files, "recipe.bin"), body);
  // Beginnings are enough, and few enough for a capture on a busy machine.
  const beginnings = ["tcp", "port", String(WEB), "and", "tcp[tcpflags] & tcp-syn != 0"];
  const capture = await plant.capture("tank-panel", beginnings);
  const got = path.join(files, "got.bin");
  const url = `http://${PANEL}:${WEB}/recipe.bin`;
  const curl = ["curl", "-sS", "--max-time", "20", "-o", got, "-w", "%{http_code}", url];
  const result = await plant.run("erp", curl);
  assert.equal(result.stdout, "200", result.stderr);
  const hash = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
  assert.equal(hash(fs.readFileSync(got)), hash(body));
  const clients = new Set(
    (await capture.stop()).filter(({ port }) => port === WEB).map(({ source }) => source),
  );
  assert.deepEqual([...clients], [await product.egressAddress("web-through-the-dmz")]);
});

test("nobody else gets there with curl, past the gate or through it", async (t) => {
  const here = standing(t);
  if (here === undefined) return;
  const { plant } = here;
  const capture = await plant.capture("tank-panel", ["tcp", "port", String(WEB)]);
  for (const from of ["attacker", "vendor-pc", "hmi", "rogue", "eng-ws"] as const) {
    const url = `http://${PANEL}:${WEB}/recipe.bin`;
    const { code } = await plant.run(from, ["curl", "-sS", "--max-time", "1.5", url]);
    // CURLE_OPERATION_TIMEDOUT: silence, not a refusal.
    assert.equal(code, 28, from);
  }
  assert.deepEqual(await capture.stop(), []);
});

test("nc sends a file, ends its side, and still gets the answer to the end", async (t) => {
  const here = standing(t);
  if (here === undefined) return;
  const text = "E".concat("a line of a recipe\n".repeat(10_000));
  const argv = ["nc", "-N", "-w", "10", PANEL, String(STREAM)];
  const { stdout } = await here.plant.run("erp", argv, { input: text, timeoutMs: 20_000 });
  assert.equal(stdout.slice(0, text.length - 1), text.slice(1));
  const ended = await within(EVENT_LIMIT_MS, () =>
    told.get("tank-panel")?.find((line) => line.includes(`"bytes": ${text.length - 1},`)),
  );
  assert.match(ended ?? "", /"event": "ended"/);
});

const WAYS: readonly (Streams & { readonly what: string })[] = [
  { what: "from IT through the DMZ", from: "erp", to: PANEL },
  { what: "between segments through a gate", from: "eng-ws", to: PANEL },
  { what: "from OT through the DMZ to IT", from: "tank-panel", to: HISTORIAN },
  { what: "directly between segments", from: "eng-ws", to: PRESS, port: DRIVE },
];
for (const way of WAYS) {
  test(`${MAX} connections at once ${way.what} carry their bytes both ways, each side ending first`, async (t) => {
    const here = standing(t);
    if (here === undefined) return;
    const since = Date.now();
    const count = ["--count", String(MAX)];
    const echoed = await stream(here, { ...way, extra: [...count, "--bytes", "100000"] });
    assert.deepEqual(tally(echoed), { right: MAX });
    const first = [...count, "--mode", "first", "--bytes", "20000"];
    assert.deepEqual(tally(await stream(here, { ...way, extra: first })), { right: MAX });
    // A client tries again: a session that the engines refused would only be late.
    const denied = new EventReader(eventsDir(here.instance))
      .poll()
      .filter((event) => event.type === "packet-denied" && Date.parse(event.at) >= since)
      .filter((event) => STREAMS.test(String(event["conduit"])));
    assert.deepEqual(
      denied.map((event) => event["reason"]),
      [],
    );
  });
}

test("what a client sends after the server has ended its side arrives whole", async (t) => {
  const here = standing(t);
  if (here === undefined) return;
  const sent = 123_457;
  const extra = ["--mode", "first", "--bytes", String(sent)];
  assert.deepEqual(await stream(here, { from: "erp", to: PANEL, extra }), ["right"]);
  const line = await within(EVENT_LIMIT_MS, () =>
    told.get("tank-panel")?.find((one) => one.includes(`"bytes": ${sent},`)),
  );
  assert.match(line ?? "", /"event": "ended"/);
});

test(`of ${MAX + 1} connections on one listener the last is closed, and an event says why`, async (t) => {
  const here = standing(t);
  if (here === undefined) return;
  const { plant } = here;
  const since = Date.now();
  const lines: string[] = [];
  const held = ["--count", String(MAX), "--bytes", "1000", "--hold", "2.5"];
  const argv = [...PYTHON, program("clients/streams.py"), PANEL, String(STREAM), ...held];
  const client = plant.spawn("erp", argv, (line) => lines.push(line));
  assert.ok(await within(CLIENT_LIMIT_MS, () => lines.find((one) => one.includes("all-open"))));
  const [more] = await stream(here, { from: "erp", to: PANEL });
  assert.match(more ?? "", /^(closed|ConnectionResetError|BrokenPipeError)$/);
  await client.exited;
  const kept = lines.flatMap((line) => /"result": "([^"]*)"/.exec(line)?.[1] ?? []);
  assert.deepEqual(tally(kept), { right: MAX }, "those that were open go on");
  assert.deepEqual(
    await stream(here, { from: "erp", to: PANEL }),
    ["right"],
    "there is room again",
  );
  const event = await gateEvent(here, since, /^connection-limit$/);
  assert.equal(event?.["conduit"], "stream-through-the-dmz");
});

/** The first event since then in which a gate gives this reason. */
function gateEvent(
  { instance }: Site,
  since: number,
  reason: RegExp,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  return within(EVENT_LIMIT_MS, () =>
    new EventReader(eventsDir(instance))
      .poll()
      .find((event) => reason.test(String(event["reason"])) && Date.parse(event.at) >= since),
  );
}

test("a connection on which nothing moves is ended at its idle limit, one that talks is not", async (t) => {
  const here = standing(t);
  if (here === undefined) return;
  const since = Date.now();
  const [quiet] = await stream(here, { from: "erp", to: PANEL, extra: ["--mode", "quiet"] });
  const seconds = Number(/^ended after ([0-9.]+) s$/.exec(quiet ?? "")?.[1]);
  assert.ok(seconds >= IDLE_SECONDS - 1, quiet);
  assert.equal((await gateEvent(here, since, /^idle$/))?.["conduit"], "stream-through-the-dmz");
  const unlimited = ["--hold", String(IDLE_SECONDS + 1)];
  assert.deepEqual(await stream(here, { from: "eng-ws", to: PANEL, extra: unlimited }), ["right"]);
});

test("an asset that is not there, or refuses, ends the connection for the right reason", async (t) => {
  const here = standing(t);
  if (here === undefined) return;
  for (const [to, port, reason] of [
    [GHOST, STREAM, /^device-(timeout|unreachable)$/],
    [PANEL, CLOSED, /^device-refused$/],
  ] as const) {
    const since = Date.now();
    const [result] = await stream(here, { from: "erp", to, port });
    assert.match(result ?? "", /^(closed|ConnectionResetError|BrokenPipeError)$/);
    const event = await gateEvent(here, since, reason);
    assert.equal(event?.["conduit"], "stream-through-the-dmz", String(reason));
  }
});

test("connections end when an apply takes their conduits away, and nothing comes after", async (t) => {
  const here = standing(t);
  if (here === undefined) return;
  const { plant, product } = here;
  // Outside a client is told by a reset, unless its gate ended the connection before it spoke again: then what it
  // sends belongs to no session. Inside nobody answers any more.
  const ways = [
    { from: "erp", isTold: true },
    { from: "eng-ws", isTold: false },
  ] as const;
  const ENDS = /^(ConnectionResetError|ended|silence)$/;
  const talking = ways.map(({ from }) => {
    const lines: string[] = [];
    const argv = [...PYTHON, program("clients/streams.py"), PANEL, String(STREAM)];
    const options = ["--count", String(TALKING), "--mode", "talk", "--timeout", "30"];
    const client = plant.spawn(from, [...argv, ...options], (line) => lines.push(line));
    return { client, lines };
  });
  for (const { lines } of talking) {
    assert.ok(await within(CLIENT_LIMIT_MS, () => lines.find((one) => one.includes("all-open"))));
  }
  const capture = await plant.capture("tank-panel", ["tcp", "dst", "port", String(STREAM)]);
  await applyAndConfirm(product, policy(false));
  const applied = Date.now();
  for (const [index, { client, lines }] of talking.entries()) {
    assert.ok(await within(CLIENT_LIMIT_MS, () => (client.isRunning ? undefined : true)));
    const results = lines.flatMap((line) => /"result": "([^"]*)"/.exec(line)?.[1] ?? []);
    assert.equal(results.length, TALKING);
    const seen = JSON.stringify(tally(results));
    assert.ok(
      results.every((result) => ENDS.test(result)),
      seen,
    );
    const isTold = results.some((result) => result !== "silence");
    assert.ok(isTold || ways[index]?.isTold === false, seen);
  }
  for (const { from } of ways) {
    const refused = await stream(here, { from, to: PANEL, extra: ["--timeout", "1.5"] });
    assert.deepEqual(refused, ["timeout"]);
  }
  const packets = await capture.stop();
  assert.ok(packets.length > 0, "they talked until then");
  assert.deepEqual(packets.filter(({ at }) => at > applied).map(describePacket), []);
});
