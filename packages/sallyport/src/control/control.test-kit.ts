/** `control`, its archivist and its keyholder in one process behind real sockets and TLS, with no kernel behind them. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { createApi, EventHub, type Listening, serveLocal, serveTls } from "@sallyport/api";
import type { Json } from "@sallyport/core";
import { relyingParty } from "@sallyport/identity";
import {
  firstAdminToken,
  firstApproverHmac,
  type FirstApprover,
} from "@sallyport/identity/approval";
import { openLedger, signerFromSeed } from "@sallyport/ledger";
import { openStateStore, type StateStore } from "@sallyport/store";
import { Secret, TOTP } from "otpauth";
import { readArchivistRequest } from "../archivist/archivist-messages.ts";
import { ArchivistService } from "../archivist/archivist-service.ts";
import { type ApiAnswer, askApi } from "../cli/api-client.ts";
import { fields, listOf, word } from "../cli/enforcer-client.ts";
import { Forwarder } from "../forward/forwarder.ts";
import { ArchivistSource } from "../forward/source.ts";
import { sealingKeys, siteCa } from "../keyholder/keyholder-home.ts";
import { readKeyholderRequest } from "../keyholder/keyholder-messages.ts";
import { KeyholderService } from "../keyholder/keyholder-service.ts";
import { serveLines } from "../line-socket.ts";
import { replyError } from "../messages.ts";
import { ArchivistRecorder } from "../recorder.ts";
import type { AskArchivist, AskKeyholder } from "./ask.ts";
import { TestEnforcer } from "./enforcer.test-kit.ts";
import { LocalProof } from "./local-proof.ts";
import { makeServices } from "./services.ts";
import type { ProviderSettings } from "./settings.ts";
import { newCertificate } from "./tls.ts";

export const PASSWORD = "a barrel rolls downhill 7";
const random = { bytes: (size: number): Uint8Array => randomBytes(size) };
export type Fields = ReturnType<typeof fields>;

export class Control {
  readonly home: string = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-control-"));
  // TLS looks at the machine's own clock, so this one begins there.
  nowMs: number = Date.now();
  isRecorded = true;
  caPem = "";
  readonly state: StateStore;
  readonly enforcer: TestEnforcer;
  /** As root asks it, through the reader of its socket. */
  readonly keyholder: AskKeyholder = async (request) => {
    assert.ok(this.#keyholder);
    return await this.#keyholder.answer(readKeyholderRequest(JSON.stringify(request)));
  };
  #keyholder: KeyholderService | undefined;
  #listening: Listening | undefined;
  readonly #doors: { close(): unknown }[] = [];

  private constructor(state: StateStore, enforcer: TestEnforcer) {
    this.state = state;
    this.enforcer = enforcer;
  }

  /** `accounts` is /etc/passwd; `uid` owns the files that show who asks on the box. */
  static async start({
    accounts = "",
    providers = [],
  }: {
    readonly accounts?: string;
    readonly providers?: readonly ProviderSettings[];
  } = {}): Promise<Control> {
    const home = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-control-state-"));
    const state = await openStateStore({ kind: "sqlite", file: path.join(home, "state.sqlite") });
    const clock = { nowMs: (): number => control.nowMs };
    const enforcer = await TestEnforcer.in(home, clock.nowMs);
    const control = new Control(state, enforcer);
    control.#doors.push({ close: () => fs.rmSync(home, { recursive: true }) });
    await control.#serve({ accounts, providers, clock });
    return control;
  }

  at(name: string): string {
    return path.join(this.home, name);
  }

  get socket(): string {
    return this.at("api.sock");
  }

  get rootSocket(): string {
    return this.at("root.sock");
  }

  get port(): number {
    return this.#listening?.port ?? 0;
  }

  async #serve({
    accounts,
    providers,
    clock,
  }: {
    readonly accounts: string;
    readonly providers: readonly ProviderSettings[];
    readonly clock: { readonly nowMs: () => number };
  }): Promise<void> {
    const { home, state, enforcer } = this;
    const archivist = await this.#archivist(clock);
    const recorder = new ArchivistRecorder(this.at("archivist.sock"), clock.nowMs);
    const keys = sealingKeys(home, random);
    const ca = await siteCa(home, "plant", { keys, nowMs: this.nowMs, random });
    this.caPem = ca.certificatePem;
    this.#keyholder = new KeyholderService({
      ...{ seeds: state.records("totp-seed"), secrets: state.records("secret"), keys, ca },
      ...{ issuer: "plant", clock, random, recorder },
      ownNames: async () => new Set(["localhost"]),
    });
    const rp = relyingParty("https://localhost:8443", "plant");
    assert.ok(!("kind" in rp));
    fs.mkdirSync(this.at("proof"));
    // Through the readers of the sockets: a message that they don't know is found here.
    const askArchivist: AskArchivist = async (request) =>
      await archivist.answer(readArchivistRequest(JSON.stringify(request)), "control");
    const services = makeServices({
      backupsDirectory: this.at("backups"),
      ...{ state, recorder, clock, random, rp, providers },
      enforcer: enforcer.ask,
      archivist: askArchivist,
      forwarder: new Forwarder({
        source: new ArchivistSource(askArchivist),
        settings: state.records("forwarding"),
        cursors: state.records("forwarding-cursor"),
        ...{ clock, sender: { host: "gw1", version: "0", processId: 1, enterprise: 32_473 } },
      }),
      exportsDirectory: this.at("exports"),
      hub: new EventHub(1),
      machine: {
        supervisorLines: () => [],
        doctorText: () => undefined,
        bootedAtMs: () => 0,
      },
      keyholder: this.keyholder,
      proof: new LocalProof(this.at("proof"), clock, random),
      readFlows: () => undefined,
      accounts: () => accounts,
      alarmsFile: this.at("alarms.ndjson"),
    });
    let requests = 0;
    const api = createApi(services, {
      ...{ authorities: ["localhost"], now: clock.nowMs, log: () => undefined },
      newRequestId: () => `r-${++requests}`,
    });
    this.#doors.push(await serveLocal(api, { socketPath: this.socket }));
    this.#doors.push(await serveLocal(api, { socketPath: this.rootSocket, peer: "root" }));
    const certificate = await newCertificate(this.keyholder, ["localhost"]);
    this.#listening = await serveTls(api, { certificate, host: "127.0.0.1", port: 0 });
    this.#doors.push(this.#listening);
  }

  async #archivist(clock: { readonly nowMs: () => number }): Promise<ArchivistService> {
    const ledger = openLedger({
      directory: this.at("ledger"),
      signer: signerFromSeed("sallyport/test/audit", createHash("sha256").update("test").digest()),
      nowMs: clock.nowMs,
      randomness: (size) => randomBytes(size),
    });
    const archivist = new ArchivistService({
      copyDirectory: this.at("copy"),
      ...{ ledger, key: "", exportsDirectory: this.at("exports"), addWitness: () => undefined },
      nowMs: clock.nowMs,
    });
    const answer = async (line: string): Promise<string> => {
      try {
        if (!this.isRecorded) throw new Error("no disk");
        const result = await archivist.answer(readArchivistRequest(line), "control");
        return JSON.stringify({ ok: true, result });
      } catch (error) {
        return JSON.stringify({ ok: false, error: replyError(error) });
      }
    };
    this.#doors.push(await serveLines(this.at("archivist.sock"), answer));
    return archivist;
  }

  /** Root's link, who opens it, and their key at the enforcer. */
  async firstAdmin(admin: Person, key: FirstApprover): Promise<void> {
    const secret = await this.enforcer.firstSecret();
    const first = { id: admin.name, name: admin.name };
    await admin.done("POST", "/v1/sign-in/link", { secret: firstAdminToken(secret), first });
    const proof = firstApproverHmac(secret, key).toString("base64url");
    await admin.done("POST", "/v1/approvers/first", { key, proof });
    await admin.enroll();
  }

  /** Adds somebody, who takes their link and enrolls both factors. */
  async add(by: Person, id: string, ...roles: readonly string[]): Promise<Person> {
    const { secret } = await by.done("POST", "/v1/people", { id, name: id, roles });
    const person = new Person(id, this);
    await person.done("POST", "/v1/sign-in/link", { secret: word(secret) });
    await person.enroll();
    return person;
  }

  /** How many records of the type there are. */
  async recorded(by: Person, type: string): Promise<number> {
    return listOf((await by.done("GET", `/v1/ledger/records?type=${type}`))["items"]).length;
  }

  async close(): Promise<void> {
    for (const door of this.#doors.toReversed()) await door.close();
    await this.state.close();
    fs.rmSync(this.home, { recursive: true });
  }
}

