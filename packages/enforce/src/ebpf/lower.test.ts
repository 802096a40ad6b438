import assert from "node:assert/strict";
import { test } from "node:test";
import { SallyportError } from "@sallyport/core";
import {
  batchText,
  fillSlot,
  type MapName,
  select,
  setSampling,
  tableOf,
  zoneNames,
  zoneNumber,
} from "./lower.ts";
import { placeIn } from "./pages.test-kit.ts";
import { conduit, ip, leg, lowering, NOW, plant, port, span } from "./plant.test-kit.ts";

const CLOCK = { nowMs: NOW, bootNs: 1_000_000_000n };
const INTERFACES = new Map([
  ["sup0", 2],
  ["cella0", 3],
]);
const ifindexOf = (name: string): number | undefined => INTERFACES.get(name);

function writesTo(map: MapName, legs = plant()): { key: string; value: string | undefined }[] {
  return fillSlot(lowering(legs), ifindexOf, CLOCK).filter((write) => write.map === map);
}

function refusedWith(code: string): (error: unknown) => boolean {
  return (error) => error instanceof SallyportError && error.code === code;
}

test("a slot is marked empty first and filled last, so a half filled one denies", () => {
  const writes = fillSlot(lowering(plant()), ifindexOf, CLOCK);
  const settings = writes.filter(({ map }) => map === "settings");
  assert.deepEqual([writes[0], writes.at(-1)], settings);
  assert.match(settings[0]?.value ?? "", /^00 00 00 00 /);
  assert.match(settings[1]?.value ?? "", /^02 00 00 00 01 00 00 00 /);
});

test("every key of a policy names its slot and generation", () => {
  const table = tableOf({ generation: 0x01020304, slot: 1 });
  assert.equal(table, 0x01020304 * 2 + 1);
  const writes = fillSlot(lowering(plant(), 1, { generation: 7 }), ifindexOf, CLOCK);
  const keyed = writes.filter(({ map }) => map === "live" || map === "interfaces");
  assert.ok(keyed.length > 8);
  for (const { key } of keyed) assert.match(key, /^0f 00 00 00 /);
});

test("a source whose interface is missing belongs to an interface that cannot exist", () => {
  const bytes = (text = ""): Uint8Array =>
    Uint8Array.from(Buffer.from(text.replaceAll(" ", ""), "hex"));
  const settings = bytes(writesTo("settings").at(-1)?.value);
  const root = new DataView(settings.buffer).getUint32(68, true);
  const pages = writesTo("pages").map(({ value }) => bytes(value));
  assert.equal(placeIn(pages, root, ip("10.31.0.20"))?.ifindex, 0xffffffff);
  assert.equal(placeIn(pages, root, ip("10.40.0.10"))?.ifindex, INTERFACES.get("sup0"));
});

test("ends are on the boot clock; closed is 0, open without an end is never over", () => {
  const live = { closed: { open: true, until: NOW + 2000, closedReason: "expired" } as const };
  const writes = fillSlot(lowering(plant(), 0, { live }), ifindexOf, CLOCK);
  const ends = writes.filter(({ map }) => map === "live").map(({ value }) => value?.slice(0, 23));
  assert.equal(ends[0], "ff ff ff ff ff ff ff ff");
  assert.equal(ends[1], "00 5e d0 b2 00 00 00 00");
  assert.equal(ends[6], "00 00 00 00 00 00 00 00");
});

test("equal rights make one class: a thousand more hosts of a zone add addresses, not cells", () => {
  const many = (last: string): number => {
    const legs = plant([
      conduit("c", [leg(span("10.40.0.2", last), span("10.41.0.10"), { ports: [port(1)] })]),
    ]);
    return writesTo("pages", legs).length;
  };
  assert.equal(many("10.40.0.250"), many("10.40.0.3"));
});

test("more conduits over the same packets than the program asks are refused, not cut off", () => {
  const over = (count: number): ReturnType<typeof plant> =>
    plant(
      Array.from({ length: count }, (_, index) =>
        conduit(`c${String(index).padStart(2, "0")}`, [
          leg(span("10.40.0.10"), span("10.41.0.10"), { ports: [port(1, 2)] }),
        ]),
      ),
    );
  assert.ok(writesTo("pages", over(32)).length > 0);
  assert.throws(() => writesTo("pages", over(33)), refusedWith("ebpf-policy-too-large"));
});

test("a zone keeps its number in every generation, and two zones never share one", () => {
  const [zone] = plant().zones;
  assert.ok(zone);
  assert.equal(zoneNumber(zone), zoneNumber({ ...zone, addresses: [] }));
  assert.notEqual(zoneNumber(zone), zoneNumber({ ...zone, interface: "other0" }));
  assert.equal(zoneNames(plant().zones).size, plant().zones.length);
});

test("the choice of slots is one write", () => {
  assert.equal(select(1).value, "01 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00");
  const pending = select(0, { slot: 1, untilBootNs: 0x0102n });
  assert.equal(pending.value, "00 00 00 00 01 00 00 00 02 01 00 00 00 00 00 00");
});

test("a rate of 0 samples nothing", () => {
  const off = setSampling("inner", { tapIfindex: 9, perSecond: 0, burst: 5 });
  assert.match(off.value ?? "", /^00 00 00 00 01 /);
});

test("bpftool gets one line an entry, none longer than it reads", () => {
  const text = batchText("/run/x/maps", fillSlot(lowering(plant()), ifindexOf, CLOCK));
  const lines = text.trimEnd().split("\n");
  assert.equal(
    lines[0]?.startsWith("map update pinned /run/x/maps/settings key hex 00 00 00 00 value hex"),
    true,
  );
  // BATCH_LINE_LEN_MAX and BATCH_ARG_NB_MAX of bpftool.
  for (const line of lines) {
    assert.ok(line.length < 65_536);
    assert.ok(line.split(" ").length < 4096);
  }
});
