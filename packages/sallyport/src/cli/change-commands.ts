import { diff, formatDiff } from "@sallyport/policy";
import type { Legs } from "@sallyport/policy/legs";
import { type Diagnostic, formatDiagnostic, SallyportError } from "@sallyport/core";
import type { Approval } from "../messages.ts";
import { CONFIRM_SECONDS_MAX, CONFIRM_SECONDS_MIN } from "../messages.ts";
import { readApprovals, writeAct } from "./act-file.ts";
import { type Command, EXIT, type Invocation } from "./command.ts";
import { ask, fields, listOf, word } from "./enforcer-client.ts";
import { localRoot } from "./local-root.ts";
import { LOCAL_ROOT } from "../message-fields.ts";
import { ownPathCut } from "./own-path.ts";
import { placeOf, travelingPolicy } from "./policy-files.ts";
import { replayed, replayText } from "./replay.ts";

const DEFAULT_POLICY = "/etc/sallyport/policy";
const CONFIRM_SECONDS = 90;

const AUTHOR = {
  type: "string",
  value: "PERSON",
  help: "who asks for it; their own signature does not count (default: local root)",
} as const;

/** What the enforcer answers to `plan`: its own compiler's legs, and the digest to approve. */
interface Planned {
  readonly diagnostics: readonly Diagnostic[];
  readonly legs?: Legs;
  readonly planSha256?: string;
  readonly baseGeneration: number;
  readonly nextGeneration: number;
  readonly nodeEpoch: number;
}

export const plan: Command = {
  name: "plan",
  args: "[POLICY]",
  help: "What would change: compiles the policy as the enforcer does and compares behavior. Exits 2 if anything does.",
  flags: {
    replay: { type: "boolean", help: "judge the recorded flows by the new policy too" },
    "accept-risk": { type: "string", value: "RISK", help: "lose-access: do not stop at it" },
    author: AUTHOR,
    out: { type: "string", value: "FILE", help: "write what approvers sign into this file" },
  },
  async run(invocation) {
    const { planned, legs, running } = await planOf(invocation);
    writePlan(invocation, planned, legs, running);
    const names = new Map(legs.assets.map(({ name, address }) => [address, name]));
    const change = diff(running, legs, { names });
    const cut = ownPathCut(running, legs);
    const replay = invocation.flag("replay")
      ? replayed(invocation.instance, running, legs)
      : undefined;
    const text = [
      formatDiff(change),
      ...(replay === undefined ? [] : [replayText(replay)]),
      ...(cut === undefined ? [] : [`warning: ${cut}`]),
      `generation ${planned.baseGeneration} → ${planned.nextGeneration}, plan ${planned.planSha256 ?? ""}`,
    ].join("\n");
    invocation.result({ ...planned, legs: undefined, diff: change, replay, warning: cut }, text);
    return change.cells.length + change.other.length === 0 ? EXIT.ok : EXIT.changes;
  },
};

export const apply: Command = {
  name: "apply",
  args: "[POLICY]",
  help: "Applies a policy. Without `sallyport confirm` over a new connection in time the present one comes back by itself.",
  flags: {
    approved: { type: "string", value: "FILES", help: "signatures by `approve`, by comma" },
    author: AUTHOR,
    "confirm-within": { type: "string", value: "SECONDS", help: `default ${CONFIRM_SECONDS}` },
    reason: {
      type: "string",
      value: "TEXT",
      help: "why local root may do this: it is recorded as break-glass",
    },
    "accept-risk": {
      type: "string",
      value: "RISK",
      help: "lose-access: apply although it cuts this login",
    },
  },
  async run(invocation) {
    const { planned, legs, running } = await planOf(invocation);
    const cut = ownPathCut(running, legs);
    if (cut !== undefined && invocation.text("accept-risk") !== "lose-access") {
      throw new SallyportError("would-lose-access", cut, {
        hint: "apply from the box's own console, or add --accept-risk=lose-access",
      });
    }
    const seconds = secondsOf(invocation);
    const answer = fields(
      await ask(invocation.instance, {
        type: "apply",
        files: travelingPolicy(policyAt(invocation)),
        author: authorOf(invocation),
        planSha256: planned.planSha256 ?? "",
        confirmWithinSeconds: seconds,
        approvals: approvalsOf(invocation, planned.planSha256 ?? ""),
      }),
    );
    invocation.result(
      answer,
      `generation ${word(answer["generation"])} is in force for ${seconds} s; keep it with: sallyport confirm`,
    );
    return EXIT.ok;
  },
};

