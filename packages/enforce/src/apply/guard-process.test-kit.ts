/** The guard as a process of its own, on the tests' engine: `<name> <run dir> <state dir> <prefix> <host>`. */
import { PlainEngine } from "../rooms/plain-engine.test-kit.ts";
import { RoomSet } from "../rooms/room-set.ts";
import { standGuard } from "./guard.ts";

const [name = "", runDir = "", stateDir = "", netnsPrefix = "", host = ""] = process.argv.slice(2);
const engines = {
  outer: new PlainEngine("outer", `${netnsPrefix}-outer`),
  inner: new PlainEngine("inner", `${netnsPrefix}-inner`),
};
const rooms = new RoomSet({ name, runDir, stateDir, netnsPrefix }, engines, host);
// The reader may be gone by the time the guard is done; that must not end it.
process.stdout.on("error", () => {});
await standGuard(stateDir, rooms, () => process.stdout.write("armed\n"));
