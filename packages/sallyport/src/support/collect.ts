/** What somebody who helps needs to see of a gateway, without its secrets and without its people. */
import fs from "node:fs";
import path from "node:path";
import type { Json } from "@sallyport/core";
import { type SupportBundle, supportBundle, type SupportText } from "@sallyport/store";
import { eventsDir, type Instance } from "../instance.ts";
import { eventsWithoutPeople, policyWithoutPeople, valueWithoutPeople } from "./without-people.ts";

/** The end of each file; older events are in the ledger. */
const EVENTS_MAX_BYTES = 512 * 1024;
const FILES_MAX = 200;

interface StateText {
  readonly generations?: readonly { readonly number: number; readonly state: string }[];
}

/** `said` is what processes answered, by name. No key, no database and no file of the keyholder is opened. */
export function collectSupport(
  instance: Instance,
  said: Readonly<Record<string, Json>>,
  { addresses }: { readonly addresses: boolean },
): SupportBundle {
  const answers = Object.entries(said).map(([name, value]) => ({
    name: `${name}.json`,
    text: eventsWithoutPeople(JSON.stringify(valueWithoutPeople(value), undefined, 1)),
  }));
  const texts = [...answers, ...policyTexts(instance), ...eventTexts(instance)];
  return supportBundle(texts, { addresses });
}

function policyTexts({ stateDir }: Instance): readonly SupportText[] {
  const state = textOf(path.join(stateDir, "state.json"));
  if (state === "") return [];
  const { generations = [] } = JSON.parse(state) as StateText;
  const confirmed = generations.findLast(({ state: is }) => is === "confirmed");
  const policy = textOf(path.join(stateDir, `generations/${confirmed?.number ?? 0}/policy`));
  if (policy === "") return [];
  const files = JSON.parse(policy) as readonly { readonly name: string; readonly text: string }[];
  return files.map(({ name, text }) => ({
    name: `policy/${path.basename(name)}`,
    text: policyWithoutPeople(text),
  }));
}

function eventTexts(instance: Instance): readonly SupportText[] {
  const directory = eventsDir(instance);
  const names = fs.existsSync(directory) ? fs.readdirSync(directory).sort() : [];
  const events = names.slice(0, FILES_MAX).map((name) => ({
    name: `events/${name}`,
    text: eventsWithoutPeople(textOf(path.join(directory, name), EVENTS_MAX_BYTES)),
  }));
  const log = textOf(path.join(instance.stateDir, "supervisor.log"), EVENTS_MAX_BYTES);
  return [...events, { name: "supervisor.log", text: eventsWithoutPeople(log) }];
}

/** The end of a plain file, from the start of a line; empty when there is none. */
function textOf(file: string, maxBytes: number = 64 * 1024 * 1024): string {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
  let descriptor: number;
  try {
    descriptor = fs.openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch {
    return "";
  }
  try {
    const stat = fs.fstatSync(descriptor);
    if (!stat.isFile()) return "";
    const start = Math.max(0, stat.size - maxBytes);
    const bytes = Buffer.alloc(stat.size - start);
    const length = fs.readSync(descriptor, bytes, 0, bytes.length, start);
    const text = bytes.subarray(0, length).toString("utf8");
    return start === 0 ? text : text.slice(text.indexOf("\n") + 1);
  } finally {
    fs.closeSync(descriptor);
  }
}
