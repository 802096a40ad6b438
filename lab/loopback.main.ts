/**
 * `npm start` where neither root nor user namespaces are to be had: the PLCs, the real gates on
 * ports of this machine, the story's rows that gates can enforce, then a live value until Ctrl-C.
 */
import fs from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { Poller } from "./client.ts";
import { buildLoopbackPlant, LOOPBACK_NOTICE, type LoopbackPlant } from "./loopback.ts";
import { LoopbackGateway } from "./loopback-gateway.ts";
import { sleep } from "./shell.ts";
import { playStory, type RowResult } from "./story.ts";

const EXIT = { ok: 0, failed: 1, degraded: 3, interrupted: 130 } as const;
const REFRESH_MS = 2_000;
const DAY_SECONDS = 86_400;

const { values: options } = parseArgs({
  // What the demo passes on and this mode has no use for is let by.
  strict: false,
  options: {
    once: { type: "boolean" },
    json: { type: "boolean" },
    "require-enforced": { type: "boolean" },
  },
});
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());

/** Talk goes to standard error, so that `--json` leaves standard output to the rows. */
function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

function show(row: RowResult): void {
  if (options["json"] === true) {
    process.stdout.write(`${JSON.stringify({ type: "row", ...row })}\n`);
    return;
  }
  const mark = row.ok ? "ok  " : row.enforced ? "FAIL" : "--  ";
  const seen = row.ok ? "" : `; seen: ${row.seen}`;
  process.stdout.write(`${mark} ${row.what}\n     expected: ${row.expected}${seen}\n`);
}

function conclude(results: readonly RowResult[]): number {
  const right = results.filter(({ ok }) => ok).length;
  const left = results.filter(({ enforced }) => !enforced).length;
  const wrong = results.length - right - left;
  if (options["json"] === true) {
    const summary = { type: "summary", rows: results.length, wrong, notEnforced: left };
    process.stdout.write(`${JSON.stringify(summary)}\n`);
  } else {
    say(`\n${right} as expected, ${wrong} not, ${left} not enforced here`);
  }
  if (wrong > 0) return EXIT.failed;
  return left > 0 && options["require-enforced"] === true ? EXIT.degraded : EXIT.ok;
}

/** The operators' poll through the gate, until Ctrl-C. */
async function live(plant: LoopbackPlant, gateway: LoopbackGateway): Promise<void> {
  const to = gateway.dial("hmi-operates-cells", "tank-plc");
  if (to === undefined) return;
  const request = { area: "input", address: 0, count: 1 } as const;
  const pace = { intervalMs: 1_000, seconds: DAY_SECONDS, reconnect: true };
  const poller = new Poller(plant, "hmi", to, request, pace);
  say(`The HMI polls the tank through the gate at ${to.address}:${to.port}. Stop: Ctrl-C`);
  try {
    while (!stop.signal.aborted) {
      const level = poller.goodSince(Date.now() - 2 * REFRESH_MS)?.values?.[0];
      say(`tank level ${level ?? "no answer"}`);
      await sleep(REFRESH_MS, stop.signal);
    }
  } finally {
    await poller.stop();
  }
}

async function main(): Promise<number> {
  say(LOOPBACK_NOTICE);
  const file = new URL("plant/site.yaml", import.meta.url);
  const policy = { name: "site.yaml", text: fs.readFileSync(file, "utf8") };
  const plant = await buildLoopbackPlant();
  try {
    const gateway = await LoopbackGateway.start(plant, policy);
    try {
      const code = conclude(await playStory(gateway, plant, show, { policy }));
      if (options["once"] !== true && !stop.signal.aborted) await live(plant, gateway);
      return options["once"] === true ? code : EXIT.ok;
    } finally {
      await gateway.close();
    }
  } finally {
    await plant.destroy();
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  say(`demo: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = stop.signal.aborted ? EXIT.interrupted : EXIT.failed;
}
