/** The real plant with long connections through it, and what is asked of it before and after a crash. */
import assert from "node:assert/strict";
import { ask, fields, startSupervisor } from "sallyport";
import { knock } from "../../lab/attacks.ts";
import { PYTHON } from "../../lab/device.ts";
import { sleep, within } from "../../lab/shell.ts";
import { buildSite, plantPolicy, type Site } from "../../lab/site.ts";
import type { PolicyText } from "../../lab/story.ts";
import { Live } from "./live.ts";
import { promisedEnd } from "./deadlines.ts";
import * as ps from "./processes.ts";
import { legsOf, roomsThere } from "./rooms.ts";

/** For what comes by itself; long, as what counts is that it comes. */
export const BACK_LIMIT_MS = 60_000;
/** Far longer than a packet takes to a capture in the next room. */
export const SETTLE_MS = 500;
/** The confirmed policy opens the first; a pending one, never confirmed, the second beside it. */
export const [OPEN, PENDING] = [4712, 4714] as const;

/** The plant's policy, with the direct conduit open at any time. */
function alwaysOpen(): PolicyText {
  const { name, text } = plantPolicy();
  return { name, text: replaced(text, "    when: sunday-maintenance\n", "") };
}

/** One that lets more pass, and whose direct conduit is another one: its sessions are not carried on. */
export function wider({ name, text }: PolicyText): PolicyText {
  return { name, text: replaced(text, "tcp: [4711-4713]", `tcp: [4711-${PENDING}]`) };
}

function replaced(text: string, from: string, to: string): string {
  if (!text.includes(from)) throw new RangeError(`the policy no longer says "${from.trim()}"`);
  return text.replace(from, to);
}

/** With a room of its own as well, which comes with the change and goes with it. */
export function larger(policy: PolicyText): PolicyText {
  const portal = "  portal:       { kind: portal }\n";
  const conduit = `  spare-reads-press:
    from: erp
    to: press-plc
    service: modbus
    via: proxy
    through: gate-spare
    owner: operations
    why: A gate that only this policy has
    expires: 2027-01-31
    l7: { modbus: { functions: [read-coils], units: [1], coils: [0-9] } }
`;
  const { name, text } = wider(policy);
  const roomy = replaced(text, portal, `${portal}  gate-spare: { kind: gate }\n`);
  return { name, text: replaced(roomy, "\ninvariants:\n", `${conduit}\ninvariants:\n`) };
}

/** Something that a change passes in milliseconds, and how to see it. */
export type Moment = readonly [what: string, reached: () => boolean];

/** Looks as often as it can, until the act is over: what it came to, where that was before the moment. */
export async function reached(moment: Moment, act: Promise<unknown>): Promise<unknown> {
  const over: unknown[] = [];
  act.then(
    () => over.push("it was done"),
    (error: unknown) => over.push(error),
  );
  for (;;) {
    if (moment[1]()) return undefined;
    if (over.length > 0) return over[0];
    await sleep(1);
  }
}

export class CrashStage {
  readonly site: Site;
  readonly live: Live;

  private constructor(site: Site) {
    this.site = site;
    this.live = new Live(site, OPEN);
  }

  static async build(name: string): Promise<CrashStage> {
    const site = await buildSite({ name, mode: "kernel", policy: alwaysOpen() });
    try {
      const serve = [...PYTHON, `${import.meta.dirname}/ticker.py`, "serve"];
      const lines: string[] = [];
      const ports = [OPEN, PENDING].map(String);
      site.plant.spawn("press-plc", [...serve, ...ports], (line) => lines.push(line));
      const serves = await within(BACK_LIMIT_MS, () => (lines.length > 0 ? true : undefined));
      assert.equal(serves, true, "the press listens");
      const stage = new CrashStage(site);
      stage.live.start();
      await stage.live.flow("hmi", "erp", "direct");
      return stage;
    } catch (error) {
      await site.destroy();
      throw error;
    }
  }

  async destroy(): Promise<void> {
    await this.live.stop();
    await this.site.destroy();
  }

  async status(): Promise<ReturnType<typeof fields>> {
    return fields(await ask(this.site.instance.name, { type: "status" }));
  }

  /** Polls until the enforcer answers again. */
  async answers(): Promise<ReturnType<typeof fields>> {
    const said = await within(BACK_LIMIT_MS, () => this.status().catch(() => undefined));
    assert.ok(said !== undefined, "the enforcer is back");
    return said;
  }

