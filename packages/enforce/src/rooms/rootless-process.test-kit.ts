/** Rooms in a user namespace, both judged by nftables; prints what it saw as one line of JSON. */
import { run } from "../apply/run.ts";
import { NftablesEngine } from "../nftables/engine.ts";
import { RoomSet } from "./room-set.ts";
import { conduit, leg, smallPlant, TestSite } from "./site.test-kit.ts";

// Names of namespaces lie under /run, which is the real root's.
await run("mount", ["-t", "tmpfs", "tmpfs", "/run"]);
await using site = await TestSite.make();
await site.addHost("it", "it0", "10.10.0.10/24", "10.10.0.1");
await site.addHost("a", "cella0", "10.41.0.10/24", "10.41.0.1");
await site.addHost("b", "cellb0", "10.42.0.10/24", "10.42.0.1");
const legs = smallPlant([conduit("b-to-a", [leg("inner", "10.42.0.10", "10.41.0.10", "icmp")])]);
const engines = {
  outer: new NftablesEngine({ point: "outer", netns: site.room("outer") }),
  inner: new NftablesEngine({ point: "inner", netns: site.room("inner") }),
};
const rooms = new RoomSet(site.instance, engines, site.hostNetns);
await rooms.up(legs);
const liveness = { open: true, until: null, closedReason: "expired" } as const;
const entry = { id: 1, liveness, audit: false, diode: false };
const conduits = new Map(legs.conduits.map(({ key }) => [key, entry]));
for (const point of ["outer", "inner"] as const) {
  const common = { legs, point, slot: 0, generation: 1, now: 0, conduits, grants: [] } as const;
  await engines[point].load(common);
  await engines[point].select({ confirmed: 0 });
}
const seen = {
  uid: process.getuid?.(),
  differences: await rooms.check(legs),
  allowed: await site.pings("b", "10.41.0.10"),
  refused: await site.pings("a", "10.42.0.10"),
  own: await site.pings("a", "10.41.0.1"),
};
await run("nft", ["flush", "ruleset"], { netns: site.room("inner") });
const flushed = await site.pings("b", "10.41.0.10");
await rooms.down();
process.stdout.write(JSON.stringify({ ...seen, flushed, left: await site.namespaces() }));
