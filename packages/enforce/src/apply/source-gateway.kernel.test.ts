import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Legs } from "@sallyport/policy/legs";
import { EbpfEngine } from "../ebpf/engine.ts";
import { NftablesEngine } from "../nftables/engine.ts";
import { RoomSet } from "../rooms/room-set.ts";
import { conduit, ip, kernelTestsNeed, leg, smallPlant, TestSite } from "../rooms/site.test-kit.ts";
import type { Engine } from "./engine-port.ts";
import { Enforcement } from "./enforcement.ts";
import { run, tryRun } from "./run.ts";
import { TranslatedEngine } from "./translation.ts";

const skip = kernelTestsNeed() ?? false;
const kit = path.join(import.meta.dirname, "guard-process.test-kit.ts");
const DEVICE = "10.41.0.10";
const GATEWAY = "10.41.0.1";
const [GATE, EGRESS] = ["10.31.0.10", "10.31.0.11"];
const [TCP, UDP] = [502, 4840];

/** Tells every caller, over the same connection, which address and port it sees it under. */
const SERVER = `
import socket, threading
def tell(peer): return ("%s %d" % peer).encode()
def serve():
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("${DEVICE}", ${UDP}))
    while True:
        data, peer = u.recvfrom(99); u.sendto(tell(peer), peer)
threading.Thread(target=serve, daemon=True).start()
s = socket.create_server(("${DEVICE}", ${TCP})); print("up", flush=True)
while True:
    c, peer = s.accept(); c.sendall(tell(peer)); c.close()
`;
/** from, to, port, protocol: what the other side saw, then the own port. */
const CLIENT = `
import socket, sys
source, target, port, kind = sys.argv[1:5]
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
s.settimeout(1.5); s.bind((source, 0)); s.connect((target, int(port))); own = s.getsockname()[1]
if kind == "udp": s.send(b"?")
print(s.recv(99).decode(), own)
`;

interface Stand extends AsyncDisposable {
  readonly site: TestSite;
  readonly enforcement: Enforcement;
  /** What the device saw of a call: address and port, then the caller's own port. */
  readonly calls: (
    netns: string,
    from: string,
    port: number,
    kind: "tcp" | "udp",
  ) => Promise<string>;
}

function legsOf(): Legs {
  const fromB = { fromZones: ["cell-b"], toZones: ["cell-a"] };
  const b = "10.42.0.10";
  const gateLeg = leg("inner", EGRESS, DEVICE, "tcp", TCP);
  const legs = smallPlant([
    conduit("b-talks-to-a", [leg("inner", b, DEVICE, "tcp", TCP)], fromB),
    conduit("b-reports-to-a", [leg("inner", b, DEVICE, "udp", UDP)], fromB),
    conduit("b-pings-a", [leg("inner", b, DEVICE, "icmp")], fromB),
    conduit("gate-talks-to-a", [gateLeg], { fromZones: ["dmz"], toZones: ["cell-a"] }),
  ]);
  const address = ip(GATEWAY);
  const zones = legs.zones.map((zone) =>
    zone.name === "cell-a" ? { ...zone, dialledFrom: [{ to: zone.addresses, address }] } : zone,
  );
  return { ...legs, zones };
}