export const confirm: Command = {
  name: "confirm",
  args: "",
  help: "Keeps the pending generation.",
  flags: {},
  run: async (invocation) => await settle(invocation, "confirm"),
};

export const rollback: Command = {
  name: "rollback",
  args: "",
  help: "Returns to the confirmed generation at once.",
  flags: {},
  run: async (invocation) => await settle(invocation, "rollback"),
};

/** Without signatures it is local root's word, which is recorded as break-glass. */
function approvalsOf(invocation: Invocation, digest: string): readonly Approval[] {
  const files = invocation.text("approved")?.split(",");
  if (files !== undefined) return readApprovals(files, digest);
  return localRoot(invocation.text("reason")).approvals;
}

function authorOf(invocation: Invocation): string {
  return invocation.text("author") ?? LOCAL_ROOT;
}

function writePlan(
  invocation: Invocation,
  planned: Planned,
  legs: Legs,
  running: Legs | undefined,
): void {
  const file = invocation.text("out");
  if (file === undefined) return;
  const { baseGeneration, nextGeneration, nodeEpoch } = planned;
  const { site, policySha256 } = legs;
  const numbers = { nodeEpoch, baseGeneration, nextGeneration };
  const act = { act: "apply" as const, site, author: authorOf(invocation), policySha256, legs };
  writeAct(file, { act: { ...act, ...numbers }, ...(running === undefined ? {} : { running }) });
  invocation.say(`${file} is what approvers sign: sallyport approve ${file} --policy …`);
}

async function settle(invocation: Invocation, type: "confirm" | "rollback"): Promise<0> {
  const status = fields(await ask(invocation.instance, { type: "status" }));
  const pending = fields(status["pending"] ?? null)["generation"];
  if (typeof pending !== "number") {
    throw new SallyportError("nothing-pending", "no change is waiting to be confirmed", {
      hint: "it was rolled back if its time ran out; see: sallyport status",
    });
  }
  const answer = await ask(invocation.instance, { type, generation: pending });
  const text =
    type === "confirm"
      ? `generation ${pending} is confirmed`
      : `generation ${pending} was rolled back`;
  invocation.result(answer, text);
  return EXIT.ok;
}

export const drift: Command = {
  name: "drift",
  args: "",
  help: "Compares the kernel with the running generation. Exits 2 if they differ; what could open is reloaded at once.",
  flags: {},
  async run(invocation) {
    const answer = fields(await ask(invocation.instance, { type: "drift" }));
    const found = listOf(answer["differences"]).map(word);
    const text = found.length === 0 ? "The kernel holds what the policy says." : found.join("\n");
    invocation.result(answer, text);
    return found.length === 0 ? EXIT.ok : EXIT.changes;
  },
};

function policyAt(invocation: Invocation): string {
  return invocation.args[0] ?? DEFAULT_POLICY;
}

async function planOf(
  invocation: Invocation,
): Promise<{ planned: Planned; legs: Legs; running: Legs | undefined }> {
  const files = travelingPolicy(policyAt(invocation));
  const planned = (await ask(invocation.instance, {
    type: "plan",
    files,
    author: authorOf(invocation),
  })) as unknown as Planned;
  for (const diagnostic of planned.diagnostics) {
    const file = placeOf(policyAt(invocation), diagnostic.file);
    invocation.say(formatDiagnostic({ ...diagnostic, file }));
  }
  if (planned.legs === undefined) {
    throw new SallyportError(
      "policy-refused",
      "the policy has mistakes; the running generation is untouched",
      {
        hint: "mend what is listed above and plan again",
      },
    );
  }
  const running = fields(await ask(invocation.instance, { type: "running" }))["legs"];
  return { planned, legs: planned.legs, running: (running ?? undefined) as Legs | undefined };
}

function secondsOf(invocation: Invocation): number {
  const text = invocation.text("confirm-within")?.replace(/s$/, "");
  if (text === undefined) return CONFIRM_SECONDS;
  const seconds = Number(text);
  if (
    !Number.isInteger(seconds) ||
    seconds < CONFIRM_SECONDS_MIN ||
    seconds > CONFIRM_SECONDS_MAX
  ) {
    throw new SallyportError(
      "usage",
      `--confirm-within takes ${CONFIRM_SECONDS_MIN} to ${CONFIRM_SECONDS_MAX} seconds, not "${text}"`,
    );
  }
  return seconds;
}
