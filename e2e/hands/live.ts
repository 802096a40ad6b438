/** What flows through the gateway while its processes end: one long connection of each kind. */
import { type Answer, Poller } from "../../lab/client.ts";
import { PYTHON } from "../../lab/device.ts";
import type { HostName } from "../../lab/plant.ts";
import { type Running, within } from "../../lab/shell.ts";
import type { Site } from "../../lab/site.ts";

const SECONDS = 1_200;
const INTERVAL_MS = 100;
/** Clients are programs that start slowly on a busy machine. */
const FLOWS_LIMIT_MS = 60_000;
/** Then those that have ended meanwhile are started once more. */
const AGAIN_MS = 5_000;
const MODBUS = 502;

/** `hmi` through the gate between segments, `erp` through the DMZ, `direct` through no process of ours. */
export type FlowName = "hmi" | "erp" | "direct";

interface Flow {
  readonly isRunning: boolean;
  since(at: number): readonly Answer[];
  stop(): Promise<void>;
}

/** One TCP connection straight through the inner engine: rules carry it, and nothing else. */
class Ticker implements Flow {
  readonly #answers: Answer[] = [];
  readonly #process: Running;

  constructor({ plant }: Site, from: HostName, to: HostName, port: number) {
    const argv = [...PYTHON, `${import.meta.dirname}/ticker.py`, "hold"];
    this.#process = plant.spawn(from, [...argv, plant.address(to), String(port)], (line) =>
      this.#answers.push(JSON.parse(line) as Answer),
    );
  }

  get isRunning(): boolean {
    return this.#process.isRunning;
  }

  since(at: number): readonly Answer[] {
    return this.#answers.filter(({ t }) => t >= at);
  }

  stop(): Promise<void> {
    return this.#process.stop();
  }
}

export class Live {
  readonly #site: Site;
  readonly #port: number;
  readonly #flows = new Map<FlowName, Flow>();

  constructor(site: Site, port: number) {
    this.#site = site;
    this.#port = port;
  }

  /** Starts those that do not run; none of them ever dials a second time. */
  start(): void {
    const { plant } = this.#site;
    const request = { area: "holding", address: 0, count: 1 } as const;
    const options = { intervalMs: INTERVAL_MS, seconds: SECONDS, timeoutSeconds: 3 };
    const tank = { address: plant.address("tank-plc"), port: MODBUS };
    for (const host of ["hmi", "erp"] as const) {
      if (this.#flows.get(host)?.isRunning === true) continue;
      this.#flows.set(host, new Poller(plant, host, tank, request, options));
    }
    if (this.#flows.get("direct")?.isRunning === true) return;
    this.#flows.set("direct", new Ticker(this.#site, "eng-ws", "press-plc", this.#port));
  }

  /** Waits for an answer to each of these that is newer than now. */
  async flow(...names: readonly FlowName[]): Promise<void> {
    const since = Date.now();
    for (const name of names) {
      const good = await within(FLOWS_LIMIT_MS, () =>
        this.#answers(name, since).find(({ ok }) => ok),
      );
      if (good === undefined) throw new Error(`${name} does not flow: ${this.#said(name)}`);
    }
  }

  /**
   * Like `flow`, of connections that may have to be dialled anew: their own, and one whose conduit or room is
   * gone, of which neither end hears.
   */
  async flowAgain(...names: readonly FlowName[]): Promise<void> {
    const works = await within(FLOWS_LIMIT_MS, async () => {
      this.start();
      const since = Date.now();
      const good = await within(AGAIN_MS, () =>
        names.every((name) => this.#answers(name, since).some(({ ok }) => ok)) ? true : undefined,
      );
      if (good === undefined) {
        const silent = names.filter((name) => !this.#answers(name, since).some(({ ok }) => ok));
        for (const name of silent) await this.#flows.get(name)?.stop();
      }
      return good;
    });
    if (works === undefined) {
      throw new Error(names.map((name) => `${name}: ${this.#said(name)}`).join("; "));
    }
  }

  /** Whether the connection ends; it may take as long as TCP and the client need to notice. */
  async ends(name: FlowName): Promise<boolean> {
    const ended = await within(FLOWS_LIMIT_MS, () =>
      this.#flows.get(name)?.isRunning === true ? undefined : true,
    );
    return ended === true;
  }

  isRunning(name: FlowName): boolean {
    return this.#flows.get(name)?.isRunning === true;
  }

  /** Anything but good answers on the same connection since then. */
  broken(since: number, ...names: readonly FlowName[]): string[] {
    return names.flatMap((name) => {
      const bad = this.#answers(name, since).filter(({ ok }) => !ok);
      const isOver = this.isRunning(name) ? [] : [`${name} has ended`];
      return [...bad.map(({ op, error }) => `${name}: ${op} ${error ?? ""}`), ...isOver];
    });
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#flows.values()].map((flow) => flow.stop()));
  }

  #answers(name: FlowName, since: number): readonly Answer[] {
    return this.#flows.get(name)?.since(since) ?? [];
  }

  #said(name: FlowName): string {
    return JSON.stringify(this.#answers(name, 0).slice(-2));
  }
}
