/**
 * The third mode, for a machine that gives neither root nor a user namespace: the PLCs on ports of
 * 127.0.0.1, so that at least the gates' decoding is shown. There is no packet filter, no room and
 * no capture; every host is this machine.
 */
import net from "node:net";
import { SallyportError } from "@sallyport/core";
import type { Capture } from "./capture.ts";
import type { Endpoint } from "./client.ts";
import { Device } from "./device.ts";
import { HOSTS, type HostName } from "./plant.ts";
import { type RunOptions, type RunResult, run, Running } from "./shell.ts";
import type { Plant } from "./topology.ts";

export const LOOPBACK_NOTICE =
  "Loopback only: this machine gives neither root nor user namespaces (kernel.unprivileged_userns_clone, " +
  "AppArmor). The gates decode and refuse; no packet filter, no rooms: everything else is not enforced here.";

const LOOPBACK = "127.0.0.1";

export interface LoopbackPlant extends Plant {
  readonly kind: "loopback";
  /** Where the gates dial: the assets' real ports. Clients dial the gates' ports instead. */
  readonly assets: ReadonlyMap<HostName, Endpoint>;
}

export async function buildLoopbackPlant(seed = 7): Promise<LoopbackPlant> {
  const devices = new Map<HostName, Device>();
  const assets = new Map<HostName, Endpoint>();
  const running = new Set<Running>();
  const destroy = async (): Promise<void> => {
    const all = [...devices.values(), ...running];
    await Promise.allSettled(all.map((one) => one.stop()));
  };
  try {
    for (const host of HOSTS.filter(({ name }) => name === "tank-plc" || name === "press-plc")) {
      const port = await freePort();
      const at = ["--address", LOOPBACK, "--port", String(port), "--seed", String(seed)];
      devices.set(host.name, await Device.start(host, undefined, at));
      assets.set(host.name, { address: LOOPBACK, port });
    }
  } catch (error) {
    await destroy();
    throw error;
  }
  return {
    kind: "loopback",
    prefix: "",
    box: "",
    assets,
    address: () => LOOPBACK,
    netns: () => undefined,
    device: (host) => {
      const device = devices.get(host);
      if (device === undefined) throw new RangeError(`${host} is not there on loopback`);
      return device;
    },
    run: (_host: HostName, argv: readonly string[], options: RunOptions = {}): Promise<RunResult> =>
      run(argv, options),
    spawn: (_host, argv, onLine) => {
      const one = new Running(argv, { onLine });
      running.add(one);
      return one;
    },
    capture: (): Promise<Capture> =>
      Promise.reject(new SallyportError("lab-capture-incomplete", "no captures on loopback")),
    destroy,
  };
}

/** A port that was free a moment ago; nobody else takes ports of this range in a hurry. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.on("error", reject);
    server.listen(0, LOOPBACK, () => {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}
