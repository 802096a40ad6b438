/** Applies a wider policy with a new component, says so, and waits to be killed. */
import { PlainEngine } from "../rooms/plain-engine.test-kit.ts";
import { RoomSet } from "../rooms/room-set.ts";
import { conduit, ip, leg, only, smallPlant } from "../rooms/site.test-kit.ts";
import { Enforcement } from "./enforcement.ts";

/** The test kills this process long before. */
const LIFE_MS = 60_000;

const [kit = "", name = "", runDir = "", stateDir = "", netnsPrefix = "", host = ""] =
  process.argv.slice(2);
const engines = {
  outer: new PlainEngine("outer", `${netnsPrefix}-outer`),
  inner: new PlainEngine("inner", `${netnsPrefix}-inner`),
};
const rooms = new RoomSet({ name, runDir, stateDir, netnsPrefix }, engines, host);
const guardCommand = [process.execPath, kit, name, runDir, stateDir, netnsPrefix, host];
const enforcement = await Enforcement.open({
  rooms,
  clock: () => Date.now(),
  guardCommand,
});
await enforcement.boot();
const plant = smallPlant([
  conduit("b-pings-a", [leg("inner", "10.42.0.10", "10.41.0.10", "icmp")], {
    fromZones: ["cell-b"],
    toZones: ["cell-a"],
  }),
  conduit("it-pings-gate", [leg("outer", "10.10.0.10", "10.30.0.10", "icmp")], {
    fromZones: ["enterprise"],
    toZones: ["dmz/gate"],
  }),
]);
const extra = { interface: "i-extra", addresses: [ip("10.31.0.20")] };
const zone = {
  name: "dmz/extra",
  kind: "dmz" as const,
  point: "inner" as const,
  interface: "i-extra",
  addresses: only("10.31.0.20"),
};
const legs = {
  ...plant,
  zones: [...plant.zones, zone],
  rooms: [...plant.rooms, { name: "extra", kind: "gate" as const, inner: extra }],
};
await enforcement.apply(
  { legs, policy: new Uint8Array(), approvals: [], approvalIds: [] },
  { confirmWithinSeconds: 4 },
);
process.stdout.write("applied\n");
setTimeout(() => {}, LIFE_MS);
