import { SallyportError } from "@sallyport/core";
import { EventReader, type StoredEvent } from "../event-reader.ts";
import { eventsDir, instanceNamed } from "../instance.ts";
import { type Command, EXIT, type Invocation } from "./command.ts";
import { table } from "./table.ts";

const FOLLOW_MS = 500;
const SHOWN_DEFAULT = 50;
const SHOWN_MAX = 100_000;

/** What the engines and gates refused. */
const REFUSALS = new Set(["packet-denied", "pdu-refused", "connection-refused"]);

export const denials: Command = {
  name: "denials",
  args: "",
  help: "What was refused and why, newest last. Packets are samples; counters (status) are exact.",
  flags: {
    follow: { type: "boolean", help: "go on until Ctrl-C" },
    conduit: { type: "string", value: "NAME", help: "only this conduit" },
    reason: { type: "string", value: "CODE", help: "only this reason, e.g. no-conduit" },
    last: { type: "string", value: "N", help: `how many (default ${SHOWN_DEFAULT})` },
  },
  async run(invocation) {
    const reader = new EventReader(eventsDir(instanceNamed(invocation.instance)));
    const wanted = (event: StoredEvent): boolean =>
      REFUSALS.has(event.type) &&
      matches(event, "conduit", invocation.text("conduit")) &&
      matches(event, "reason", invocation.text("reason"));
    show(invocation, reader.poll().filter(wanted).slice(-count(invocation)));
    while (invocation.flag("follow")) {
      await new Promise((resolve) => setTimeout(resolve, FOLLOW_MS));
      show(invocation, reader.poll().filter(wanted));
    }
    return EXIT.ok;
  },
};

export const flows: Command = {
  name: "flows",
  args: "",
  help: "Accepted and refused flows by conduit, peers, function and minute.",
  flags: {
    conduit: { type: "string", value: "NAME", help: "only this conduit" },
    last: { type: "string", value: "N", help: `how many (default ${SHOWN_DEFAULT})` },
  },
  async run(invocation) {
    const reader = new EventReader(eventsDir(instanceNamed(invocation.instance)));
    const events = reader
      .poll()
      .filter((event) => event.type === "flow-minute" || event.type === "pdu-minute")
      .filter((event) => matches(event, "conduit", invocation.text("conduit")))
      .slice(-count(invocation));
    const rows = events.map((event) => [
      event.at.slice(0, 16),
      word(event, "conduit"),
      `${word(event, "source")} → ${word(event, "destination")}`,
      word(event, "function"),
      word(event, "accepted"),
      word(event, "refused"),
    ]);
    if (invocation.json) for (const event of events) invocation.result(event, "");
    else {
      const head = ["minute (UTC)", "conduit", "from → to", "function", "accepted", "refused"];
      invocation.result(undefined, rows.length === 0 ? "No flows yet." : table(head, rows));
    }
    return EXIT.ok;
  },
};

function matches(event: StoredEvent, field: string, wanted: string | undefined): boolean {
  return wanted === undefined || event[field] === wanted;
}

export function count(invocation: Invocation): number {
  const text = invocation.text("last");
  if (text === undefined) return SHOWN_DEFAULT;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > SHOWN_MAX) {
    throw new SallyportError("usage", `--last takes a number from 1 to ${SHOWN_MAX}, not "${text}"`);
  }
  return value;
}

function word(event: StoredEvent, field: string): string {
  const value = event[field];
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
}

function show(invocation: Invocation, events: readonly StoredEvent[]): void {
  for (const event of events) invocation.result(event, denialLine(event));
}

/** One refusal in a line: when, where, why, who to whom, which conduit and policy line. */
export function denialLine(event: StoredEvent): string {
  const ends = `${word(event, "source")} → ${word(event, "destination")}`;
  const zones =
    word(event, "sourceZone") === "" && word(event, "destinationZone") === ""
      ? ""
      : ` (${word(event, "sourceZone") || "no zone"} → ${word(event, "destinationZone") || "no zone"})`;
  const conduit = word(event, "conduit");
  const by = conduit === "" ? "" : `, conduit ${conduit} ${word(event, "policyLine")}`.trimEnd();
  const what = word(event, "function") || word(event, "protocol");
  const at = word(event, "point") || event.process;
  return `${event.at.slice(11, 23)} DENY at ${at}: ${word(event, "reason")}  ${what} ${ends}${zones}${by}`;
}
