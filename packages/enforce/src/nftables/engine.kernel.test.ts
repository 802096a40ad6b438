import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as passes } from "node:timers/promises";
import type { Grant, Legs, Liveness, Redirect } from "@sallyport/policy/legs";
import { run } from "../apply/run.ts";
import type { LiveEntry, Lowering, Slot } from "../engine.ts";
import { RoomSet } from "../rooms/room-set.ts";
import { conduit, ip, kernelTestsNeed, leg, smallPlant, TestSite } from "../rooms/site.test-kit.ts";
import { NftablesEngine } from "./engine.ts";

const skip = kernelTestsNeed() ?? false;

const PLC = "10.41.0.10";
const LISTENER = { listenAddress: ip("10.30.0.10"), listenPort: 5001, room: "gate", slot: 0 };
const REDIRECT: Redirect = { address: ip(PLC), port: 502, ...LISTENER };
const GATED = conduit("it-reads-a", [
  { ...leg("outer", "10.10.0.10", PLC, "tcp", 502), redirects: [REDIRECT] },
]);
const SESSION = {
  people: ["vendor"],
  maxSeconds: 60,
  approvals: 1,
  attended: false,
  localEnable: false,
  device: "any",
  record: true,
  mode: "read-only",
  slots: 1,
} as const;
const VISIT = conduit(
  "vendor-visits-a",
  [
    {
      ...leg("outer", "10.10.0.10", PLC, "tcp", 503),
      redirects: [{ ...REDIRECT, port: 503, listenPort: 5001 }],
    },
  ],
  { via: "session", session: SESSION },
);
const NUMBER: Readonly<Record<string, number>> = { "it-reads-a": 1, "vendor-visits-a": 2 };
const GRANT_NUMBER = 3;
const OPEN: Liveness = { open: true, until: null, closedReason: "expired" };
const NO_GRANT: Liveness = { open: false, until: null, closedReason: "no-grant" };

/** Echoes; and says hello every 20 ms until something happens. */
const SERVER = `
import socket, threading
s = socket.create_server(("10.30.0.10", 5001))
print("ready", flush=True)
def echo(c):
    try:
        while data := c.recv(4096): c.sendall(data)
    except OSError: pass
while True:
    c, _ = s.accept()
    threading.Thread(target=echo, args=(c,), daemon=True).start()
`;
const CLIENT = `
import socket, sys, time
try:
    c = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2)
    print("connected", flush=True)
    for n in range(int(sys.argv[3])):
        c.sendall(b"hello")
        if not c.recv(5): raise ConnectionError("closed")
        time.sleep(0.02)
    print("done", flush=True)
except ConnectionResetError: print("reset", flush=True)
except (TimeoutError, socket.timeout): print("timeout", flush=True)
except OSError as error: print(error.__class__.__name__, flush=True)
`;

/** The small plant; its outer room is judged by this engine, a gate answers behind it. */
class Plant implements AsyncDisposable {
  readonly site: TestSite;
  readonly outer: NftablesEngine;
  readonly legs: Legs;
  readonly #children: ChildProcess[] = [];

  private constructor(site: TestSite, outer: NftablesEngine, legs: Legs) {
    this.site = site;
    this.outer = outer;
    this.legs = legs;
  }

  static async make(): Promise<Plant> {
    const site = await TestSite.make();
    await site.addHost("it", "it0", "10.10.0.10/24", "10.10.0.1");
    await site.addHost("a", "cella0", "10.41.0.10/24", "10.41.0.1");
    await site.addHost("b", "cellb0", "10.42.0.10/24", "10.42.0.1");
    const [outer, inner] = (["outer", "inner"] as const).map(
      (point) => new NftablesEngine({ point, netns: site.room(point) }),
    );
    assert.ok(outer !== undefined && inner !== undefined);
    const legs = smallPlant([GATED, VISIT]);
    const plant = new Plant(site, outer, legs);
    await new RoomSet(site.instance, { outer, inner }, site.hostNetns).up(legs);
    const server = plant.#python(site.room("gate"), SERVER);
    assert.ok(server.stdout !== null);
    await once(server.stdout, "data");
    return plant;
  }

