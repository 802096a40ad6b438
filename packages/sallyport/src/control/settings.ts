/** `settings.json` in the directory of `control`: what only whoever installs the gateway knows. All of it may be left out. */
import fs from "node:fs";
import path from "node:path";
import { SallyportError } from "@sallyport/core";

export interface Settings {
  /** As people write them in a browser; the first host name is also that of passkeys. */
  readonly names: readonly string[];
  readonly port: number;
}

/** Above 1023: the process has no right to any port below. */
const PORT_DEFAULT = 8443;
const NAMES_MAX = 20;

export function readSettings(directory: string): Settings {
  const file = path.join(directory, "settings.json");
  if (!fs.existsSync(file)) return { names: [], port: PORT_DEFAULT };
  let value: unknown;
  try {
    value = JSON.parse(fs.readFileSync(file, "utf8"));
  } catch (cause) {
    throw new SallyportError("settings-unreadable", `${file} is not JSON`, { cause });
  }
  const { names = [], port = PORT_DEFAULT } = (value ?? {}) as Readonly<Record<string, unknown>>;
  const isNames =
    Array.isArray(names) &&
    names.length <= NAMES_MAX &&
    names.every((name): name is string => typeof name === "string" && name !== "");
  if (
    isNames &&
    typeof port === "number" &&
    Number.isInteger(port) &&
    port > 1023 &&
    port < 65_536
  ) {
    return { names, port };
  }
  throw new SallyportError("settings-unreadable", `${file} holds names or a port that are none`, {
    hint: '{ "names": ["gateway.plant.example"], "port": 8443 }',
  });
}
