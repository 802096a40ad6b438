/**
 * The console on a plant without a kernel: real services, policy, approvals, ledger and files; the enforcer's counters are told by the
 * test. The policy is the demo plant's.
 */
import { createHash, randomBytes } from "node:crypto";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { createApi, EventHub, type Listening, serveTls } from "@sallyport/api";
import { CONSOLE_FILES } from "@sallyport/console";
import type { Json } from "@sallyport/core";
import { relyingParty } from "@sallyport/identity";
import { openLedger, signerFromSeed } from "@sallyport/ledger";
import { compilePolicy, type Legs } from "@sallyport/policy";
import { type FlowAnswers, type FlowRow, openStateStore } from "@sallyport/store";
import { readArchivistRequest } from "../archivist/archivist-messages.ts";
import { ArchivistService } from "../archivist/archivist-service.ts";
import { Forwarder } from "../forward/forwarder.ts";
import { ArchivistSource } from "../forward/source.ts";
import { sealingKeys, siteCa } from "../keyholder/keyholder-home.ts";
import { readKeyholderRequest } from "../keyholder/keyholder-messages.ts";
import { KeyholderService } from "../keyholder/keyholder-service.ts";
import { serveLines } from "../line-socket.ts";
import { type EnforcerRequest, replyError } from "../messages.ts";
import { ArchivistRecorder } from "../recorder.ts";
import type { AskArchivist, AskEnforcer, AskKeyholder } from "./ask.ts";
import { readConsole, withConsole } from "./console-files.ts";
import { TestEnforcer } from "./enforcer.test-kit.ts";
import { LocalProof } from "./local-proof.ts";
import { makeServices } from "./services.ts";
import { newCertificate } from "./tls.ts";

const SITE_FILE = fileURLToPath(new URL("../../../../lab/plant/site.yaml", import.meta.url));
export const SITE_TEXT: string = fs.readFileSync(SITE_FILE, "utf8");
const MINUTE_MS = 60_000;

export interface ConsolePlant {
  readonly url: string;
  readonly enforcer: TestEnforcer;
  /** Secret of the first administrator's link. */
  readonly secret: string;
  readonly flows: FlowRow[];
  /** Sentences that `status` tells. */
  readonly degraded: string[];
  close(): Promise<void>;
}

/** What the enforcer's status would count. */
class Counters {
  readonly #enforcer: TestEnforcer;
  readonly #nowMs: () => number;
  readonly degraded: string[] = [];
  readonly islands = new Set<string>();
  confirmByMs = 0;
  #asked = 0;

  constructor(enforcer: TestEnforcer, nowMs: () => number) {
    this.#enforcer = enforcer;
    this.#nowMs = nowMs;
  }

  readonly ask: AskEnforcer = async (request: EnforcerRequest): Promise<Json> => {
    const { pending } = this.#enforcer;
    if (pending !== undefined && this.confirmByMs > 0 && this.#nowMs() > this.confirmByMs) {
      this.#enforcer.pending = undefined;
    }
    if (request.type === "status") return this.#status();
    if (request.type === "drift") return { differences: [] };
    if (request.type === "island-on") {
      this.islands.add(request.zone);
      return {};
    }
    const answer = await this.#enforcer.ask(request);
    if (request.type === "apply") {
      this.confirmByMs = this.#nowMs() + request.confirmWithinSeconds * 1000;
    }
    if (request.type === "running") {
      return { ...(answer as Record<string, Json>), islands: [...this.islands] };
    }
    return answer;
  };

