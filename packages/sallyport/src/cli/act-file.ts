/** What goes between whoever asks and whoever signs: files that can travel on a stick, with nothing secret in them. */
import fs from "node:fs";
import { canonicalJson, type Json, SallyportError } from "@sallyport/core";
import { parseApproval } from "@sallyport/identity/approval";
import type { Legs } from "@sallyport/policy/legs";
import { type Act, digestOf } from "../approvals/act.ts";
import type { Approval } from "../messages.ts";

const ACT_FORMAT = "sallyport-act/1";
const APPROVAL_FORMAT = "sallyport-approval/1";
/** Legs of 10,000 conduits are some tens of MiB. */
const FILE_MAX_BYTES = 160 * 1024 * 1024;
/** Kinds that a person can be asked to sign; each says what else it must have. */
const KINDS: readonly Act["act"][] = ["apply", "grant", "island-off", "trust-time", "enrol"];

export interface ActFile {
  readonly act: Act;
  /** What was in force when it was written: to show the difference, never signed. */
  readonly running?: Legs;
}

export function writeAct(file: string, { act, running }: ActFile): void {
  const text = canonicalJson({
    format: ACT_FORMAT,
    act,
    ...(running === undefined ? {} : { running }),
  } as unknown as Json);
  // A file that is there may be one that somebody is signing.
  fs.writeFileSync(file, `${text}\n`, { mode: 0o644, flag: "wx" });
}

export function readAct(file: string): ActFile {
  const value = readObject(file);
  const { format, act, running } = value;
  const kind: unknown =
    typeof act === "object" && act !== null ? Reflect.get(act, "act") : undefined;
  if (format !== ACT_FORMAT || !KINDS.includes(kind as Act["act"])) {
    throw new SallyportError("act-file-unreadable", `${file} is no act to be signed`, {
      hint: "sallyport plan POLICY --out FILE writes one",
    });
  }
  return { act: act as Act, ...(running === undefined ? {} : { running: running as Legs }) };
}

export function writeApproval(file: string, act: Act, approval: Approval): void {
  const digest = digestOf(act).toString("hex");
  const text = JSON.stringify({ format: APPROVAL_FORMAT, digest, approval });
  fs.writeFileSync(file, `${text}\n`, { mode: 0o644 });
}

/** Signatures from files, refused early where they are of another act. The enforcer checks them all the same. */
export function readApprovals(files: readonly string[], digest: string): Approval[] {
  return files.map((file) => {
    const value = readObject(file);
    const approval = parseApproval(value["approval"]);
    if (value["format"] !== APPROVAL_FORMAT || approval === undefined) {
      throw new SallyportError("act-file-unreadable", `${file} is no approval`, {
        hint: "sallyport approve writes one",
      });
    }
    if (value["digest"] !== digest) {
      throw new SallyportError("plan-changed", `${file} approves something else`, {
        hint: "plan again, and have the new file signed",
      });
    }
    return approval;
  });
}

function readObject(file: string): Readonly<Record<string, unknown>> {
  try {
    if (fs.statSync(file).size <= FILE_MAX_BYTES) {
      const value: unknown = JSON.parse(fs.readFileSync(file, "utf8"));
      if (typeof value === "object" && value !== null) return { ...value };
    }
  } catch (cause) {
    throw new SallyportError("act-file-unreadable", `${file} cannot be read`, { cause });
  }
  throw new SallyportError("act-file-unreadable", `${file} is no act and no approval`);
}