/** The device of cell-a has no route out of its own network. */
async function stand(inner: (site: TestSite) => Engine): Promise<Stand> {
  const site = await TestSite.make();
  const engines = {
    outer: new NftablesEngine({ point: "outer", netns: site.room("outer") }),
    inner: inner(site),
  };
  let server: ChildProcess | undefined;
  const dispose = async (): Promise<void> => {
    server?.kill("SIGKILL");
    await engines.inner.remove();
    await site[Symbol.asyncDispose]();
  };
  try {
    await site.addHost("it", "it0", "10.10.0.10/24", "10.10.0.1");
    await site.addHost("a", "cella0", `${DEVICE}/24`);
    await site.addHost("b", "cellb0", "10.42.0.10/24", "10.42.0.1");
    const rooms = new RoomSet(site.instance, engines, site.hostNetns);
    const { name, runDir, stateDir, netnsPrefix } = site.instance;
    const guardCommand = [process.execPath, kit, name, runDir, stateDir, netnsPrefix];
    const enforcement = await Enforcement.open({
      rooms,
      clock: () => Date.now(),
      guardCommand: [...guardCommand, site.hostNetns],
    });
    const policy = new TextEncoder().encode("policy");
    const request = { legs: legsOf(), policy, approvals: [], approvalIds: [] };
    const { generation } = await enforcement.apply(request, { confirmWithinSeconds: 60 });
    await enforcement.confirm(generation);
    const where = `--net=/run/netns/${site.namespace("a")}`;
    server = spawn("nsenter", [where, "python3", "-c", SERVER], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    await new Promise((resolve) => server?.stdout?.once("data", resolve));
    const calls: Stand["calls"] = async (netns, from, port, kind) => {
      const args = ["-c", CLIENT, from, DEVICE, String(port), kind];
      const { exitCode, stdout } = await tryRun("python3", args, { netns, timeoutMs: 10_000 });
      return exitCode === 0 ? stdout.trim() : "no answer";
    };
    return { site, enforcement, calls, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

interface EngineCase {
  /** Where the translation stands. */
  readonly table: string;
  /** Whether packets that it misses still leave the room. */
  readonly leaves: boolean;
  readonly at: (site: TestSite) => Engine;
}

const ENGINES: Readonly<Record<string, EngineCase>> = {
  "eBPF inside": {
    table: "sallyport_gates",
    leaves: true,
    at: (site) => {
      const netns = site.room("inner");
      const directory = path.join(site.instance.runDir, "bpf");
      return new TranslatedEngine(new EbpfEngine({ point: "inner", netns, directory }), netns);
    },
  },
  "nftables on both sides": {
    table: "sallyport",
    leaves: false,
    at: (site) => new NftablesEngine({ point: "inner", netns: site.room("inner") }),
  },
};

for (const [name, { table, leaves, at }] of Object.entries(ENGINES)) {
  test(`${name}: a device without a route back sees and answers the gateway's address alone`, {
    skip,
  }, async () => {
    await using scope = await stand(at);
    const { site, calls } = scope;
    const [b, gate] = [site.namespace("b"), site.room("gate")];
    for (const [netns, from, port, kind] of [
      [b, "10.42.0.10", TCP, "tcp"],
      [b, "10.42.0.10", UDP, "udp"],
      [gate, EGRESS, TCP, "tcp"],
    ] as const) {
      const [address, seen, own] = (await calls(netns, from, port, kind)).split(" ");
      assert.deepEqual([address, seen], [GATEWAY, own], `${from} ${kind}`);
    }
    assert.equal(await site.pings("b", DEVICE), true);

    // Who has no conduit gets nowhere by it, and the gateway's address is no service.
    assert.equal(await calls(gate, GATE, TCP, "tcp"), "no answer");
    assert.equal(await calls(b, "10.42.0.10", TCP + 1, "tcp"), "no answer");
    assert.equal(await site.pings("a", GATEWAY), false);
    const { denials } = await scope.enforcement.counters();
    const inner = denials.filter(({ point }) => point === "inner");
    for (const reason of ["no-conduit", "to-gateway"]) {
      assert.ok(
        inner.some((one) => one.reason === reason && one.packets > 0),
        reason,
      );
    }
  });

  test(`${name}: without the translation nothing passes, though the device knows a way back`, {
    skip,
  }, async () => {
    await using scope = await stand(at);
    const { site, calls } = scope;
    const [b, gate, inner] = [site.namespace("b"), site.room("gate"), site.room("inner")];
    await run("ip", ["route", "add", "default", "via", GATEWAY], { netns: site.namespace("a") });
    assert.match(await calls(b, "10.42.0.10", TCP, "tcp"), /^10\.41\.0\.1 /);
    await run("nft", ["delete", "chain", "ip", table, "dial"], { netns: inner });
    const heard = listen(site.namespace("a"));
    await heard.up;
    assert.equal(await calls(b, "10.42.0.10", TCP, "tcp"), "no answer");
    assert.equal(await calls(gate, EGRESS, TCP, "tcp"), "no answer");
    assert.equal(await calls(b, "10.42.0.10", UDP, "udp"), "no answer");
    assert.equal(await site.pings("b", DEVICE), false);
    const seen = await heard.stop();
    // Beside eBPF untranslated packets go out, and what the device answers ends at the gateway;
    // nftables alone stops them in its room.
    const untranslated = /IP 10\.42\.0\.10\.\d+ > 10\.41\.0\.10\.502: Flags \[S\]/.test(seen);
    const answered = /IP 10\.41\.0\.10\.502 > 10\.42\.0\.10\.\d+: Flags \[S\.\]/.test(seen);
    assert.deepEqual([untranslated, answered], leaves ? [true, true] : [false, false], seen);
  });
}

/** What passes a device's link, as tcpdump says it. */
function listen(netns: string): { readonly up: Promise<void>; stop(): Promise<string> } {
  const argv = [`--net=/run/netns/${netns}`, "tcpdump", "-i", "eth0", "-n", "-l", "-Z", "root"];
  const child = spawn("nsenter", argv, { stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => {
    text += chunk.toString("utf8");
  });
  const ended = new Promise((resolve) => child.once("close", resolve));
  return {
    up: new Promise((resolve) => child.stderr.once("data", () => resolve())),
    stop: async () => {
      await sleep(300);
      child.kill("SIGINT");
      await ended;
      return text;
    },
  };
}
