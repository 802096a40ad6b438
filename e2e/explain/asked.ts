/** The same question to the command line and to the model. */
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { Json } from "@sallyport/core";
import { type Grant, type Legs, Model, type Point } from "@sallyport/policy";
import { ask, fields, listOf, word } from "sallyport";
import { run } from "../../lab/shell.ts";
import type { Site } from "../../lab/site.ts";

const COMMAND = fileURLToPath(new URL("../../packages/sallyport/src/main.ts", import.meta.url));
const EXIT_DENIED = 5;
const EXIT_OK = 0;

export interface Answer {
  readonly reason: string;
  readonly conduit: string;
  readonly policyLine: string;
  readonly place: string;
  /** What every step says. */
  readonly text: string;
}

/** `sallyport policy explain … --json` of the running policy. */
export async function explained(site: Site, question: readonly string[]): Promise<Answer> {
  const argv = [process.execPath, COMMAND, "--instance", site.instance.name, "policy", "explain"];
  const { code, stdout, stderr } = await run([...argv, ...question, "--json"]);
  if (code !== EXIT_DENIED && code !== EXIT_OK)
    throw new RangeError(`explain: ${String(code)} ${stderr}`);
  const answer = fields(JSON.parse(stdout) as Json);
  const steps = listOf(answer["steps"]).map(fields);
  const decided = steps.find(({ verdict }) => verdict === "deny");
  return {
    reason: word(answer["reason"]),
    conduit: word(answer["conduit"]),
    policyLine: word(answer["source"]),
    place: word(decided?.["room"] ?? answer["where"]),
    text: steps.map(({ text }) => word(text)).join("\n"),
  };
}

/** What the model says of a frame that opens nothing, under what runs now. */
export async function modeled(
  site: Site,
  point: Point,
  frame: { readonly interface: string; readonly bytes: Uint8Array },
): Promise<Omit<Answer, "place" | "text">> {
  const running = fields(await ask(site.instance.name, { type: "running" }));
  const legs = running["legs"] as unknown as Legs;
  const model = new Model({ point });
  model.load(legs, {
    grants: listOf(running["grants"]) as unknown as readonly Grant[],
    islanded: new Set(listOf(running["islands"]).map(word)),
    timeTrusted: running["timeTrusted"] !== false,
  });
  const { verdict, reason = "", conduit = "" } = model.step(frame, Date.now());
  const policyLine = legs.conduits.find(({ name }) => name === conduit)?.source ?? "";
  return { reason: verdict === "deny" ? reason : verdict, conduit, policyLine };
}
