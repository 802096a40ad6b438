/**
 * A device of the plant: a Python program on its host. Its process values and the writes it was
 * given come over its standard output, so a test can prove what happened without the gateway.
 */
import { fileURLToPath } from "node:url";
import { SallyportError } from "@sallyport/core";
import type { Host, HostName } from "./plant.ts";
import { Running, within } from "./shell.ts";

/** Debian's own, where python3-pymodbus is; -B: nothing is written beside the program. */
export const PYTHON: readonly string[] = ["/usr/bin/python3", "-B"];
const UP_LIMIT_MS = 15_000;
/** Events kept per device; a run makes a few dozen. The oldest go first. */
const EVENTS_MAX = 2_000;
/** Of the states as many are kept as a device tells in a minute. */
const STATES_MAX = 600;
const TICK_LIMIT_MS = 20_000;

/** The path of a program of the lab, e.g. `clients/modbus.py`. */
export function program(file: string): string {
  return fileURLToPath(new URL(file, import.meta.url));
}

export interface DeviceEvent {
  readonly event: string;
  /** Milliseconds since 1970. */
  readonly t: number;
  readonly [field: string]: unknown;
}

export class Device {
  readonly name: HostName;
  readonly #process: Running;
  readonly #events: DeviceEvent[] = [];
  readonly #states: DeviceEvent[] = [];
  get #state(): DeviceEvent | undefined {
    return this.#states.at(-1);
  }

  private constructor(name: HostName, argv: readonly string[], netns: string | undefined) {
    this.name = name;
    this.#process = new Running(argv, { netns, onLine: (line) => this.#take(line) });
  }

  static async start(
    host: Host,
    netns: string | undefined,
    extra: readonly string[],
  ): Promise<Device> {
    const [file = "", ...rest] = host.program ?? [];
    const device = new Device(host.name, [...PYTHON, program(file), ...rest, ...extra], netns);
    const up = await within(UP_LIMIT_MS, () => {
      if (!device.#process.isRunning) return "ended";
      return device.#state === undefined ? undefined : "up";
    });
    if (up === "up") return device;
    await device.stop();
    const said = device.#process.stderr.trim().split("\n").at(-1) ?? "";
    throw new SallyportError("lab-device-down", `${host.name} did not come up: ${said}`, {
      hint: "apt-get install python3-pymodbus python3-serial-asyncio",
    });
  }

  /** The last state it told. Throws once the device is gone: an old value would prove nothing. */
  state(): DeviceEvent {
    if (!this.#process.isRunning || this.#state === undefined) {
      throw new SallyportError(
        "lab-device-down",
        `${this.name} has ended: ${this.#process.stderr}`,
      );
    }
    return this.#state;
  }

  /** The state of the process after that many steps: the same for the same seed. */
  atTick(tick: number): Promise<DeviceEvent | undefined> {
    return within(TICK_LIMIT_MS, () => this.#states.find((state) => state["tick"] === tick));
  }

  number(field: string): number {
    const value = this.state()[field];
    if (typeof value === "number") return value;
    throw new RangeError(`${this.name} tells no number ${field}`);
  }

  /** One holding register as the process sees it. */
  register(address: number): number {
    const value = this.holding()[address];
    if (value !== undefined) return value;
    throw new RangeError(`${this.name} tells no register ${address}`);
  }

  /** Holding registers as the process sees them. */
  holding(): readonly number[] {
    const value = this.state()["holding"];
    return Array.isArray(value) ? value.map(Number) : [];
  }

  /** What happened to it since then, other than the passing of time: writes, datagrams, callers. */
  eventsSince(at: number): readonly DeviceEvent[] {
    return this.#events.filter((event) => event.t >= at);
  }

  async stop(): Promise<void> {
    await this.#process.stop();
  }

  #take(line: string): void {
    let event: unknown;
    try {
      event = JSON.parse(line);
    } catch {
      return;
    }
    if (!isEvent(event)) return;
    if (event.event === "state") this.#states.push(event);
    else this.#events.push(event);
    if (this.#states.length > STATES_MAX) this.#states.shift();
    if (this.#events.length > EVENTS_MAX) this.#events.shift();
  }
}

function isEvent(value: unknown): value is DeviceEvent {
  if (typeof value !== "object" || value === null) return false;
  return "event" in value && typeof value.event === "string" && "t" in value;
}
