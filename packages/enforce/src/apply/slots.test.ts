import assert from "node:assert/strict";
import { test } from "node:test";
import type { RoomSet } from "../rooms/room-set.ts";
import { conduit, leg, smallPlant } from "../rooms/site.test-kit.ts";
import type { Engine } from "./engine-port.ts";
import type { GrantBook } from "./grants.ts";
import { Slots } from "./slots.ts";
import type { Generation } from "./state.ts";

const DAY = 24 * 3600 * 1000;
const START = Date.UTC(2026, 10, 22);

/** An engine that only notes which numbers it was told of, through the port. */
function noting(told: number[][]): Engine {
  const noted: Pick<Engine, "load" | "setLive"> = {
    load: () => Promise.resolve(),
    setLive: (_, entries) => {
      told.push(entries.map(({ id }) => id));
      return Promise.resolve(new Map());
    },
  };
  return noted as Engine;
}

test("an end that is weeks ahead is told to the kernel again every day, and nothing in between", async () => {
  const told: number[][] = [];
  let now = START;
  const engine = noting(told);
  const slots = new Slots({
    rooms: { engines: { outer: engine, inner: engine } } as unknown as RoomSet,
    grants: { all: () => [] } as unknown as GrantBook,
    clock: () => now,
    terms: () => ({ islands: new Set(), timeTrusted: true }),
    idOf: () => 7,
    wrote: () => {},
  });
  const one = conduit("b-pings-a", [leg("inner", "10.42.0.10", "10.41.0.10", "icmp")], {
    fromZones: ["cell-b"],
    toZones: ["cell-a"],
  });
  const legs = smallPlant([{ ...one, expires: START + 200 * DAY }]);
  const loaded = await slots.load({ number: 1, slot: 0 } as Generation, legs);
  now = START + DAY - 1;
  await slots.refresh(loaded);
  assert.deepEqual(told, [], "what the kernel knows is not told again");
  now = START + DAY;
  await slots.refresh(loaded);
  assert.deepEqual(told, [[7], [7]], "both engines are told again");
  await slots.refresh(loaded);
  assert.equal(told.length, 2);
});

test("an end that took too long to tell is told again, until it cannot come late", async () => {
  const told: number[][] = [];
  let now = START;
  /** How long the kernel takes over each telling. */
  const takes = [150, 150, 50];
  const engine = noting(told);
  const slow: Engine = {
    ...engine,
    setLive: async (lowering, entries) => {
      const written = await engine.setLive(lowering, entries);
      now += takes.shift() ?? 0;
      return written;
    },
  };
  const conduits = [100, 300].map((rest, index) => ({
    ...conduit(`ends-${index}`, [leg("inner", "10.42.0.10", "10.41.0.10", "icmp")], {
      fromZones: ["cell-b"],
      toZones: ["cell-a"],
    }),
    expires: START + 5000 + rest,
  }));
  const slots = new Slots({
    rooms: { engines: { outer: slow, inner: noting([]) } } as unknown as RoomSet,
    grants: { all: () => [] } as unknown as GrantBook,
    clock: () => now,
    terms: () => ({ islands: new Set(), timeTrusted: true }),
    idOf: (key) => (key.startsWith("ends-0") ? 1 : 2),
    wrote: () => {},
  });
  const loaded = await slots.load({ number: 1, slot: 0 } as Generation, smallPlant(conduits));
  assert.deepEqual(told, [], "loading took no time here");
  loaded.live.clear();
  await slots.refresh(loaded);
  // After 150 ms of 100 the first would end 50 ms late; told again it has 950 ms to spare.
  assert.deepEqual(told, [[1, 2], [1]]);
});
