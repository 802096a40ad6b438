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

/** Where the enforcer listens to root at the command line. */
export function rootSocket(instance: Instance): string {
  return path.join(instance.runDir, "root", "enforcer.sock");
}

/** Where it listens to the `control` process, which may ask but never break glass. */
export function controlSocket(instance: Instance): string {
  return path.join(instance.runDir, "enforcer-control", "enforcer.sock");
}

/** Every process's events, one JSON object a line, one file a process. */
export function eventsDir(instance: Instance): string {
  return path.join(instance.stateDir, "events");
}
