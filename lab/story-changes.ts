/** Rows about change: grants that end, policies that are refused or fall back, a filter torn off. */
import { Poller, type ReadRequest } from "./client.ts";
import { within } from "./shell.ts";
import type { Outcome, PolicyText, Row, Stage } from "./story.ts";
import { cameFromOutside, endpointOf, outcome, settle } from "./witness.ts";

const GRANT_SECONDS = 4;
/** A packet that passed just before the end is still on its way to the PLC's log. */
const END_TOLERANCE_MS = 300;
const GRANT_WATCH_MS = 1_800;
const CONFIRM_SECONDS = 3;
const POLL_MS = 100;
const START_LIMIT_MS = 4_000;
const BACK_LIMIT_MS = 6_000;
/** Polls come ten times a second: this long without one is a stop and no hiccup. */
const QUIET_MS = 400;
const QUIET_LIMIT_MS = 2_500;

const WANTED_FORCE = 5;
const VENDOR_CONDUIT = "vendor-services-press";
const level: ReadRequest = { area: "input", address: 0, count: 1 };

async function grantOpensAndEnds(stage: Stage): Promise<Outcome> {
  const { gateway, plant } = stage;
  const press = plant.device("press-plc");
  const grant = await gateway.grant({
    conduit: VENDOR_CONDUIT,
    person: "vendor-tech",
    reason: "Story: adjust the press",
    source: plant.address("vendor-pc"),
    asset: "press-plc",
    seconds: GRANT_SECONDS,
  });
  const poller = new Poller(
    plant,
    "vendor-pc",
    endpointOf(stage, VENDOR_CONDUIT, "press-plc"),
    { area: "holding", address: 0, count: 6 },
    {
      intervalMs: POLL_MS,
      seconds: GRANT_SECONDS + GRANT_WATCH_MS / 1000 + 1,
      write: { address: WANTED_FORCE, value: 260 },
      reconnect: true,
    },
  );
  const worked = await within(START_LIMIT_MS, () => poller.goodSince(stage.since));
  await within(grant.notAfter - Date.now() + GRANT_WATCH_MS, () => undefined);
  const late = grant.notAfter + END_TOLERANCE_MS;
  const answer = poller.goodSince(late);
  const ended = poller.since(late - 2 * END_TOLERANCE_MS).find(({ ok }) => !ok);
  await poller.stop();
  const writes = press.eventsSince(stage.since).filter(({ event }) => event === "write");
  const lastWrite = writes.at(-1);
  const evidence = [
    `${poller.since(stage.since).filter(({ ok }) => ok).length} answers, ${writes.length} writes`,
    lastWrite === undefined ? "" : `the last ${grant.notAfter - lastWrite.t} ms before the end`,
    ended === undefined ? "" : `then: ${ended.error ?? "refused"}`,
  ].filter((line) => line !== "");
  if (worked === undefined) return outcome("deny", evidence, ["nothing worked inside the grant"]);
  const lateWrite = lastWrite !== undefined && lastWrite.t > late;
  return outcome(answer === undefined && !lateWrite ? "open, then ended" : "allow", evidence, [
    writes.length === 0 ? "no write reached the press inside the grant" : undefined,
    answer === undefined ? undefined : `answered ${answer.t - grant.notAfter} ms after the end`,
    lateWrite
      ? `the press took a write ${lastWrite.t - grant.notAfter} ms after the end`
      : undefined,
  ]);
}

/** The plant's policy with two mistakes that a person would make. */
export function badPolicy({ name, text }: PolicyText): PolicyText {
  return edited(name, text, [
    ["to: tank-plc\n", "to: tank-plcc\n"],
    ["press-diag: { tcp: [4711-4713] }", "press-diag: { tcp: [4711-65536] }"],
  ]);
}

/** The plant's policy without the conduit that the operators live on. */
export function cuttingPolicy({ name, text }: PolicyText): PolicyText {
  const block = /^ {2}hmi-operates-cells:\n(?: {4}.*\n)+/m.exec(text)?.[0];
  if (block === undefined) throw new RangeError("the policy has no conduit hmi-operates-cells");
  return edited(name, text, [[block, ""]]);
}

function edited(name: string, text: string, changes: readonly [string, string][]): PolicyText {
  let out = text;
  for (const [from, to] of changes) {
    if (!out.includes(from)) throw new RangeError(`the policy no longer says "${from.trim()}"`);
    out = out.replace(from, to);
  }
  return { name, text: out };
}

async function badPolicyIsRefused(stage: Stage): Promise<Outcome> {
  const { gateway } = stage;
  const before = await gateway.status();
  const answer = await gateway.apply(badPolicy(stage.policy), CONFIRM_SECONDS);
  const after = await gateway.status();
  const moved =
    before.generation === after.generation && !after.pending
      ? undefined
      : `generation ${before.generation} became ${after.generation}`;
  if (answer.kind === "pending") return outcome("allow", [], ["it was applied", moved]);
  const { diagnostics } = answer;
  const placed = diagnostics.filter((line) => /:\d+:\d+: error\[[a-z0-9-]+\]/.test(line));
  const both = ["tank-plcc", "65536"].every((word) => diagnostics.some((d) => d.includes(word)));
  return outcome("refused", diagnostics, [
    moved,
    placed.length >= 2 && both ? undefined : "not every mistake is named with its place",
  ]);
}