/** A browser's session: its cookie, and the header that no page of another site can send. */
export class Person {
  readonly name: string;
  readonly #control: Control;
  cookie = "";
  secret = "";

  constructor(name: string, control: Control) {
    this.name = name;
    this.#control = control;
  }

  async ask(method: string, where: string, body?: Json, more = {}): Promise<ApiAnswer> {
    const headers = {
      ...(this.cookie === "" ? {} : { cookie: this.cookie, "sallyport-request": "1" }),
      ...more,
    };
    const sent = body === undefined ? {} : { body: JSON.stringify(body) };
    const answer = await askApi(this.#control.socket, { method, path: where, headers, ...sent });
    const [set] = answer.headers["set-cookie"] ?? [];
    if (set !== undefined) this.cookie = set.split(";", 1)[0] ?? "";
    return answer;
  }

  async done(method: string, where: string, body?: Json, more = {}): Promise<Fields> {
    const answer = await this.ask(method, where, body, more);
    assert.ok(answer.status < 300, `${method} ${where}: ${JSON.stringify(answer.body)}`);
    return fields(answer.body ?? null);
  }

  /** Status and code of what is refused. */
  async refused(method: string, where: string, body?: Json): Promise<readonly [number, string]> {
    const answer = await this.ask(method, where, body);
    return [answer.status, word(fields(answer.body ?? null)["code"])];
  }

  code(): string {
    this.#control.nowMs += 30_000;
    const timestamp = this.#control.nowMs;
    return new TOTP({ secret: Secret.fromBase32(this.secret) }).generate({ timestamp });
  }

  /** From a link's session to one with two factors. */
  async enroll(): Promise<void> {
    await this.done("PUT", "/v1/session/password", { password: PASSWORD });
    const { flow, uri } = await this.done("POST", "/v1/session/totp/begin", {});
    this.secret = new URL(word(uri)).searchParams.get("secret") ?? "";
    await this.done("POST", "/v1/session/totp", { flow: word(flow), totp: this.code() });
    await this.signIn();
  }

  async signIn(): Promise<void> {
    this.cookie = "";
    const answer = { person: this.name, password: PASSWORD, totp: this.code() };
    await this.done("POST", "/v1/sign-in/password", answer);
  }

  async stepUp(): Promise<void> {
    const answer = { kind: "totp", totp: this.code() };
    await this.done("POST", "/v1/session/step-up/finish", answer);
  }
}