  #python(netns: string, script: string, ...args: string[]): ChildProcess {
    const command = [`--net=/run/netns/${netns}`, "--", "python3", "-c", script, ...args];
    const child = spawn("nsenter", command, { stdio: ["ignore", "pipe", "inherit"] });
    this.#children.push(child);
    return child;
  }

  /** What became of a client's session; `connected` resolves once it is open. */
  dial(
    address: string,
    port: number,
    hellos: number,
  ): { connected: Promise<void>; end: Promise<string> } {
    const child = this.#python(this.site.namespace("it"), CLIENT, address, `${port}`, `${hellos}`);
    let said = "";
    const connected = new Promise<void>((resolve) => {
      child.stdout?.on("data", (chunk: Buffer) => {
        said += chunk.toString("utf8");
        resolve();
      });
    });
    const end = once(child, "close").then(() => said.trim().split("\n").at(-1) ?? "");
    return { connected, end };
  }

  lowering(
    slot: Slot,
    change: Partial<Record<string, Liveness>> = {},
    legs: Legs = this.legs,
  ): Lowering {
    const now = Date.now();
    const conduits = new Map(
      legs.conduits.map(({ name, key, session }): [string, LiveEntry] => {
        const liveness = change[name] ?? (session === undefined ? OPEN : NO_GRANT);
        return [key, { id: NUMBER[name] ?? 99, liveness, audit: false, diode: false }];
      }),
    );
    return { legs, point: "outer", slot, generation: 1, now, conduits, grants: [] };
  }

  async inForce(lowering: Lowering): Promise<void> {
    await this.outer.load(lowering);
    await this.outer.select({ confirmed: lowering.slot });
  }

  async denied(): Promise<Record<string, number>> {
    const { denials } = await this.outer.counters();
    return Object.fromEntries(denials.map(({ reason, packets }) => [reason, packets]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) child.kill("SIGKILL");
    await this.site[Symbol.asyncDispose]();
  }
}

test("a redirected conduit is reached by the asset's address, its listener not at all", {
  skip,
}, async () => {
  await using plant = await Plant.make();
  await plant.inForce(plant.lowering(0));
  assert.equal(await plant.dial(PLC, 502, 3).end, "done");
  assert.equal(await plant.dial("10.30.0.10", 5001, 3).end, "timeout");
  assert.equal(await plant.dial(PLC, 501, 3).end, "timeout");
  const denied = await plant.denied();
  assert.ok((denied["no-conduit"] ?? 0) >= 2);
  const { hits, peers } = await plant.outer.counters();
  const [hit] = hits.filter(({ id }) => id === NUMBER["it-reads-a"]);
  assert.ok(hit !== undefined && hit.packets > 10 && hit.bytes > hit.packets * 40);
  const seen = peers.map(({ id, port, sessions }) => ({ id, port, sessions }));
  assert.deepEqual(seen, [{ id: 1, port: 502, sessions: 1 }]);
});

test("without its translation a redirected conduit passes nothing", { skip }, async () => {
  await using plant = await Plant.make();
  await plant.inForce(plant.lowering(0));
  await run("nft", ["flush", "chain", "ip", "sallyport", "translate"], {
    netns: plant.site.room("outer"),
  });
  assert.equal(await plant.dial(PLC, 502, 3).end, "timeout");
  assert.ok(((await plant.denied())["engine-detached"] ?? 0) >= 1);
});

test("a live session is reset when its conduit's end comes, with no process acting", {
  skip,
}, async () => {
  await using plant = await Plant.make();
  await plant.inForce(
    plant.lowering(0, {
      "it-reads-a": { open: true, until: Date.now() + 3000, closedReason: "outside-window" },
    }),
  );
  const session = plant.dial(PLC, 502, 1000);
  await session.connected;
  assert.equal(await session.end, "reset");
  assert.ok(((await plant.denied())["outside-window"] ?? 0) >= 1);
});

test("closing a conduit resets its session at once and says why; opening it lets a new one in", {
  skip,
}, async () => {
  await using plant = await Plant.make();
  const lowering = plant.lowering(0);
  await plant.inForce(lowering);
  const session = plant.dial(PLC, 502, 1000);
  await session.connected;
  const entry = { id: 1, audit: false, diode: false };
  const island = { open: false, until: null, closedReason: "island" } as const;
  await plant.outer.setLive(lowering, [{ ...entry, liveness: island }]);
  assert.equal(await session.end, "reset");
  const before = await plant.denied();
  assert.ok((before["island"] ?? 0) >= 1);
  assert.equal(before["expired"], undefined);
  await plant.outer.setLive(lowering, [{ ...entry, liveness: OPEN }]);
  assert.equal(await plant.dial(PLC, 502, 3).end, "done");
});

