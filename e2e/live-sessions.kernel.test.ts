/**
 * What ends a live session: the end of its grant and a revoke, each engine by itself, with no process
 * of the gateway alive but the gate.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { after, before, describe, test } from "node:test";
import { ask } from "sallyport";
import { whyNoNamespaces } from "../lab/namespaces.ts";
import type { Packet } from "../lab/pcap.ts";
import { sleep, within } from "../lab/shell.ts";
import { buildSite, type Site } from "../lab/site.ts";
import { Frozen } from "./live-sessions/frozen.ts";
import { GATE, Session } from "./live-sessions/session.ts";

const why = process.getuid?.() === 0 ? await whyNoNamespaces() : "needs root: rooms, eBPF and uids";
/** Long enough for a busy machine to open the session and to stop all processes before the end. */
const GRANT_SECONDS = 14;
/** After the end for that long nothing may come. */
const QUIET_MS = 2_000;
/** nftables ends on a whole second before, and a busy client asks late: earlier it was cut too soon. */
const EARLY_MS = 2_500;
/** Of packets that are late. */
const SHOWN = 5;
const CLIENT_LIMIT_MS = 6_000;
/** Packets that were past the last rule when a revoke was answered. */
const UNDER_WAY_MS = 50;

type Legs = "both legs" | "the outer leg alone" | "the inner leg alone";

let site: Site | undefined;

before(async () => {
  if (why === undefined) site = await buildSite({ name: `l${process.pid}`, mode: "kernel" });
});
after(async () => {
  await site?.destroy();
});

describe("a live Modbus session inside a grant", { skip: why ?? false }, () => {
  for (const legs of ["both legs", "the outer leg alone", "the inner leg alone"] as const) {
    test(`ends at its end with every process but its gate stopped: ${legs}`, async () => {
      await endsByItself(theSite(), legs);
    });
    test(`ends when it is revoked: ${legs}`, async () => {
      await endsByRevoke(theSite(), legs);
    });
  }
});

function theSite(): Site {
  assert.ok(site, "the plant was built");
  return site;
}

async function endsByItself(at: Site, legs: Legs): Promise<void> {
  const session = await Session.open(at, GRANT_SECONDS);
  const end = session.grant.notAfter;
  let frozen: Frozen | undefined;
  try {
    frozen = await Frozen.allBut(at.instance, GATE);
    if (legs === "the inner leg alone") await session.outer.hold();
    if (legs === "the outer leg alone") await session.inner.hold();
    assert.ok(Date.now() < end - 500, "the legs were prepared before the end");
    await sleep(end + QUIET_MS - Date.now());
    const told = await within(CLIENT_LIMIT_MS, () => session.isEnded || undefined);
    assert.ok(frozen.isWhole(), "no process but the gate lived");
    assert.ok(frozen.size >= 8, `${frozen.size} processes were stopped`);
    assertOver(session, legs, end);
    assert.equal(told, true, "the client saw its session end");
    const lived = session.atPlc().at(-1)?.at ?? 0;
    assert.ok(lived > end - EARLY_MS, `it ended ${end - lived} ms before its end`);
    await assertHeld(session, legs);
  } finally {
    frozen?.thaw();
    await session.close();
  }
}

async function endsByRevoke(at: Site, legs: Legs): Promise<void> {
  const session = await Session.open(at, 120);
  // Whoever is silent while one leg is opened again finds it as if it had never been closed.
  const one = legs !== "both legs";
  if (one) await session.pause();
  await ask(at.instance.name, { type: "grant-revoke", grant: session.grant.id });
  const revoked = Date.now() + (one ? 0 : UNDER_WAY_MS);
  const frozen = await Frozen.allBut(at.instance, GATE);
  try {
    assert.deepEqual(await session.outer.leftMs(), []);
    if (legs === "the inner leg alone") await session.outer.hold();
    if (legs === "the outer leg alone") await session.inner.hold();
    if (one) session.resume();
    await sleep(QUIET_MS);
    const told = await within(CLIENT_LIMIT_MS, () => session.isEnded || undefined);
    assertOver(session, legs, revoked);
    assert.equal(told, true, "the client saw its session end");
    assert.ok(session.grant.notAfter > Date.now(), "its end was far away");
    await assertHeld(session, legs);
  } finally {
    frozen.thaw();
    await session.close();
  }
}

/** Nothing at the PLC after the end; nothing at the gate either where the outer leg had one. */
function assertOver(session: Session, legs: Legs, end: number): void {
  assert.ok(session.atPlc().length > 10, "the session reached the PLC");
  assert.deepEqual(lateIn(session.atPlc(), end), []);
  if (legs === "the inner leg alone") {
    // The end inside may come in the middle of a request, which is then the client's last.
    const passed = lastRequest(session.atGate()) > lastRequest(session.atPlc());
    assert.ok(passed, "the outer leg passed a request on");
  } else {
    assert.deepEqual(lateIn(session.atGate(), end), []);
  }
}

function lastRequest(packets: readonly Packet[]): number {
  return packets.findLast(({ payload }) => payload.length > 0)?.at ?? 0;
}

function lateIn(packets: readonly Packet[], end: number): string[] {
  const late = packets.filter(({ at }) => at > end);
  return late.slice(0, SHOWN).map(({ at, flags }) => `${Math.ceil(at - end)} ms late: ${flags}`);
}

/** The leg that was held open really was; else its part of the test proved nothing. */
async function assertHeld(session: Session, legs: Legs): Promise<void> {
  const inner = await session.innerPasses();
  assert.equal(inner, legs === "the outer leg alone", "the inner leg");
}
