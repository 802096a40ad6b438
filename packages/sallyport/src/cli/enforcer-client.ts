import fs from "node:fs";
import { type Json, SallyportError } from "@sallyport/core";
import { enforcerSocket, instanceNamed } from "../instance.ts";
import { askLine } from "../line-socket.ts";
import type { EnforcerReply, EnforcerRequest } from "../messages.ts";

/** Asks the running enforcer over a connection of its own; its refusal is thrown with its code. */
export async function ask(instanceName: string, request: EnforcerRequest): Promise<Json> {
  return await askSocket(enforcerSocket(instanceNamed(instanceName), "root"), request);
}

/** One question to a process of the gateway that answers as the enforcer does. */
export async function askSocket(socketPath: string, request: object): Promise<Json> {
  let answer: string;
  try {
    answer = await askLine(socketPath, JSON.stringify(request));
  } catch (cause) {
    if (cause instanceof SallyportError) throw cause;
    throw unreachable(socketPath, cause);
  }
  const reply = JSON.parse(answer) as EnforcerReply;
  if (reply.ok) return reply.result;
  const { code, message, hint } = reply.error;
  throw new SallyportError(code, message, hint === undefined ? {} : { hint });
}

function unreachable(socketPath: string, cause: unknown): SallyportError {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  if (code === "EACCES") {
    return new SallyportError("needs-root", "only root may talk to the gateway's processes", {
      cause,
      hint: "run the command with sudo",
    });
  }
  const stale = fs.existsSync(socketPath) ? "does not answer" : "is not running";
  return new SallyportError("not-running", `the gateway ${stale}`, {
    cause,
    hint: "start it with: sallyport up",
  });
}

/** A list from the enforcer's answer; empty where it is none. */
export function listOf(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? (value as readonly Json[]) : [];
}

/** A field of the enforcer's answer as a person reads it; empty where it is absent. */
export function word(value: Json | undefined): string {
  if (value === undefined || value === null) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** A record from the enforcer's answer, for reading fields with their checks. */
export function fields(value: Json): Readonly<Record<string, Json | undefined>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return {};
  return value as Readonly<Record<string, Json | undefined>>;
}
