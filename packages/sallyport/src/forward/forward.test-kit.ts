/** A real ledger to send on, a clock that only the pump moves, certificates, and a reader of RFC 5424. */
import { spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import type { Sender } from "@sallyport/api";
import { type Ledger, openLedger, signerFromSeed } from "@sallyport/ledger";
import { openStateStore, type StateStore } from "@sallyport/store";
import { readArchivistRequest } from "../archivist/archivist-messages.ts";
import { ArchivistService } from "../archivist/archivist-service.ts";
import type { Destination } from "./destination.ts";
import { Pump, type Receiver } from "./pump.ts";
import { ArchivistSource } from "./source.ts";

export const SENDER: Sender = {
  ...{ host: "gw1.plant.example", version: "0.1.0", processId: 812, enterprise: 32_473 },
};
const START = Date.UTC(2026, 10, 18, 12, 0);

export class TestLedger {
  readonly home: string = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-forward-"));
  readonly clock: { now: number; readonly nowMs: () => number } = {
    now: START,
    nowMs: () => this.clock.now,
  };
  readonly ledger: Ledger;
  readonly state: StateStore;
  readonly source: ArchivistSource;
  /** Called with each wait of a pump; the clock has moved by then. */
  onWait: (ms: number) => Promise<void> = async () => undefined;

  private constructor(state: StateStore) {
    this.state = state;
    this.ledger = openLedger({
      directory: path.join(this.home, "ledger"),
      signer: signerFromSeed("sallyport/test/audit", createHash("sha256").update("t").digest()),
      nowMs: this.clock.nowMs,
      randomness: (size) => randomBytes(size),
    });
    const archivist = new ArchivistService({
      ...{ ledger: this.ledger, key: "sallyport/test/audit+00000000+AA", nowMs: this.clock.nowMs },
      copyDirectory: path.join(this.home, "copy"),
      ...{ exportsDirectory: this.home, addWitness: () => undefined },
    });
    this.source = new ArchivistSource(
      async (request) =>
        await archivist.answer(readArchivistRequest(JSON.stringify(request)), "control"),
    );
  }

  static async open(file?: string): Promise<TestLedger> {
    const where =
      file ?? path.join(fs.mkdtempSync(path.join(os.tmpdir(), "sp-state-")), "s.sqlite");
    return new TestLedger(await openStateStore({ kind: "sqlite", file: where }));
  }

  async append(count: number, fields: Readonly<Record<string, string>> = {}): Promise<void> {
    if (count === 0) return;
    const records = Array.from({ length: count }, () => ({
      ...{ type: "enforcer.grant-added", at: this.clock.now, conduit: "c-eng", ...fields },
      personal: { person: "vic-the-vendor" },
    }));
    await this.ledger.append(records);
    if (this.ledger.isCheckpointDue()) await this.ledger.checkpoint();
  }

  get size(): number {
    return this.ledger.head().size;
  }

  pump(to: Destination, receiver: Receiver): Pump {
    return new Pump(to, receiver, {
      ...{ source: this.source, clock: this.clock, sender: SENDER },
      cursors: this.state.records("forwarding-cursor"),
      wait: async (ms) => {
        this.clock.now += ms;
        // Sockets have their turn, and the real clock some of its time.
        await new Promise((go) => setTimeout(go, 2));
        await this.onWait(ms);
      },
    });
  }

  async close(): Promise<void> {
    await this.ledger.close();
    await this.state.close();
    fs.rmSync(this.home, { recursive: true });
  }
}

/** Runs it until the place is at the end of the ledger; fails after so many real milliseconds. */
export async function drained(pump: Pump, ledger: TestLedger, realMs = 60_000): Promise<void> {
  const over = pump.run();
  const endMs = performance.now() + realMs;
  while (pump.state().settled < ledger.size || pump.state().state !== "waiting") {
    if (performance.now() > endMs) throw new Error(JSON.stringify(pump.state()));
    await new Promise((go) => setTimeout(go, 5));
  }
  pump.stop();
  await over;
}

export interface Certificates {
  readonly ca: string;
  readonly serverKey: string;
  readonly serverCertificate: string;
  readonly clientKey: string;
  readonly clientCertificate: string;
  readonly directory: string;
}

/** An authority, a server for 127.0.0.1 and localhost, and a client called `gateway`, made by OpenSSL. */
export function certificates(directory: string): Certificates {
  const run = (...args: readonly string[]): void => {
    const done = spawnSync("openssl", args, { cwd: directory, encoding: "utf8" });
    if (done.status !== 0) throw new Error(`openssl ${args.join(" ")}: ${done.stderr}`);
  };
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  run(
    "req",
    "-x509",
    ...key,
    "-keyout",
    "ca.key",
    "-out",
    "ca.pem",
    "-days",
    "2",
    "-subj",
    "/CN=ca",
  );
  for (const [name, subject, alt] of [
    ["server", "localhost", "IP:127.0.0.1,DNS:localhost"],
    ["client", "gateway", "DNS:gateway"],
  ] as const) {
    run("req", ...key, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${subject}`);
    fs.writeFileSync(path.join(directory, `${name}.ext`), `subjectAltName=${alt}\n`);
    run(
      ...["x509", "-req", "-in", `${name}.csr`, "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2"],
      ...["-CAcreateserial", "-extfile", `${name}.ext`, "-out", `${name}.pem`],
    );
  }
  const read = (name: string): string => fs.readFileSync(path.join(directory, name), "utf8");
  return {
    ...{ ca: read("ca.pem"), serverKey: read("server.key"), directory },
    ...{ serverCertificate: read("server.pem"), clientKey: read("client.key") },
    clientCertificate: read("client.pem"),
  };
}

export function missingTool(tool: string): string | undefined {
  const path_ = `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`.split(":");
  return path_.some((at) => fs.existsSync(path.join(at, tool))) ? undefined : `needs ${tool}`;
}

export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await new Promise((go) => server.once("listening", go));
  const address = server.address();
  await new Promise((go) => server.close(go));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

export interface SyslogMessage {
  readonly priority: number;
  readonly at: string;
  readonly host: string;
  readonly app: string;
  readonly processId: string;
  readonly id: string;
  readonly data: ReadonlyMap<string, ReadonlyMap<string, string>>;
  readonly message: string;
}

/** RFC 5424 §6, by its ABNF and nothing of ours; throws where a line is not one. */
export function parseSyslog(line: string): SyslogMessage {
  const head =
    /^<(\d{1,3})>1 (\S+) ([\x21-\x7e]{1,255}) ([\x21-\x7e]{1,48}) ([\x21-\x7e]{1,128}) ([\x21-\x7e]{1,32}) /.exec(
      line,
    );
  if (head === null) throw new Error(`no header: ${line.slice(0, 120)}`);
  const [whole, priority, at = "", host = "", app = "", processId = "", id = ""] = head;
  if (Number(priority) > 191) throw new Error(`priority ${priority ?? ""}`);
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)$/.test(at)) {
    throw new Error(`timestamp ${at}`);
  }
  const reader = new DataReader(line, whole.length);
  const data = reader.all();
  const rest = line.slice(reader.at);
  if (rest !== "" && !rest.startsWith(" ")) throw new Error(`after the data: ${rest.slice(0, 40)}`);
  return {
    ...{ priority: Number(priority), at, host, app, processId, id, data },
    message: rest.slice(1),
  };
}

class DataReader {
  readonly #text: string;
  at: number;

  constructor(text: string, at: number) {
    this.#text = text;
    this.at = at;
  }

  all(): ReadonlyMap<string, ReadonlyMap<string, string>> {
    const elements = new Map<string, ReadonlyMap<string, string>>();
    if (this.#take("-")) return elements;
    while (this.#take("[")) {
      const name = this.#name();
      if (elements.has(name)) throw new Error(`the element ${name} is there twice`);
      const parameters = new Map<string, string>();
      while (this.#take(" ")) {
        const parameter = this.#name();
        this.#expect('="');
        parameters.set(parameter, this.#value());
      }
      this.#expect("]");
      elements.set(name, parameters);
    }
    if (elements.size === 0) throw new Error("no structured data");
    return elements;
  }

  #name(): string {
    const name = /^[\x21\x23-\x3c\x3e-\x5c\x5e-\x7e]{1,32}/.exec(
      this.#text.slice(this.at, this.at + 33),
    );
    if (name === null) throw new Error(`no name at ${this.at}`);
    this.at += name[0].length;
    return name[0];
  }

  #value(): string {
    let value = "";
    for (;;) {
      const sign = this.#text[this.at++];
      if (sign === undefined || sign === "]") throw new Error("a value without an end");
      if (sign === '"') return value;
      const next = this.#text[this.at] ?? "";
      if (sign === "\\" && '"\\]'.includes(next)) {
        value += next;
        this.at += 1;
      } else value += sign;
    }
  }

  #take(text: string): boolean {
    if (!this.#text.startsWith(text, this.at)) return false;
    this.at += text.length;
    return true;
  }

  #expect(text: string): void {
    if (!this.#take(text)) throw new Error(`no ${text} at ${this.at}`);
  }
}

/** Records by their index, from lines of the stream; fails on a line that is none. */
export function indexesIn(lines: readonly string[]): readonly number[] {
  return lines.flatMap((line) => {
    const { id, data } = parseSyslog(line);
    if (id === "checkpoint") return [];
    const index = data.get(`sp@${SENDER.enterprise}`)?.get("index");
    if (index === undefined) throw new Error(`no index: ${line}`);
    return [Number(index)];
  });
}

export function firstMissing(indexes: readonly number[], size: number): number | undefined {
  const seen = new Set(indexes);
  for (let index = 0; index < size; index++) if (!seen.has(index)) return index;
  return undefined;
}
