/** A vendor's Modbus session under a grant of its own, watched on every link that it crosses. */
import process from "node:process";
import { formatIpv4 } from "@sallyport/core";
import type { Legs } from "@sallyport/policy/legs";
import { ask, fields } from "sallyport";
import { Capture } from "../../lab/capture.ts";
import { type Answer, Poller } from "../../lab/client.ts";
import { PYTHON, program } from "../../lab/device.ts";
import type { Packet } from "../../lab/pcap.ts";
import { must, sleep, within } from "../../lab/shell.ts";
import type { Site } from "../../lab/site.ts";
import type { GrantMade } from "../../lab/story.ts";
import { InnerLeg, numberOf, OuterLeg } from "./legs.ts";

export const GATE = "gate-vendor";
const CONDUIT = "vendor-services-press";
const PORT = 502;
const POLL_MS = 40;
const POLL_SECONDS = 240;
/** Connecting through two rooms and a gate, on a busy machine. */
const OPEN_LIMIT_MS = 10_000;
const GOOD_FIRST = 5;
/** For what is under way to arrive and be captured. */
const SETTLE_MS = 400;

export class Session {
  readonly grant: GrantMade;
  readonly outer: OuterLeg;
  readonly inner: InnerLeg;
  readonly #site: Site;
  /** The inner engine's room, as the gate's room sees it. */
  readonly #nextHop: string;
  readonly #poller: Poller;
  readonly #plcLink: Capture;
  readonly #gateLink: Capture;
  readonly #startedAt = Date.now();

  private constructor(
    site: Site,
    nextHop: string,
    grant: GrantMade,
    links: readonly [Capture, Capture],
  ) {
    this.#site = site;
    this.#nextHop = nextHop;
    this.grant = grant;
    const id = numberOf(site.instance, grant.id);
    this.outer = new OuterLeg(site.instance, id);
    this.inner = new InnerLeg(site.instance, id);
    [this.#plcLink, this.#gateLink] = links;
    const to = { address: site.plant.address("press-plc"), port: PORT };
    const request = { area: "holding", address: 0, count: 2 } as const;
    const options = { intervalMs: POLL_MS, seconds: POLL_SECONDS, timeoutSeconds: 1.5 };
    this.#poller = new Poller(site.plant, "vendor-pc", to, request, options);
  }

  /** Answers once the press has been read a few times, and both legs were seen open. */
  static async open(site: Site, seconds: number): Promise<Session> {
    const plcLink = await site.plant.capture("press-plc", ["tcp", "port", String(PORT)]);
    const gate = `${site.instance.netnsPrefix}-${GATE}`;
    const gateLink = await Capture.start(gate, "outer0", ["tcp"]);
    const running = fields(await ask(site.instance.name, { type: "running" }));
    const { transit } = running["legs"] as unknown as Legs;
    const grant = await site.product.grant({
      conduit: CONDUIT,
      person: "vendor-tech",
      reason: "end-to-end test",
      source: site.plant.address("vendor-pc"),
      asset: "press-plc",
      seconds,
    });
    const session = new Session(site, formatIpv4(transit.inner), grant, [plcLink, gateLink]);
    const answered = await within(
      OPEN_LIMIT_MS,
      () => session.answers().filter(({ ok }) => ok).length >= GOOD_FIRST || undefined,
    );
    const legs = [await session.outer.leftMs(), await session.inner.leftMs()];
    if (answered === true && legs.every(({ length }) => length > 0)) return session;
    const said = JSON.stringify({ answers: session.answers(), legs });
    await session.close();
    throw new RangeError(`the vendor's session did not open: ${said}`);
  }

  answers(): readonly Answer[] {
    return this.#poller.since(this.#startedAt);
  }

  get isEnded(): boolean {
    return !this.#poller.isRunning;
  }

  /** What the session sent to the PLC, on the PLC's own link. */
  atPlc(): readonly Packet[] {
    return this.#plcLink
      .since(0)
      .filter(({ source, port }) => source === this.egress && port === PORT);
  }

  /** What the vendor sent that came through the outer engine, on the gate's link. */
  atGate(): readonly Packet[] {
    const vendor = this.#site.plant.address("vendor-pc");
    return this.#gateLink.since(0).filter(({ source }) => source === vendor);
  }

  /** The address that the gate dials from; the only stranger on the PLC's link. */
  get egress(): string {
    const strangers = new Set(
      this.#plcLink
        .since(0)
        .map(({ source }) => source)
        .filter((source) => source !== this.#site.plant.address("press-plc")),
    );
    const [only = "", ...more] = strangers;
    if (more.length > 0) throw new RangeError(`others spoke to the PLC: ${more.join(", ")}`);
    return only;
  }

  /**
   * Whether a packet of this very session, sent by the gate's room, still arrives at the PLC. An ACK
   * that acknowledges nothing new: the PLC answers it at most with its own.
   */
  async innerPasses(): Promise<boolean> {
    const last = this.atPlc().at(-1);
    if (last === undefined) throw new RangeError("the session never reached the PLC");
    const before = this.atPlc().length;
    await must(
      [
        ...[...PYTHON, program("clients/frames.py"), "--interface", "inner0"],
        ...["--next-hop", this.#nextHop, "--flags", "A"],
        ...["--source", last.source, "--source-port", String(last.sourcePort)],
        ...["--destination", last.destination, "--port", String(last.port)],
      ],
      { netns: `${this.#site.instance.netnsPrefix}-${GATE}` },
    );
    await sleep(SETTLE_MS);
    return this.atPlc().length > before;
  }

  /** The vendor's program says nothing until it is let go on; what is under way arrives first. */
  async pause(): Promise<void> {
    process.kill(this.#poller.pid, "SIGSTOP");
    await sleep(SETTLE_MS);
  }

  resume(): void {
    process.kill(this.#poller.pid, "SIGCONT");
  }

  async close(): Promise<void> {
    if (!this.isEnded) this.resume();
    await this.#poller.stop();
    await Promise.all([this.#plcLink.stop(), this.#gateLink.stop()]);
    // After its end there is nothing left to revoke.
    await ask(this.#site.instance.name, { type: "grant-revoke", grant: this.grant.id }).catch(
      () => undefined,
    );
  }
}
