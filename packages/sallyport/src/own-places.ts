/** Paths that no root process needs to know; the supervisor makes their directories. */
import path from "node:path";
import { doorOf, type Instance } from "./instance.ts";

/** Only `control` asks it. */
export function keyholderSocket(instance: Instance): string {
  return path.join(doorOf(instance, "keyholder", "control"), "keyholder.sock");
}

/** The API for people on the box. Everybody may connect; a sign-in proves who it is. */
export function apiSocket(instance: Instance): string {
  return path.join(instance.runDir, "api", "api.sock");
}

/** The same API for local root alone, whom its directory lets in: what is asked here, root asks. */
export function rootApiSocket(instance: Instance): string {
  return path.join(doorOf(instance, "control", "root"), "api.sock");
}

/** Sticky, so that each file in it is of the uid that made it: how a person on the box shows who they are. */
export function proofDir(instance: Instance): string {
  return path.join(instance.runDir, "proof");
}

/** What root found the last time that it ran `sallyport doctor`: everybody may read it by its name. */
export function doctorFile(instance: Instance): string {
  return path.join(instance.stateDir, "doctor.json");
}
