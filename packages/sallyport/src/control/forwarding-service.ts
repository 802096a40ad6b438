/** Where records are sent, through the API. Keys and secrets go in and never come out. */
import { createHash } from "node:crypto";
import type { Caller, Forwarding } from "@sallyport/api";
import { SallyportError } from "@sallyport/core";
import { checkDestinations, type Destination } from "../forward/destination.ts";
import type { Forwarder, KeptDestinations } from "../forward/forwarder.ts";
import type { Recorder } from "../recorder.ts";
import { personOf } from "./desk.ts";

type Shown = Awaited<ReturnType<Forwarding["get"]>>;

export class ForwardingService implements Forwarding {
  readonly #forwarder: Forwarder;
  readonly #record: Recorder["record"];

  constructor(forwarder: Forwarder, record: Recorder["record"]) {
    this.#forwarder = forwarder;
    this.#record = record;
  }

  async get(_caller: Caller): Promise<Shown> {
    return shown(await this.#forwarder.kept());
  }

  async put(
    caller: Caller,
    { targets, webhooks = [] }: Parameters<Forwarding["put"]>[1],
    ifMatch: string,
  ): Promise<Shown> {
    const before = await this.#forwarder.kept();
    if (shown(before).sha256 !== ifMatch) throw changed();
    const asked: readonly Destination[] = [
      ...targets.map((target) => ({ kind: "syslog" as const, ...target })),
      ...webhooks.map((webhook) => ({ kind: "webhook" as const, ...webhook })),
    ];
    const all = asked.map((one) => withKept(one, before.all));
    checkDestinations(all);
    const to = all.map((one) => `${one.name}=${one.to}`);
    await this.#record("forwarding-changed", { by: personOf(caller), destinations: to });
    if (!(await this.#forwarder.replace(before, all))) throw changed();
    return shown(await this.#forwarder.kept());
  }

  async state(_caller: Caller): ReturnType<Forwarding["state"]> {
    return this.#forwarder
      .states()
      .map(({ name, state, settled, behind, failures, sentAtMs, why }) => ({
        ...{ name, state, sentThrough: settled, behind, failures },
        ...(sentAtMs === undefined ? {} : { lastSentAt: new Date(sentAtMs).toISOString() }),
        ...(why === undefined ? {} : { why }),
      }));
  }
}

/** What is never shown cannot be sent back, so a destination that names none keeps its own. */
function withKept(asked: Destination, before: readonly Destination[]): Destination {
  const kept = before.find(({ kind, name }) => kind === asked.kind && name === asked.name);
  if (asked.kind === "webhook") {
    const secret = asked.secret ?? (kept?.kind === "webhook" ? kept.secret : undefined);
    return { ...asked, ...(secret === undefined ? {} : { secret }) };
  }
  const own = kept?.kind === "syslog" ? kept.clientKey : undefined;
  const clientKey = asked.clientKey ?? (asked.clientCertificate === undefined ? undefined : own);
  return { ...asked, ...(clientKey === undefined ? {} : { clientKey }) };
}

function shown({ revision, all }: KeptDestinations): Shown {
  const targets: Shown["targets"] = [];
  const webhooks: Shown["webhooks"] = [];
  for (const destination of all) {
    if (destination.kind === "syslog") {
      const { clientKey: _, kind: __, ...target } = destination;
      targets.push(target);
    } else {
      const { secret: _, kind: __, ...webhook } = destination;
      webhooks.push(webhook);
    }
  }
  const text = JSON.stringify([revision, targets, webhooks]);
  return { sha256: createHash("sha256").update(text).digest("hex"), targets, webhooks };
}

function changed(): SallyportError {
  return new SallyportError("draft-changed", "somebody changed this since it was read", {
    hint: "read it again, and send its ETag as If-Match",
  });
}
