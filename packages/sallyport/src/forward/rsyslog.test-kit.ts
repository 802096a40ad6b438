/** Debian's rsyslog as a SIEM would run it: imtcp over GnuTLS, clients by certificate, one JSON object a message. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import type { Certificates } from "./forward.test-kit.ts";

export interface Seen {
  readonly raw: string;
  readonly host: string;
  readonly app: string;
  readonly id: string;
  readonly priority: string;
  readonly data: string;
}

const FIELDS: readonly (readonly [name: string, property: string])[] = [
  ["raw", "rawmsg"],
  ["host", "hostname"],
  ["app", "app-name"],
  ["id", "msgid"],
  ["priority", "pri"],
  ["data", "structured-data"],
];

export class Rsyslog {
  readonly port: number;
  readonly #directory: string;
  #child: ChildProcess | undefined;

  constructor(directory: string, port: number, { directory: keys }: Certificates) {
    this.port = port;
    this.#directory = directory;
    const list = FIELDS.map(
      ([name, property]) => `property(name="${property}" outname="${name}" format="jsonf")`,
    ).join(' constant(value=",") ');
    const config = `
global(workDirectory="${directory}" maxMessageSize="16k" parser.escapeControlCharactersOnReceive="off"
  DefaultNetstreamDriverCAFile="${keys}/ca.pem"
  DefaultNetstreamDriverCertFile="${keys}/server.pem" DefaultNetstreamDriverKeyFile="${keys}/server.key")
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.Authmode="x509/name" PermittedPeer=["gateway"])
template(name="seen" type="list") { constant(value="{") ${list} constant(value="}\\n") }
ruleset(name="all") { action(type="omfile" file="${directory}/seen.ndjson" template="seen" asyncWriting="off" flushOnTXEnd="on") }
input(type="imtcp" port="${port}" address="127.0.0.1" ruleset="all")
`;
    fs.writeFileSync(path.join(directory, "rsyslog.conf"), config);
  }

  async start(): Promise<void> {
    const at = (name: string): string => path.join(this.#directory, name);
    const child = spawn("/usr/sbin/rsyslogd", ["-n", "-f", at("rsyslog.conf"), "-i", at("pid")], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    let said = "";
    child.stderr?.on("data", (chunk: Buffer) => (said += chunk.toString("utf8")));
    this.#child = child;
    for (let tries = 0; tries < 200; tries++) {
      if (child.exitCode !== null) throw new Error(`rsyslogd: ${said}`);
      if (await isOpen(this.port)) return;
      await new Promise((go) => setTimeout(go, 50));
    }
    throw new Error(`rsyslogd does not listen: ${said}`);
  }

  /** As an operator does it, or as a power cut does. */
  async stop(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, "exit");
    fs.rmSync(path.join(this.#directory, "pid"), { force: true });
  }

  /** All whole lines so far. */
  seen(): readonly Seen[] {
    const file = path.join(this.#directory, "seen.ndjson");
    const text = fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "";
    const lines = text.slice(0, text.lastIndexOf("\n") + 1).split("\n");
    return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as Seen);
  }
}

async function isOpen(port: number): Promise<boolean> {
  const socket = net.connect({ host: "127.0.0.1", port });
  return await new Promise((resolve) => {
    socket.once("connect", () => resolve(true));
    socket.once("error", () => resolve(false));
  }).then((open) => {
    socket.destroy();
    return open === true;
  });
}
