import path from "node:path";
import { SallyportError } from "@sallyport/core";

/**
 * One gateway on a machine. A plant has one, `main`; the demo and each test have their own, so that
 * none can touch another's rooms. All names on the machine carry the instance's name.
 */
export interface Instance {
  readonly name: string;
  /** Sockets and the read-only code mount; gone after a reboot. */
  readonly runDir: string;
  /** Generations, numbers, events; what must outlive a reboot. */
  readonly stateDir: string;
  /** Namespaces are `<prefix>-outer`, `<prefix>-gate-erp`, … */
  readonly netnsPrefix: string;
}

/** With `sp-` before and `-<room>` after it must fit a namespace's name comfortably. */
const INSTANCE_NAME = /^[a-z][a-z0-9]{0,15}$/;

/** Where a user without root keeps an instance's files; empty on a machine that it runs for real. */
const ROOT_VARIABLE = "SALLYPORT_ROOT";

export function instanceNamed(
  name: string,
  root: string = process.env[ROOT_VARIABLE] ?? "",
): Instance {
  if (!INSTANCE_NAME.test(name)) {
    throw new SallyportError("bad-instance-name", `"${name}" is not an instance name`, {
      hint: "use 1 to 16 lower-case letters and digits, a letter first",
    });
  }
  return {
    name,
    runDir: path.join("/", root, "run/sallyport", name),
    stateDir: path.join("/", root, "var/lib/sallyport", name),
    netnsPrefix: `sp-${name}`,
  };
}

/** A server's door for one caller: a directory that only this caller can enter. */
export function doorOf(instance: Instance, server: string, caller: string): string {
  return path.join(instance.runDir, `${server}-${caller}`);
}

type Asking = "root" | "control" | "keyholder";

/** `root` is the command line; `control` may ask, and never break glass; `keyholder` reads what is in force. */
export function enforcerSocket(instance: Instance, caller: Asking): string {
  return path.join(doorOf(instance, "enforcer", caller), "enforcer.sock");
}

export function archivistSocket(instance: Instance, caller: Asking): string {
  return path.join(doorOf(instance, "archivist", caller), "archivist.sock");
}

/** Exports of the ledger; `control` may read them. */
export function exportsDir(instance: Instance): string {
  return path.join(instance.stateDir, "exports");
}

/** Every process's events, one JSON object a line, one file a process. */
export function eventsDir(instance: Instance): string {
  return path.join(instance.stateDir, "events");
}
