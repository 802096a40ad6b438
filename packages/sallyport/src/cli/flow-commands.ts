import { SallyportError } from "@sallyport/core";
import type { FlowQuestion, FlowRow } from "@sallyport/store";
import { EventReader, type StoredEvent } from "../event-reader.ts";
import { eventsDir, instanceNamed } from "../instance.ts";
import { askFlows } from "../journal-place.ts";
import { type Command, EXIT, type Invocation } from "./command.ts";
import { durationSeconds } from "./grant-commands.ts";
import { table } from "./table.ts";

const FOLLOW_MS = 500;
const SHOWN_DEFAULT = 50;
const SHOWN_MAX = 100_000;

const REFUSALS = new Set(["packet-denied", "pdu-refused", "connection-refused"]);

/** What the engines and gates refused; a gate closes both sides on bytes that are no request. */
export function isRefusal(event: StoredEvent): boolean {
  if (event.type === "connection-closed") return word(event, "reason").startsWith("l7.");
  return REFUSALS.has(event.type);
}

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
      isRefusal(event) &&
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
  help: "Accepted and refused flows by conduit, peers, function and minute, newest first.",
  flags: {
    conduit: { type: "string", value: "NAME", help: "only this conduit" },
    since: { type: "string", value: "TIME", help: "only the last 30m, 2h, … (default: all)" },
    hours: { type: "boolean", help: "by hour instead of by minute; hours are kept for 400 days" },
    last: { type: "string", value: "N", help: `how many (default ${SHOWN_DEFAULT})` },
  },
  async run(invocation) {
    const rows = askFlows(instanceNamed(invocation.instance), (answers) =>
      answers.flows(questionOf(invocation)),
    );
    if (invocation.json) for (const row of rows ?? []) invocation.result(jsonRow(row), "");
    else if (rows === undefined) invocation.result(undefined, NO_STORE);
    else invocation.result(undefined, flowsText(rows));
    return EXIT.ok;
  },
};

const NO_STORE =
  "No flows are recorded yet: the journal writes them a few seconds after the gateway's first start (sallyport up).";

function questionOf(invocation: Invocation): FlowQuestion {
  const conduit = invocation.text("conduit");
  const since = invocation.text("since");
  return {
    limit: count(invocation),
    by: invocation.flag("hours") ? "hour" : "minute",
    ...(conduit === undefined ? {} : { conduit }),
    ...(since === undefined ? {} : { sinceMs: Date.now() - durationSeconds(since) * 1000 }),
  };
}

function jsonRow({ startMs, ...row }: FlowRow): object {
  return { at: new Date(startMs).toISOString(), ...row };
}

function flowsText(rows: readonly FlowRow[]): string {
  if (rows.length === 0) return "No such flows are recorded.";
  const cells = rows.map((row) => [
    new Date(row.startMs).toISOString().slice(0, 16).replace("T", " "),
    row.point,
    row.conduit || "-",
    zonesText(row.source || row.sourceZone, row.destination || row.destinationZone, row.reason),
    [row.protocol, row.port === 0 ? "" : String(row.port), row.function].filter(Boolean).join(" "),
    String(row.accepted),
    row.sampled > 0 ? `${row.sampled} sampled` : String(row.refused),
    row.reason,
  ]);
  const head = ["from (UTC)", "at", "conduit", "from → to", "what", "passed", "refused", "why"];
  const hasSamples = rows.some(({ sampled }) => sampled > 0);
  // The kernel counts refusals by zone: then the zone is all that is known of an end.
  const note =
    "sampled: of these packets some were kept (sallyport denials); rows with zones count all";
  return `${table(head, cells)}${hasSamples ? `\n\n${note}` : ""}`;
}

function matches(event: StoredEvent, field: string, wanted: string | undefined): boolean {
  return wanted === undefined || event[field] === wanted;
}

export function count(invocation: Invocation): number {
  const text = invocation.text("last");
  if (text === undefined) return SHOWN_DEFAULT;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > SHOWN_MAX) {
    throw new SallyportError(
      "usage",
      `--last takes a number from 1 to ${SHOWN_MAX}, not "${text}"`,
    );
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
  const [source, destination] = [word(event, "source"), word(event, "destination")];
  const ends = destination === "" ? source && `from ${source}` : `${source} → ${destination}`;
  const [reason, point] = [word(event, "reason"), word(event, "point")];
  const zones = zonesText(word(event, "sourceZone"), word(event, "destinationZone"), reason);
  const conduit = word(event, "conduit");
  const by = conduit === "" ? "" : `, conduit ${conduit} ${word(event, "policyLine")}`.trimEnd();
  const what = word(event, "function") || word(event, "protocol");
  // A gate knows no zones, but can say what was wrong with the request.
  const detail = [
    point === "" || destination === "" ? "" : ` (${zones})`,
    by,
    sentence(word(event, "why")),
  ].join("");
  const when = event.at.slice(0, 23).replace("T", " ");
  const tried = [what, ends].filter((part) => part !== "").join(" ");
  return `${when} DENY at ${point || event.process}: ${reason}  ${tried}${detail}`;
}

function sentence(why: string): string {
  return why === "" ? "" : `: ${why}`;
}

/** Ends that are in no zone are told apart where the reason does. */
export function zonesText(source: string, destination: string, reason: string): string {
  const nowhere = { "to-gateway": "the gateway", multicast: "many" }[reason] ?? "no zone";
  return `${source || "no zone"} → ${destination || nowhere}`;
}
