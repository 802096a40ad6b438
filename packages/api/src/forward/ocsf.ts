/**
 * OCSF 1.6.0 events, one JSON object a line. Sign-ins are Authentication (3002), grants Authorize Session
 * (3003), packets and requests Network Activity (4001), what somebody should look at Detection Finding (2004);
 * all else is Base Event (0), since no class fits a policy's change. Fields stand under `unmapped`.
 */
import type { Json } from "@sallyport/core";
import {
  cut,
  type ForwardedRecord,
  type Rank,
  rankOf,
  type Sender,
  textOf,
  VALUE_LENGTH_MAX,
} from "./record.ts";

const OCSF_VERSION = "1.6.0";
const OTHER = 99;
/** Informational, medium, high. */
const SEVERITY: Readonly<Record<Rank, number>> = { usual: 1, refusal: 3, alarm: 4 };

type Members = Readonly<Record<string, Json>>;

interface Class {
  readonly category: number;
  readonly uid: number;
  readonly activity: number;
  readonly members: Members;
}

export function ocsfLine(record: ForwardedRecord, sender: Sender): string {
  const { category, uid, activity, members } = classOf(record);
  const event: Members = {
    category_uid: category,
    class_uid: uid,
    activity_id: activity,
    ...(activity === OTHER ? { activity_name: record.type } : {}),
    type_uid: uid * 100 + activity,
    severity_id: SEVERITY[rankOf(record)],
    time: record.atMs,
    message: record.type,
    metadata: {
      product: { name: "Sallyport", vendor_name: "Sallyport", version: sender.version },
      version: OCSF_VERSION,
      uid: record.leaf,
      sequence: record.index,
      log_name: "ledger",
    },
    ...members,
    unmapped: { type: record.type, ...cutAll({ ...record.fields, ...record.personal }) },
  };
  return JSON.stringify(event);
}

function classOf(record: ForwardedRecord): Class {
  // In the ledger the process that tells stands before a dot: `control.sign-in`.
  const words = (record.type.split(".").at(-1) ?? "").split("-");
  const [first = ""] = words;
  if (first === "sign") return authentication(record, words);
  if (first === "grant") return authorization(record, words);
  if (["packet", "pdu", "flow", "connection"].includes(first)) return network(record, words);
  if (rankOf(record) === "alarm") return finding(record);
  return { category: 0, uid: 0, activity: OTHER, members: {} };
}

function authentication(record: ForwardedRecord, words: readonly string[]): Class {
  const isOut = words.includes("out");
  const isRefused = rankOf(record) === "refusal";
  const members = {
    user: userOf(record),
    service: { name: "sallyport" },
    status_id: isRefused ? 2 : 1,
  };
  return { category: 3, uid: 3002, activity: isOut ? 2 : 1, members };
}

function authorization(record: ForwardedRecord, words: readonly string[]): Class {
  const isAdded = words.includes("added");
  const conduit = text(record.fields["conduit"]) ?? "unknown";
  const members = { user: userOf(record), privileges: [conduit] };
  return { category: 3, uid: 3003, activity: isAdded ? 1 : OTHER, members };
}

function network(record: ForwardedRecord, words: readonly string[]): Class {
  const isRefused = words.includes("denied") || words.includes("refused");
  const { fields } = record;
  const ends = [
    ["src_endpoint", fields["source"], fields["sourceZone"]],
    ["dst_endpoint", fields["destination"], fields["destinationZone"]],
  ] as const;
  const members: Record<string, Json> = {};
  for (const [name, address, zone] of ends) {
    const [ip, port] = text(address)?.split(":") ?? [];
    const end = {
      ...(ip === undefined ? {} : { ip }),
      ...(port === undefined || !/^\d+$/.test(port) ? {} : { port: Number(port) }),
      ...(text(zone) === undefined ? {} : { zone: text(zone) }),
    };
    if (Object.keys(end).length > 0) members[name] = end;
  }
  // Activity 5 is Refuse, 6 Traffic; disposition 2 is Blocked, 1 Allowed.
  const verdict = { disposition_id: isRefused ? 2 : 1, action_id: isRefused ? 2 : 1 };
  return {
    category: 4,
    uid: 4001,
    activity: isRefused ? 5 : 6,
    members: { ...members, ...verdict },
  };
}

function finding({ leaf, type }: ForwardedRecord): Class {
  const members = {
    finding_info: { uid: leaf, title: type.replaceAll(/[.-]/g, " ") },
    is_alert: true,
  };
  return { category: 2, uid: 2004, activity: 1, members };
}

/** A target that is not to know people gets a user without a name. */
function userOf({ personal }: ForwardedRecord): Json {
  const name = text(personal["person"]);
  return name === undefined ? { type_id: 0 } : { name, type_id: 1 };
}

function text(value: Json | undefined): string | undefined {
  return typeof value === "string" ? cut(value, VALUE_LENGTH_MAX) : undefined;
}

function cutAll(members: Members): Members {
  return Object.fromEntries(
    Object.entries(members).map(([name, value]) => {
      const whole = textOf(value);
      return [name, whole.length <= VALUE_LENGTH_MAX ? value : cut(whole, VALUE_LENGTH_MAX)];
    }),
  );
}
