/** What does not end a live session: other policies, one after the other, while the plant works. */
import assert from "node:assert/strict";
import process from "node:process";
import { after, before, test } from "node:test";
import { whyNoNamespaces } from "../lab/namespaces.ts";
import { applyAndConfirm, buildSite, type Site } from "../lab/site.ts";
import type { PolicyText } from "../lab/story.ts";
import { type Hits, hitsOf, Load } from "./live-sessions/load.ts";
import { Session } from "./live-sessions/session.ts";

const why = process.getuid?.() === 0 ? await whyNoNamespaces() : "needs root: rooms, eBPF and uids";
const APPLIES = 20;
/** Longer than twenty applies on a busy machine. */
const LONG_GRANT_SECONDS = 600;
/** Ends are kept in whole seconds outside; reading one takes a moment. */
const OUTER_EARLY_MS = 2_500;
/** The boot clock is read in hundredths of a second, and a moment after the wall clock. */
const INNER_APART_MS = 100;

let site: Site | undefined;

before(async () => {
  if (why === undefined) site = await buildSite({ name: `a${process.pid}`, mode: "kernel" });
});
after(async () => {
  await site?.destroy();
});

test("20 applies under load lose no session, counter or timer", {
  skip: why ?? false,
}, async () => {
  const at = site;
  assert.ok(at, "the plant was built");
  const vendor = await Session.open(at, LONG_GRANT_SECONDS);
  const load = await Load.start(at);
  try {
    const idle = await load.idleInside();
    assert.ok(idle.size >= 3, `${idle.size} idle sessions inside`);
    const outside = await load.idleOutside();
    const startedAt = Date.now();
    let hits = await hitsOf(at);
    for (let round = 1; round <= APPLIES; round++) {
      const generation = await applyAndConfirm(at.product, changed(at.policy, round));
      const now = await hitsOf(at);
      assertCounted(hits, now, `generation ${generation}`);
      hits = now;
      assert.deepEqual(load.faults(), [], `generation ${generation}`);
      await assertEnd(vendor, `generation ${generation}`);
    }
    assert.ok(
      load.answers().every((count) => count > 10 * APPLIES),
      `${load.answers().join(" and ")} answers`,
    );
    const still = await load.idleInside();
    for (const [key, times] of idle) assert.equal(still.get(key), times, `session ${key}`);
    const { leftS, mark } = await load.idleOutside();
    assert.equal(mark, outside.mark);
    const ranS = outside.leftS - leftS;
    const wantedS = (Date.now() - startedAt) / 1000;
    assert.ok(Math.abs(ranS - wantedS) <= 3, `${ranS} s of ${wantedS} s ran`);
    assert.deepEqual(
      vendor.answers().filter(({ ok }) => !ok),
      [],
    );
  } finally {
    await load.stop();
    await vendor.close();
  }
});

/** Something else in each: a reason, one more conduit with a listener of its own, one more asset. */
function changed({ name, text }: PolicyText, round: number): PolicyText {
  const conduit = `  round-${round}:
    from: eng-ws
    to: press-plc
    service: modbus
    via: inspect
    through: gate-cells
    owner: operations
    why: Round ${round}
    expires: 2027-01-31
    l7: { modbus: { functions: [read-coils], units: [1], coils: [${round}] } }
`;
  const asset = `  spare-${round}: { zone: cell-a, address: 10.41.0.${100 + round} }\n`;
  const changes: readonly (readonly [string, string])[] = [
    ["Press counters for the quality report", `Press counters, as asked for the ${round}. time`],
    ["\nservices:\n", `${round % 3 === 0 ? asset : ""}\nservices:\n`],
    ["\ninvariants:\n", `${round % 2 === 0 ? conduit : ""}\ninvariants:\n`],
  ];
  let next = text;
  for (const [from, to] of changes) {
    assert.ok(next.includes(from), `the policy says ${from.trim()}`);
    next = next.replace(from, to);
  }
  return { name, text: next };
}

function assertCounted(earlier: Hits, now: Hits, when: string): void {
  for (const [key, packets] of earlier.packets) {
    assert.ok((now.packets.get(key) ?? -1) >= packets, `${when}: ${key} went below ${packets}`);
  }
  for (const name of ["hmi-operates-cells", "erp-reads-tank", "vendor-services-press"]) {
    const [was = 0, is = 0] = [earlier.passed.get(name), now.passed.get(name)];
    assert.ok(is > was, `${when}: ${name} goes on being counted`);
    assert.equal(now.refused.get(name), earlier.refused.get(name), `${when}: ${name} refused`);
  }
}

/** In every slot that both kernels could judge by. */
async function assertEnd(session: Session, when: string): Promise<void> {
  const { notAfter } = session.grant;
  const from = Date.now();
  const outer = await session.outer.leftMs();
  const to = Date.now();
  assert.ok(outer.length > 0, `${when}: the grant is open outside`);
  for (const left of outer) {
    assert.ok(from + left <= notAfter, `${when}: ends ${from + left - notAfter} ms late outside`);
    assert.ok(to + left > notAfter - OUTER_EARLY_MS, `${when}: ends ${left} ms from now outside`);
  }
  const inner = await session.inner.leftMs();
  assert.ok(inner.length > 0, `${when}: the grant is open inside`);
  for (const left of inner) {
    const apart = Date.now() + left - notAfter;
    assert.ok(Math.abs(apart) <= INNER_APART_MS, `${when}: ends ${apart} ms off inside`);
  }
}
