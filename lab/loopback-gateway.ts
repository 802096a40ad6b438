/**
 * The gateway's share that a machine without namespaces can run: the real policy compiler and the
 * real gates, listening on ports of 127.0.0.1. No engine, so nothing of the packets is enforced.
 */
import { formatDiagnostic, parseIpv4, SallyportError } from "@sallyport/core";
import { type Gate, type GateEvent, type GateListener, startGate } from "@sallyport/gate";
import { compilePolicy } from "@sallyport/policy";
import type { Endpoint } from "./client.ts";
import { freePort, type LoopbackPlant } from "./loopback.ts";
import { HOSTS } from "./plant.ts";
import type {
  ApplyOutcome,
  DenialSeen,
  GatewayPort,
  GatewayState,
  GrantMade,
  PolicyText,
} from "./story.ts";

const LOOPBACK = "127.0.0.1";
const LOOPBACK_NUMBER = parseIpv4(LOOPBACK) ?? 0;
/** A story makes a few dozen; the oldest go first. */
const EVENTS_MAX = 10_000;

export class LoopbackGateway implements GatewayPort {
  readonly mode = "loopback";
  readonly #gate: Gate;
  readonly #ports: ReadonlyMap<string, number>;
  readonly #events: readonly GateEvent[];

  private constructor(gate: Gate, ports: Map<string, number>, events: readonly GateEvent[]) {
    this.#gate = gate;
    this.#ports = ports;
    this.#events = events;
  }

  static async start(plant: LoopbackPlant, policy: PolicyText): Promise<LoopbackGateway> {
    const { legs, diagnostics } = compile(policy);
    if (legs === undefined) {
      const said = diagnostics.map(formatDiagnostic).join("\n");
      throw new SallyportError("lab-policy-refused", `the plant's policy is refused:\n${said}`);
    }
    const ports = new Map<string, number>();
    const listeners: GateListener[] = [];
    for (const conduit of legs.conduits) {
      for (const listener of conduit.listeners) {
        const host = HOSTS.find(({ name }) => name === listener.asset);
        const asset = host && plant.assets.get(host.name);
        // A session's listeners wait for a grant, which no kernel here could end.
        if (asset === undefined || conduit.session !== undefined) continue;
        const port = await freePort();
        ports.set(`${conduit.name} ${listener.asset}`, port);
        listeners.push({
          ...listener,
          conduit: conduit.name,
          policyLine: conduit.source,
          listenAddress: LOOPBACK_NUMBER,
          listenPort: port,
          egressAddress: LOOPBACK_NUMBER,
          targetAddress: LOOPBACK_NUMBER,
          targetPort: asset.port,
        });
      }
    }
    const events: GateEvent[] = [];
    const gate = await startGate({
      listeners,
      clock: { wallMs: () => Date.now(), nowMs: () => performance.now() },
      onEvent: (event) => {
        events.push(event);
        if (events.length > EVENTS_MAX) events.shift();
      },
    });
    if (gate.started.failed > 0 || listeners.length === 0) {
      await gate.close();
      throw new SallyportError("lab-tool-failed", "not every gate could listen on loopback");
    }
    return new LoopbackGateway(gate, ports, events);
  }

  dial(conduit: string, asset: string): Endpoint | undefined {
    const port = this.#ports.get(`${conduit} ${asset}`);
    return port === undefined ? undefined : { address: LOOPBACK, port };
  }

  egressAddress(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  denials(since: number): Promise<readonly DenialSeen[]> {
    return Promise.resolve(this.#events.flatMap((event) => denialOf(event, since)));
  }

  apply(file: PolicyText): Promise<ApplyOutcome> {
    const { legs, diagnostics } = compile(file);
    if (legs !== undefined) return Promise.resolve({ kind: "pending", generation: 2 });
    return Promise.resolve({ kind: "refused", diagnostics: diagnostics.map(formatDiagnostic) });
  }

  status(): Promise<GatewayState> {
    return Promise.resolve({ generation: 1, pending: false });
  }

  grant(): Promise<GrantMade> {
    return Promise.reject(notHere("grants"));
  }

  detachProgram(): Promise<{ repair(): Promise<void> }> {
    return Promise.reject(notHere("the inner engine"));
  }

  async close(): Promise<void> {
    await this.#gate.close();
  }
}

function compile(file: PolicyText): ReturnType<typeof compilePolicy> {
  const bytes = new TextEncoder().encode(file.text);
  return compilePolicy([{ name: file.name, bytes }], { now: Date.now() });
}

/** A refused request, or a connection that was ended for what came over it. */
function denialOf(event: GateEvent, since: number): DenialSeen[] {
  const isDenial =
    event.type === "pdu-refused" ||
    (event.type === "connection-closed" && event.reason.startsWith("l7."));
  if (!isDenial || event.atMs < since) return [];
  const { conduit, reason } = event;
  return [{ reason, fromZone: "", toZone: "", conduit, count: 1 }];
}

function notHere(what: string): SallyportError {
  return new SallyportError("lab-not-here", `loopback mode has no ${what}`);
}