  #status() {
    const { confirmed, pending } = this.#enforcer;
    this.#asked += 1;
    const legs = (pending ?? confirmed)?.legs;
    return {
      instance: "main",
      ...(legs === undefined ? {} : { site: legs.site }),
      ...(confirmed === undefined ? {} : { generation: confirmed.number }),
      ...(pending === undefined
        ? {}
        : {
            pending: {
              generation: pending.number,
              confirmBy: new Date(this.confirmByMs).toISOString(),
            },
          }),
      ...{ degraded: this.degraded, timeTrusted: true, islands: [...this.islands] },
      conduits: (legs?.conduits ?? []).map((conduit, index) => ({
        ...{ name: conduit.name, via: conduit.via, open: conduit.via !== "session" },
        ...(conduit.via === "session" ? { reason: "no-grant" } : {}),
        ...{ from: conduit.fromZones.join(", "), to: conduit.toZones.join(", ") },
        ...{ packets: this.#asked * 10 * index, bytes: this.#asked * 640 * index },
      })),
      ...{ grants: [], denials: [], tripwire: [] },
    };
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

/** `text`: the policy in force from the start; none when left out. */
export async function openConsolePlant(
  text: string | undefined,
  wantedPort?: number,
): Promise<ConsolePlant> {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-console-"));
  const at = (name: string): string => path.join(home, name);
  const clock = { nowMs: Date.now };
  const random = { bytes: (size: number): Uint8Array => randomBytes(size) };
  const port = wantedPort ?? (await freePort());
  const state = await openStateStore({ kind: "sqlite", file: at("state.sqlite") });
  const enforcer = await TestEnforcer.in(home, clock.nowMs);
  const counters = new Counters(enforcer, clock.nowMs);
  if (text !== undefined) {
    const file = { name: "site.yaml", text };
    const legs = legsOf(file);
    enforcer.confirmed = { number: 1, legs };
    await state.records("policy-text").add({
      ...{ id: legs.policySha256, revision: 1, files: [file] },
    });
  }
  const { archivist, door } = await archivistIn(home);
  const recorder = new ArchivistRecorder(at("archivist.sock"), clock.nowMs);
  const keys = sealingKeys(home, random);
  const ca = await siteCa(home, "plant", { keys, nowMs: Date.now(), random });
  const keyholder = new KeyholderService({
    ...{ seeds: state.records("totp-seed"), secrets: state.records("secret"), keys, ca },
    ...{ issuer: "plant", clock, random, recorder },
    ownNames: async () => new Set(["localhost"]),
  });
  const askKeyholder: AskKeyholder = async (request) =>
    await keyholder.answer(readKeyholderRequest(JSON.stringify(request)));
  const authority = `localhost:${port}`;
  const rp = relyingParty(`https://${authority}`, "plant");
  if ("kind" in rp) throw new Error("localhost is a name");
  fs.mkdirSync(at("proof"));
  const flows: FlowRow[] = [];
  const askArchivist: AskArchivist = async (request) =>
    await archivist.answer(readArchivistRequest(JSON.stringify(request)), "control");
  const services = makeServices({
    ...{ state, recorder, clock, random, rp, enforcer: counters.ask, keyholder: askKeyholder },
    archivist: askArchivist,
    forwarder: new Forwarder({
      source: new ArchivistSource(askArchivist),
      settings: state.records("forwarding"),
      cursors: state.records("forwarding-cursor"),
      ...{ clock, sender: { host: "gw1", version: "0", processId: 1, enterprise: 32_473 } },
    }),
    ...{ hub: new EventHub(1), exportsDirectory: at("exports") },
    machine: {
      supervisorLines: () => [],
      doctorText: () => undefined,
      bootedAtMs: () => 0,
    },
    proof: new LocalProof(at("proof"), clock, random),
    ...{ alarmsFile: at("alarms.ndjson"), backupsDirectory: at("backups"), providers: [] },
    readFlows: (use) => use({ flows: (question) => flowsOf(flows, question) } as FlowAnswers),
    accounts: () => `erin:x:${process.getuid?.() ?? 0}:0::/:/bin/sh\n`,
  });
  let requests = 0;
  const authorities = [authority];
  const api = createApi(services, {
    ...{ authorities, now: clock.nowMs, log: () => undefined },
    newRequestId: () => `r-${++requests}`,
  });
  const server = withConsole(api, readConsole(CONSOLE_FILES), authorities);
  const certificate = await newCertificate(askKeyholder, ["localhost"]);
  const listening: Listening = await serveTls(server, { certificate, host: "127.0.0.1", port });
  return {
    ...{ url: `https://${authority}`, enforcer, flows, degraded: counters.degraded },
    secret: (await enforcer.firstSecret()).toString("base64url"),
    close: async () => {
      await listening.close(0);
      door.close();
      await state.close();
      fs.rmSync(home, { recursive: true, force: true });
    },
  };
}

function flowsOf(
  flows: readonly FlowRow[],
  { sinceMs, conduit }: Parameters<FlowAnswers["flows"]>[0],
): FlowRow[] {
  return flows.filter(
    (row) => row.startMs >= (sinceMs ?? 0) && (conduit === undefined || row.conduit === conduit),
  );
}

async function archivistIn(home: string) {
  const ledger = openLedger({
    directory: path.join(home, "ledger"),
    signer: signerFromSeed("sallyport/test/audit", createHash("sha256").update("test").digest()),
    nowMs: Date.now,
    randomness: (size) => randomBytes(size),
  });
  const archivist = new ArchivistService({
    copyDirectory: path.join(home, "copy"),
    ...{
      ledger,
      key: "",
      exportsDirectory: path.join(home, "exports"),
      addWitness: () => undefined,
      nowMs: Date.now,
    },
  });
  const door = await serveLines(path.join(home, "archivist.sock"), async (line) => {
    try {
      const result = await archivist.answer(readArchivistRequest(line), "control");
      return JSON.stringify({ ok: true, result });
    } catch (error) {
      return JSON.stringify({ ok: false, error: replyError(error) });
    }
  });
  return { archivist, door };
}

function legsOf({ name, text }: { readonly name: string; readonly text: string }): Legs {
  const bytes = new TextEncoder().encode(text);
  const { legs, diagnostics } = compilePolicy([{ name, bytes }], { now: Date.now() });
  if (legs === undefined) throw new Error(JSON.stringify(diagnostics));
  return legs;
}

/** A day on the demo plant as the flow store would count it. */
export function demoFlows(nowMs: number): FlowRow[] {
  const row = (startMs: number, more: Partial<FlowRow>): FlowRow => ({
    ...{ startMs, point: "outer", conduit: "erp-reads-tank", protocol: "tcp", port: 502 },
    ...{ source: "10.10.0.10", destination: "10.41.0.10", sourceZone: "enterprise" },
    ...{ destinationZone: "cell-a", function: "read-holding-registers", reason: "" },
    ...{ accepted: 0, refused: 0, sampled: 0, ...more },
  });
  const hour = Math.floor(nowMs / (60 * MINUTE_MS)) * 60 * MINUTE_MS;
  const day = Array.from({ length: 24 }, (_, index) => hour - index * 60 * MINUTE_MS);
  return [
    ...day.map((startMs, index) => row(startMs, { accepted: 1800 + ((index * 97) % 400) })),
    ...day.map((startMs, index) =>
      row(startMs, {
        ...{ point: "inner", conduit: "hmi-operates-cells", source: "10.40.0.10" },
        ...{ sourceZone: "supervisory", accepted: 3600 - ((index * 53) % 700) },
      }),
    ),
    row(nowMs - 2 * MINUTE_MS, {
      ...{ point: "gate-cells", conduit: "engineering-tunes-tank", source: "10.40.0.20" },
      ...{ sourceZone: "supervisory", function: "write-single-coil", reason: "l7.function" },
      refused: 3,
    }),
    row(nowMs - 200 * MINUTE_MS, {
      ...{ conduit: "", source: "10.20.0.10", sourceZone: "vendor", destination: "10.43.0.10" },
      ...{ destinationZone: "safety", function: "", reason: "no-conduit", refused: 14 },
    }),
  ];
}