function pollTank(stage: Stage, seconds: number): Poller {
  const to = endpointOf(stage, "hmi-operates-cells", "tank-plc");
  const options = { intervalMs: POLL_MS, seconds, timeoutSeconds: 0.5, reconnect: true };
  return new Poller(stage.plant, "hmi", to, level, options);
}

/** Requests that a gate brought to the tank since then. */
function requestsAt(stage: Stage, since: number): number[] {
  return cameFromOutside(stage, "tank-plc")
    .filter(({ at, payload }) => at >= since && payload.length > 0)
    .map(({ at }) => at);
}

/** When requests had been missing for QUIET_MS, if that came about. */
function quiet(stage: Stage, since: number): Promise<number | undefined> {
  return within(QUIET_LIMIT_MS + QUIET_MS, () => {
    const now = Date.now();
    const times = [since, ...requestsAt(stage, since), now];
    for (let i = 1; i < times.length; i++) {
      const from = times[i - 1] ?? now;
      if ((times[i] ?? now) - from >= QUIET_MS) return from;
    }
    return undefined;
  });
}

async function cutRollsBack(stage: Stage): Promise<Outcome> {
  const { gateway } = stage;
  const before = await gateway.status();
  const poller = pollTank(stage, CONFIRM_SECONDS + (START_LIMIT_MS + BACK_LIMIT_MS) / 1000);
  try {
    const flowing = await within(START_LIMIT_MS, () => poller.goodSince(stage.since));
    if (flowing === undefined) return outcome("unknown", [], ["the HMI's poll did not start"]);
    const applied = await gateway.apply(cuttingPolicy(stage.policy), CONFIRM_SECONDS);
    const at = Date.now();
    if (applied.kind === "refused") return outcome("refused", applied.diagnostics, ["refused"]);
    const cut = await quiet(stage, at);
    const due = at + CONFIRM_SECONDS * 1000;
    const back = await within(due - Date.now() + BACK_LIMIT_MS, () =>
      poller.goodSince(Math.max(at + QUIET_MS, cut === undefined ? due : cut + QUIET_MS)),
    );
    const after = await within(START_LIMIT_MS, async () => {
      const state = await gateway.status();
      return state.pending ? undefined : state;
    });
    const evidence = [
      cut === undefined ? "" : "the HMI's poll stopped with the change",
      back === undefined ? "" : `and was back ${back.t - at} ms later, with nobody confirming`,
    ].filter((line) => line !== "");
    return outcome(cut !== undefined && back !== undefined ? "rolled back" : "allow", evidence, [
      cut === undefined ? "the change cut nothing" : undefined,
      back === undefined ? "the poll did not come back" : undefined,
      after?.generation === before.generation ? undefined : "another generation is in force",
    ]);
  } finally {
    await poller.stop();
  }
}

async function programIsDetached(stage: Stage): Promise<Outcome> {
  const poller = pollTank(stage, (2 * START_LIMIT_MS + QUIET_LIMIT_MS + BACK_LIMIT_MS) / 1000);
  try {
    const flowing = await within(START_LIMIT_MS, () => poller.goodSince(stage.since));
    if (flowing === undefined) return outcome("unknown", [], ["the HMI's poll did not start"]);
    const detached = await stage.gateway.detachProgram("sup0");
    const at = Date.now();
    const stopped = await quiet(stage, at);
    const repairedAt = Date.now();
    await detached.repair();
    const back = await within(BACK_LIMIT_MS, () =>
      poller.goodSince(stopped === undefined ? repairedAt : stopped + QUIET_MS),
    );
    await settle();
    const evidence = [
      stopped === undefined ? "" : "no request reached the tank while the program was off",
      back === undefined ? "" : `answers again ${back.t - at} ms after it was torn off`,
    ].filter((line) => line !== "");
    const isRight = stopped !== undefined && back !== undefined;
    return outcome(isRight ? "stopped, then restored" : "allow", evidence, [
      stopped === undefined ? "traffic went on" : undefined,
      back === undefined ? "traffic did not come back" : undefined,
    ]);
  } finally {
    await poller.stop();
  }
}

export const CHANGE_ROWS: readonly Row[] = [
  {
    id: "grant-opens-and-ends",
    what: `A grant lets the vendor in for ${GRANT_SECONDS} seconds, then ends by itself`,
    from: "vendor-pc",
    needs: "packets",
    expect: {
      verdict: "open, then ended",
      reason: "grant-expired",
      conduit: VENDOR_CONDUIT,
      effect: "the press takes writes inside the grant, and none after",
    },
    act: grantOpensAndEnds,
  },
  {
    id: "bad-policy",
    what: "A policy with two mistakes is applied",
    from: "operator",
    needs: "gates",
    expect: { verdict: "refused", effect: "the running generation stays" },
    act: badPolicyIsRefused,
  },
  {
    id: "cut-rolls-back",
    what: "A change cuts the operators off, so nobody confirms it",
    from: "operator",
    needs: "packets",
    expect: { verdict: "rolled back", effect: "the HMI sees the tank again" },
    act: cutRollsBack,
  },
  {
    id: "program-detached",
    what: "The inner engine's program is torn off its interface",
    from: "operator",
    needs: "ebpf",
    expect: { verdict: "stopped, then restored", effect: "no request reaches the tank meanwhile" },
    act: programIsDetached,
  },
];