test("a pending generation that nobody confirms gives way to the confirmed one by itself", {
  skip,
}, async () => {
  await using plant = await Plant.make();
  await plant.inForce(plant.lowering(0));
  const session = plant.dial(PLC, 502, 1000);
  await session.connected;
  await plant.outer.load(plant.lowering(1, {}, { ...plant.legs, conduits: [VISIT] }));
  await plant.outer.select({ confirmed: 0, pending: { slot: 1, forMs: 2000 } });
  assert.equal((await plant.outer.readBack()).slot, 1);
  assert.equal(await session.end, "reset");
  assert.ok(((await plant.denied())["revoked"] ?? 0) >= 1);
  // Bounded: the timed element is gone after its 2 s.
  for (let tries = 0; tries < 50 && (await plant.outer.readBack()).slot === 1; tries++)
    await passes(100);
  assert.equal((await plant.outer.readBack()).slot, 0);
  assert.equal(await plant.dial(PLC, 502, 3).end, "done");
});

test("twenty applies leave a session, its counters and a running end as they were", {
  skip,
}, async () => {
  await using plant = await Plant.make();
  const until = Date.now() + 30_000;
  const ends = { "it-reads-a": { open: true, until, closedReason: "expired" } } as const;
  await plant.inForce(plant.lowering(0, ends));
  const session = plant.dial(PLC, 502, 150);
  await session.connected;
  let least = 0;
  for (let generation = 1; generation <= 20; generation++) {
    await plant.inForce({ ...plant.lowering(generation % 2 === 0 ? 0 : 1, ends), generation });
    const { hits } = await plant.outer.counters();
    const packets = hits.find(({ id }) => id === 1)?.packets ?? 0;
    assert.ok(packets >= least && packets > 0);
    least = packets;
  }
  assert.equal(await session.end, "done");
  const live = await run("nft", ["list", "set", "ip", "sallyport", "live_0"], {
    netns: plant.site.room("outer"),
  });
  const left = Number(/expires (\d+)s/.exec(live)?.[1]);
  assert.ok(left > 0 && left <= (until - Date.now()) / 1000 + 1, live);
});

test("a grant opens its row, and its session is reset when the grant is revoked", {
  skip,
}, async () => {
  await using plant = await Plant.make();
  await plant.inForce(plant.lowering(0));
  assert.equal(await plant.dial(PLC, 503, 3).end, "timeout");
  assert.ok(((await plant.denied())["no-grant"] ?? 0) >= 1);
  const grant: Grant = {
    id: "g-1",
    conduit: "vendor-visits-a",
    person: "vendor",
    reason: "test",
    source: ip("10.10.0.10"),
    asset: "plc",
    target: ip(PLC),
    protocol: "tcp",
    port: 503,
    slot: 0,
    notBefore: 0,
    notAfter: Date.now() + 60_000,
  };
  const entry = {
    id: GRANT_NUMBER,
    liveness: { ...OPEN, until: grant.notAfter },
    audit: false,
    diode: false,
  };
  const row = { grant, entry };
  await plant.outer.addGrant({ ...plant.lowering(0), grants: [row] }, row);
  const session = plant.dial(PLC, 503, 1000);
  await session.connected;
  await plant.outer.removeGrant(plant.lowering(0), row);
  assert.equal(await session.end, "reset");
  assert.ok(((await plant.denied())["revoked"] ?? 0) >= 1);
  assert.equal(await plant.dial(PLC, 503, 3).end, "timeout");
});

test("drift is seen in rules and in elements, and not in what counts or runs out", {
  skip,
}, async () => {
  await using plant = await Plant.make();
  await plant.inForce(plant.lowering(0));
  const netns = plant.site.room("outer");
  const { digest } = await plant.outer.readBack();
  await plant.dial(PLC, 502, 3).end;
  await plant.dial(PLC, 501, 3).end;
  assert.equal((await plant.outer.readBack()).digest, digest);
  for (const change of [
    ["add", "rule", "ip", "sallyport", "forward", "accept"],
    ["delete", "element", "ip", "sallyport", "rooms_0", "{ 10.30.0.10 }"],
    ["add", "element", "ip", "sallyport", "cells_0", "{ 16 . 0:10 . tcp . 22 : 1 }"],
    ["add", "rule", "ip", "sallyport", "judge", "accept"],
    ["add", "element", "ip", "sallyport", "live_0", "{ 2 }"],
    ["add", "table", "inet", "mine"],
  ]) {
    const before = (await plant.outer.readBack()).digest;
    await run("nft", change, { netns });
    assert.notEqual((await plant.outer.readBack()).digest, before, change.join(" "));
  }
});
