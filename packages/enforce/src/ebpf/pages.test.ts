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

test("what many pieces of a network have in common is kept once", () => {
  const pages = (zones: number): number => {
    const marks = Array.from({ length: 1024 }, (_, index) => {
      return { address: 0x0a280000 + index * 2, length: 32, zone: 1 + (index % zones), ifindex: 7 };
    });
    return slotPages([], classify(marks, [])).pages.length;
  };
  // 1,024 places of 16 bytes in pages of 2,048.
  assert.equal(pages(1024) - pages(1), 8);
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
