/**
 * The product as the story sees it: through the enforcer's socket, as the command line does, and
 * through the event files that every process writes.
 */
import { SallyportError } from "@sallyport/core";
import type { Legs } from "@sallyport/policy/legs";
import { formatIpv4 } from "@sallyport/core";
import {
  ask,
  EventReader,
  eventsDir,
  fields,
  type Instance,
  listOf,
  localRoot,
  word,
} from "sallyport";
import type {
  ApplyOutcome,
  DenialSeen,
  GatewayPort,
  GatewayState,
  GrantMade,
  GrantWanted,
  Mode,
  PolicyText,
} from "./story.ts";
import { run } from "./shell.ts";

const STORY = "the demo plant's story";

export class Product implements GatewayPort {
  readonly mode: Mode;
  readonly #instance: Instance;

  constructor(instance: Instance, mode: Mode) {
    this.#instance = instance;
    this.mode = mode;
  }

  /** Wherever there are rooms, clients go on dialing the asset itself. */
  dial(): undefined {
    return undefined;
  }

  async egressAddress(conduit: string): Promise<string | undefined> {
    const legs = fields(await ask(this.#instance.name, { type: "running" }))["legs"];
    const found = (legs as unknown as Legs | undefined)?.conduits.find(
      ({ name }) => name === conduit,
    );
    const egress = found?.listeners[0]?.egressAddress;
    return egress === undefined ? undefined : formatIpv4(egress);
  }

  async denials(since: number): Promise<readonly DenialSeen[]> {
    // A new reader each time: the files are small, and a row asks a few times at most.
    const events = new EventReader(eventsDir(this.#instance)).poll();
    return events
      .filter((event) => "reason" in event && Date.parse(event.at) >= since)
      .map((event) => ({
        reason: text(event["reason"]),
        fromZone: text(event["sourceZone"]),
        toZone: text(event["destinationZone"]),
        conduit: text(event["conduit"]),
        count: 1,
      }));
  }

  async grant(wanted: GrantWanted): Promise<GrantMade> {
    const answer = fields(
      await ask(this.#instance.name, { type: "grant-add", grant: wanted, ...localRoot(STORY) }),
    );
    return { id: word(answer["id"]), notAfter: Date.parse(word(answer["until"])) };
  }

  async apply(file: PolicyText, confirmWithinSeconds: number): Promise<ApplyOutcome> {
    const files = [file];
    const planned = fields(
      await ask(this.#instance.name, { type: "plan", files, author: localRoot().author }),
    );
    const diagnostics = listOf(planned["diagnostics"]);
    if (typeof planned["planSha256"] !== "string") {
      return { kind: "refused", diagnostics: diagnostics.map((item) => describe(fields(item))) };
    }
    const answer = fields(
      await ask(this.#instance.name, {
        type: "apply",
        files,
        planSha256: planned["planSha256"],
        confirmWithinSeconds,
        ...localRoot(STORY),
      }),
    );
    return { kind: "pending", generation: Number(answer["generation"]) };
  }

  async confirm(generation: number): Promise<void> {
    await ask(this.#instance.name, { type: "confirm", generation });
  }

  async status(): Promise<GatewayState> {
    const status = fields(await ask(this.#instance.name, { type: "status" }));
    return {
      generation: Number(status["generation"] ?? 0),
      pending: status["pending"] !== undefined,
    };
  }

  async detachProgram(nic: string): Promise<{ repair(): Promise<void> }> {
    // The enforcer seeks drift every few seconds; it just did, so it will not hide what happens now.
    await ask(this.#instance.name, { type: "drift" });
    const netns = `${this.#instance.netnsPrefix}-inner`;
    const done = await run(["tc", "qdisc", "del", "dev", nic, "clsact"], { netns });
    if (done.code !== 0) {
      throw new SallyportError(
        "lab-tool-failed",
        `tc could not detach the program: ${done.stderr}`,
      );
    }
    return {
      repair: async () => {
        await ask(this.#instance.name, { type: "drift" });
      },
    };
  }
}

function describe(diagnostic: ReturnType<typeof fields>): string {
  const { file, line, column, severity, code, message } = diagnostic;
  const place = [file, line, column].map(word).join(":");
  return `${place}: ${word(severity)}[${word(code)}]: ${word(message)}`;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