  async generation(): Promise<number> {
    const number = (await this.answers())["generation"];
    assert.ok(typeof number === "number");
    return number;
  }

  async differences(): Promise<unknown> {
    return fields(await ask(this.site.instance.name, { type: "drift" }))["differences"];
  }

  /** Whatever a test before this one left dead is started. */
  async ready(): Promise<void> {
    if (ps.running(this.site, "supervisor").length === 0) await this.up();
  }

  /** The gateway, anew. */
  up(): Promise<void> {
    const { plant, instance } = this.site;
    return startSupervisor(instance, { hostNetns: `/run/netns/${plant.box}`, foreground: false });
  }

  /** Waits until the supervisor has written both of the worker's end and of its next start. */
  async comesBack(worker: string, since: number): Promise<void> {
    const back = await within(BACK_LIMIT_MS, () => {
      const life = ps.lifeOf(this.site, worker, since).map(({ type }) => type);
      const ended = life.indexOf("process-ended");
      return ended >= 0 && life.indexOf("process-started", ended) > ended ? true : undefined;
    });
    assert.equal(back, true, `${worker} ended on record and was started again`);
  }

  /** The attackers get nowhere, and the tank's own link says so: no process of ours is asked. */
  async stillRefused(): Promise<void> {
    const { plant } = this.site;
    const since = Date.now();
    const link = await plant.capture("tank-plc", ["not", "arp"]);
    try {
      const tank = { address: plant.address("tank-plc"), port: 502 };
      const dialers = ["attacker", "rogue"] as const;
      const dialled = await Promise.all(dialers.map((from) => knock(plant, from, tank)));
      assert.deepEqual(
        dialled.map(({ ok }) => ok),
        [false, false],
      );
      await sleep(SETTLE_MS);
      const own = [plant.address("attacker"), plant.address("rogue")];
      const came = link.since(since).filter(({ source }) => own.includes(source));
      assert.deepEqual(came, []);
    } finally {
      await link.stop();
    }
  }

  /** One knock at the press, past every gate: what only the kernels' rules decide. */
  async isOpen(port: number): Promise<boolean> {
    const { plant } = this.site;
    const press = { address: plant.address("press-plc"), port };
    return (await knock(plant, "eng-ws", press)).ok;
  }

  /** Like `isOpen`, of a machine that may be too busy to connect at the first knock. */
  async opens(port: number): Promise<boolean> {
    const seen = await within(BACK_LIMIT_MS, async () =>
      (await this.isOpen(port)) ? true : undefined,
    );
    return seen === true;
  }

  /** The one-way status of the safety system, which no process of ours carries. */
  async diodeFlows(): Promise<void> {
    const since = Date.now();
    const hmi = this.site.plant.device("hmi");
    const came = await within(BACK_LIMIT_MS, () =>
      hmi.eventsSince(since).find(({ event }) => event === "datagram"),
    );
    assert.ok(came !== undefined, "the safety system's status arrives");
  }

  /** What the kernels let pass: the confirmed policy's port, the other's only if it is in force. */
  async passes(isPending: boolean, when: string): Promise<void> {
    const [own, pending] = await Promise.all([
      this.opens(OPEN),
      isPending ? this.opens(PENDING) : this.isOpen(PENDING),
      this.stillRefused(),
    ]);
    assert.deepEqual([own, pending], [true, isPending], when);
  }

  /** As whole as a new gateway: no change waits, no difference, no room that the policy does not have. */
  async isWhole(when: string): Promise<void> {
    assert.equal((await this.status())["pending"], undefined, when);
    assert.equal(promisedEnd(this.site), undefined, when);
    assert.deepEqual(await this.differences(), [], when);
    const { rooms } = await legsOf(this.site);
    const wanted = [...rooms.map(({ name }) => name), "outer", "inner", "tap"];
    const names = wanted.map((room) => `${this.site.instance.netnsPrefix}-${room}`);
    assert.deepEqual(roomsThere(this.site).sort(), names.sort(), when);
    await this.live.flowAgain("hmi", "erp", "direct");
  }

  /** Applies a policy, to be confirmed within that time; its generation. */
  async apply(policy: PolicyText, confirmSeconds: number): Promise<number> {
    const applied = await this.site.product.apply(policy, confirmSeconds);
    if (applied.kind === "refused") throw new Error(applied.diagnostics.join("\n"));
    return applied.generation;
  }
}
