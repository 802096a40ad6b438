/** All services in memory behind one API, and requests as a browser or a script makes them. */
import { createApi, type Server } from "../api.ts";
import { EventHub } from "../events/hub.ts";
import type { AccessEntry } from "../http/log.ts";
import type { Bounds } from "../http/bounds.ts";
import type { Connection } from "../http/run.ts";
import type { Services } from "../services/index.ts";
import { Clock } from "./clock.test-kit.ts";
import { MemoryPeople } from "./people.test-kit.ts";
import { MemoryPolicy } from "./policy.test-kit.ts";
import { MemoryWatch } from "./watch.test-kit.ts";

export const AUTHORITY = "gateway.plant.example";

export interface Ask {
  readonly method?: string;
  readonly token?: string;
  readonly cookie?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  /** Sent as it is. */
  readonly raw?: string | Uint8Array<ArrayBuffer>;
  readonly connection?: Connection;
}

export class Plant {
  readonly clock = new Clock();
  readonly people = new MemoryPeople(this.clock);
  readonly policy = new MemoryPolicy(this.clock);
  readonly watch = new MemoryWatch(this.clock);
  readonly hub = new EventHub(1000);
  readonly log: AccessEntry[] = [];
  readonly services: Services;
  readonly api: Server;
  #requests = 0;

  constructor(bounds: Partial<Bounds> = {}, authorities: readonly string[] = [AUTHORITY]) {
    const people = {
      ida: "admin",
      anna: "engineer",
      ben: "approver",
      ola: "operator",
      vic: "vendor",
    };
    for (const [id, role] of Object.entries(people)) this.people.add(id, role);
    this.services = {
      signIns: this.people,
      permissions: this.people,
      people: this.people.people,
      keys: this.people.keys,
      policy: this.policy.policy,
      changes: this.policy.changes,
      grants: this.policy.grants,
      zones: this.policy.zones,
      approvers: this.policy.approvers,
      status: this.watch.status,
      flows: this.watch.flows,
      ledger: this.watch.ledger,
      forwarding: this.watch.forwarding,
      backups: this.watch.backups,
      events: this.hub,
    };
    this.api = createApi(this.services, {
      authorities,
      now: this.clock.now,
      newRequestId: () => `r-${(this.#requests += 1)}`,
      log: (entry) => this.log.push(entry),
      bounds,
    });
  }

  /** An API key's token: what a script sends. */
  key(person: string): string {
    return this.people.open(person, "key");
  }

  ask(path: string, ask: Ask = {}): Promise<Response> {
    const { token, cookie, body, raw, connection = { peer: "192.0.2.7", transport: "tls" } } = ask;
    const headers = new Headers(ask.headers);
    if (token !== undefined) headers.set("authorization", `Bearer ${token}`);
    if (cookie !== undefined) headers.set("cookie", `__Host-sallyport=${cookie}`);
    const sent = raw ?? (body === undefined ? undefined : JSON.stringify(body));
    if (sent !== undefined && !headers.has("content-type")) {
      headers.set("content-type", "application/json");
    }
    const method = ask.method ?? (sent === undefined ? "GET" : "POST");
    const request = new Request(path.startsWith("https:") ? path : `https://${AUTHORITY}${path}`, {
      method,
      headers,
      ...(sent === undefined ? {} : { body: sent }),
    });
    return this.api.fetch(request, connection);
  }
}

/** The problem in an answer; fails when it is anything else. */
export async function problemIn(response: Response): Promise<{
  readonly code: string;
  readonly status: number;
  readonly detail: string;
  readonly hint?: string;
  readonly requestId: string;
  readonly errors?: readonly { readonly field: string; readonly message: string }[];
}> {
  const type = response.headers.get("content-type") ?? "";
  if (type !== "application/problem+json") throw new Error(`not a problem: ${type}`);
  // Its members are asserted by whoever asks.
  return (await response.json()) as Awaited<ReturnType<typeof problemIn>>;
}
