/** The services of `control` over real sockets, with a real ledger, and people who sign in by their account on the box. */
import { createHash, randomBytes } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { createApi, EventHub, serveLocal } from "@sallyport/api";
import type { Json } from "@sallyport/core";
import type { Role } from "@sallyport/identity";
import { type Ledger, openLedger, type VerifierKey } from "@sallyport/ledger";
import { ED25519, formatVerifierKey, signerFromSeed, verifierKey } from "@sallyport/ledger";
import { identityStore, openStateStore, type StateStore } from "@sallyport/store";
import { readArchivistRequest } from "../archivist/archivist-messages.ts";
import { ArchivistService } from "../archivist/archivist-service.ts";
import { type ApiAnswer, askApi, signInByUid } from "../cli/api-client.ts";
import { serveLines } from "../line-socket.ts";
import { replyError } from "../messages.ts";
import { Forwarder } from "../forward/forwarder.ts";
import { ArchivistSource } from "../forward/source.ts";
import { ArchivistRecorder } from "../recorder.ts";
import type { AskArchivist, AskEnforcer } from "./ask.ts";
import { LocalProof } from "./local-proof.ts";
import { makeServices } from "./services.ts";

export type Ask = (
  method: string,
  where: string,
  body?: Json,
  headers?: object,
) => Promise<ApiAnswer>;

export class WatchBench {
  readonly home: string = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-watch-"));
  readonly state: StateStore;
  readonly ledger: Ledger;
  readonly key: string;
  readonly forwarder: Forwarder;
  readonly hub: EventHub = new EventHub(1);
  /** What the supervisor and root wrote, as a test sets it. */
  readonly machine = {
    lines: [] as readonly string[],
    doctor: undefined as string | undefined,
    supervisorLines: (): readonly string[] => this.machine.lines,
    doctorText: (): string | undefined => this.machine.doctor,
    bootedAtMs: (): number => Date.parse("2026-01-01T00:00:00Z"),
  };
  readonly #doors: { close(): unknown }[] = [];
  #account = "";

  private constructor(state: StateStore, witnesses: readonly VerifierKey[]) {
    this.state = state;
    const seed = createHash("sha256").update("watch").digest();
    const signer = signerFromSeed("sallyport/test/audit", seed);
    this.key = formatVerifierKey(verifierKey(signer.name, ED25519, signer.publicKey));
    this.ledger = openLedger({
      ...{ directory: this.at("ledger"), signer, nowMs: Date.now, witnesses },
      randomness: (size) => randomBytes(size),
    });
    this.#archivist = new ArchivistService({
      ...{ ledger: this.ledger, key: this.key, nowMs: Date.now, addWitness: () => undefined },
      exportsDirectory: this.at("exports"),
      copyDirectory: this.at("copy"),
    });
    this.forwarder = new Forwarder({
      source: new ArchivistSource(this.ask),
      settings: state.records("forwarding"),
      cursors: state.records("forwarding-cursor"),
      clock: { nowMs: Date.now },
      sender: { host: "gw1", version: "0", processId: 1, enterprise: 32_473 },
    });
  }

  readonly #archivist: ArchivistService;

  /** Through the reader of the socket: a message that it does not know is found here. */
  readonly ask: AskArchivist = async (request) =>
    await this.#archivist.answer(readArchivistRequest(JSON.stringify(request)), "control");

  static async start(
    enforcer: AskEnforcer,
    witnesses: readonly VerifierKey[] = [],
  ): Promise<WatchBench> {
    const home = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-state-"));
    const state = await openStateStore({ kind: "sqlite", file: path.join(home, "state.sqlite") });
    const bench = new WatchBench(state, witnesses);
    await bench.#serve(enforcer);
    return bench;
  }

  at(name: string): string {
    return path.join(this.home, name);
  }

  async #serve(enforcer: AskEnforcer): Promise<void> {
    this.#doors.push(
      await serveLines(this.at("archivist.sock"), async (line) => {
        try {
          const result = await this.#archivist.answer(readArchivistRequest(line), "control");
          return JSON.stringify({ ok: true, result });
        } catch (error) {
          return JSON.stringify({ ok: false, error: replyError(error) });
        }
      }),
    );
    const clock = { nowMs: Date.now };
    const random = { bytes: (size: number): Uint8Array => randomBytes(size) };
    fs.mkdirSync(this.at("proof"));
    const services = makeServices({
      ...{ state: this.state, clock, random, enforcer, archivist: this.ask, rp: undefined },
      recorder: new ArchivistRecorder(this.at("archivist.sock"), Date.now),
      keyholder: async () => ({}),
      proof: new LocalProof(this.at("proof"), clock, random),
      readFlows: () => undefined,
      accounts: () => `${this.#account}:x:${process.getuid?.() ?? 0}:0::/:/bin/sh\n`,
      forwarder: this.forwarder,
      exportsDirectory: this.at("exports"),
      backupsDirectory: this.at("backups"),
      alarmsFile: this.at("alarms.ndjson"),
      providers: [],
      hub: this.hub,
      machine: this.machine,
    });
    let requests = 0;
    const api = createApi(services, {
      ...{ authorities: ["localhost"], now: Date.now, log: () => undefined },
      newRequestId: () => `r-${++requests}`,
    });
    this.#doors.push(await serveLocal(api, { socketPath: this.at("api.sock") }));
  }

  /** Somebody with these roles, signed in by their account: one factor. */
  async person(name: string, roles: readonly Role[]): Promise<Ask> {
    await identityStore(this.state).people.add({
      ...{
        id: name,
        revision: 1,
        ...{ displayName: name, origin: "local" },
        roles: [...roles],
        state: "active",
        createdAtMs: Date.now(),
      },
    });
    const token = await this.token(name);
    return async (method, where, body, headers = {}) =>
      await askApi(this.at("api.sock"), {
        ...{ method, path: where, headers: { authorization: `Bearer ${token}`, ...headers } },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
  }

  async token(name: string): Promise<string> {
    this.#account = name;
    return await signInByUid(this.at("api.sock"), process.getuid?.() ?? 0);
  }

  async close(): Promise<void> {
    await this.forwarder.stop();
    for (const door of this.#doors) await door.close();
    await this.ledger.close();
    await this.state.close();
    fs.rmSync(this.home, { recursive: true });
  }
}
