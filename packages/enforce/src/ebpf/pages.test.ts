import assert from "node:assert/strict";
import { test } from "node:test";
import { SallyportError } from "@sallyport/core";
import fc from "fast-check";
import { slotPages } from "./pages.ts";
import { placeIn } from "./pages.test-kit.ts";
import { classify } from "./trie.ts";

/** Networks that lie in one another more often than chance would have it. */
const prefix = fc
  .record({ base: fc.constantFrom(0x0a280000, 0x0a29ff00, 0, 0xffff0000), low: fc.nat(0xffff) })
  .chain(({ base, low }) =>
    fc.integer({ min: 0, max: 32 }).map((length) => {
      const size = 2 ** (32 - length);
      return { address: Math.floor((base + low) / size) * size, length };
    }),
  );

test("an address is judged by the longest network around it, whatever networks there are", () => {
  let compared = 0;
  const property = fc.property(fc.array(prefix, { maxLength: 40 }), fc.nat(0xffff), (list, low) => {
    // One zone a network, so that the place found tells which network it is of.
    const marks = list.map((each, index) => ({ ...each, zone: index + 1, ifindex: 7 }));
    const filled = slotPages([], classify(marks, []));
    const edges = list.flatMap(({ address, length }) => [
      address,
      address + 2 ** (32 - length) - 1,
      Math.min(address + 2 ** (32 - length), 0xffffffff),
    ]);
    for (const address of [...edges, 0x0a280000 + low]) {
      const around = marks.filter(
        (mark) => mark.address <= address && address < mark.address + 2 ** (32 - mark.length),
      );
      const longest = Math.max(...around.map(({ length }) => length));
      // Of one network named twice, what was said last holds.
      const expected = around.filter(({ length }) => length === longest).at(-1)?.zone;
      assert.equal(placeIn(filled.pages, filled.addresses, address)?.zone, expected);
      compared++;
    }
  });
  fc.assert(property, { numRuns: 300 });
  assert.ok(compared > 3000);
});

test("a place says with which source its sessions leave, and what lies in it says the same", () => {
  const zone = { zone: 1, ifindex: 7, dialledFrom: 0x0a290001 };
  const marks = [
    { address: 0x0a290000, length: 24, ...zone },
    { address: 0x0a29000a, length: 32, room: 3 },
    { address: 0x0a280000, length: 24, zone: 2, ifindex: 8 },
  ];
  const { pages, addresses } = slotPages([], classify(marks, []));
  const from = (address: number): number | undefined =>
    placeIn(pages, addresses, address)?.dialledFrom;
  // In network order, as the program compares it with packets.
  assert.deepEqual([0x0a290014, 0x0a29000a].map(from), [0x0100290a, 0x0100290a]);
  assert.equal(from(0x0a280014), 0);
});

test("what many pieces of a network have in common is kept once", () => {
  const pages = (zones: number): number => {
    const marks = Array.from({ length: 1024 }, (_, index) => {
      return { address: 0x0a280000 + index * 2, length: 32, zone: 1 + (index % zones), ifindex: 7 };
    });
    return slotPages([], classify(marks, [])).pages.length;
  };
  // 1,024 places of 32 bytes in pages of 2,048.
  assert.equal(pages(1024) - pages(1), 16);
});

test("more single hosts than the pages hold are refused, not cut off", () => {
  const hosts = Array.from({ length: 32_768 }, (_, index) => {
    return { address: index * 0x20000, length: 32, zone: 1, ifindex: 7 };
  });
  assert.throws(
    () => slotPages([], classify(hosts, [])),
    (error) => error instanceof SallyportError && error.code === "ebpf-policy-too-large",
  );
});
