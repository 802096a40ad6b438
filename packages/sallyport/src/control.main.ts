/**
 * `control`: people's sign-ins, drafts, and the API. It asks and shows; what opens is judged by the enforcer, from
 * signatures that cannot be made here. In its DMZ room it also listens with TLS.
 */
import { createHash, randomBytes } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { createApi, EventHub, Metrics, serveLocal, serveTls } from "@sallyport/api";
import { relyingParty, removeEnded } from "@sallyport/identity";
import { CONSOLE_FILES } from "@sallyport/console";
import { identityStore, openStateStore } from "@sallyport/store";
import { backupsDir } from "./backup/kept-backups.ts";
import { askSocket } from "./cli/enforcer-client.ts";
import { AccessFile } from "./control/access-log.ts";
import type { AskArchivist, AskEnforcer, AskKeyholder } from "./control/ask.ts";
import { readConsole, withConsole } from "./control/console-files.ts";
import { addGauges } from "./control/gauges.ts";
import { LEDGER_EVERY_MS, LiveNews } from "./control/live.ts";
import { LocalProof } from "./control/local-proof.ts";
import { supervisorLines } from "./control/machine.ts";
import { makeServices } from "./control/services.ts";
import { readSettings, settingsFile } from "./control/settings.ts";
import { givenCertificate, keepRenewed, newCertificate } from "./control/tls.ts";
import { Forwarder } from "./forward/forwarder.ts";
import { ArchivistSource } from "./forward/source.ts";
import {
  archivistSocket,
  enforcerSocket,
  eventsDir,
  exportsDir,
  instanceNamed,
} from "./instance.ts";
import { askFlows } from "./journal-place.ts";
import { keepReserve, RESERVE_EVERY_MS } from "./keep-reserve.ts";
import { apiSocket, doctorFile, keyholderSocket, proofDir, rootApiSocket } from "./own-places.ts";
import { ArchivistRecorder } from "./recorder.ts";

const UPKEEP_EVERY_MS = 3600 * 1000;
/** The others start beside this process; a door that nobody opened yet is tried again. */
const RETRY_MS = 1000;
const TRIES_MAX = 30;
const HTTPS = 443;
const SETTINGS_EVERY_MS = 5000;

const [name = "main", room = "", directory = ""] = process.argv.slice(2);
const instance = instanceNamed(name);
fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
const ownSettings = settingsFile(instance);
const settings = readSettings(ownSettings);

const enforcer: AskEnforcer = (request) => askSocket(enforcerSocket(instance, "control"), request);
const archivist: AskArchivist = (request) =>
  askSocket(archivistSocket(instance, "control"), request);
const keyholder: AskKeyholder = (request) => askSocket(keyholderSocket(instance), request);

const { version } = JSON.parse(
  fs.readFileSync(new URL("../package.json", import.meta.url), "utf8"),
) as { readonly version: string };
const clock = { nowMs: Date.now };
const random = { bytes: (size: number): Uint8Array => randomBytes(size) };
const state = await openStateStore({ kind: "sqlite", file: path.join(directory, "state.sqlite") });

/** What a browser writes: no port when it is the usual one. */
function authorityOf(host: string): string {
  return settings.port === HTTPS ? host : `${host}:${settings.port}`;
}

/** The component's own addresses: its room has them before this process is started in it. */
function ownAddresses(): readonly string[] {
  return Object.values(os.networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ family, internal }) => family === "IPv4" && !internal)
    .map(({ address }) => address);
}

const names = [...new Set([...settings.names, ...ownAddresses(), "localhost"])];
const host = names.find((one) => !("kind" in relyingParty(`https://${one}`, name))) ?? "localhost";
const recorder = new ArchivistRecorder(archivistSocket(instance, "control"), Date.now);
const rp = relyingParty(`https://${authorityOf(host)}`, `Sallyport ${name}`);
const forwarder = new Forwarder({
  source: new ArchivistSource(archivist),
  settings: state.records("forwarding"),
  cursors: state.records("forwarding-cursor"),
  clock,
  // 32473 is for documentation (RFC 5612): Sallyport has no enterprise number of its own yet.
  sender: { host, version, processId: process.pid, enterprise: 32_473 },
});
// Ids of a process that starts later are higher, so that none names two events.
const hub = new EventHub(Date.now());
const services = makeServices({
  ...{ state, enforcer, archivist, keyholder, clock, random },
  recorder,
  alarmsFile: path.join(directory, "alarms.ndjson"),
  providers: settings.providers,
  proof: new LocalProof(proofDir(instance), clock, random),
  rp: "kind" in rp ? undefined : rp,
  readFlows: (use) => askFlows(instance, use),
  backupsDirectory: backupsDir(instance),
  ...{ forwarder, hub },
  machine: {
    supervisorLines: () => supervisorLines(path.join(eventsDir(instance), "supervisor.ndjson")),
    doctorText: () => {
      const file = doctorFile(instance);
      return fs.existsSync(file) ? fs.readFileSync(file, "utf8") : undefined;
    },
    bootedAtMs: () => Date.now() - os.uptime() * 1000,
  },
  exportsDirectory: exportsDir(instance),
  accounts: () => fs.readFileSync("/etc/passwd", "utf8"),
});
let requests = 0;
const start = randomBytes(4).toString("hex");
const access = new AccessFile(path.join(directory, "access.ndjson"));
const metrics = new Metrics();
const authorities = names.map(authorityOf);
const answers = createApi(services, {
  authorities,
  now: Date.now,
  newRequestId: () => `${start}-${++requests}`,
  log: (entry) => access.add(entry),
  metrics,
});
const api = withConsole(answers, readConsole(CONSOLE_FILES), authorities);

/** A keyholder that starts at the same time is waited for; anything else ends this process, and its end says why. */
async function firstCertificate(
  given: () => ReturnType<typeof givenCertificate>,
  renew: () => ReturnType<typeof newCertificate>,
): Promise<Parameters<typeof keepRenewed>[0]> {
  for (let tries = 1; ; tries++) {
    try {
      const certificate = await given();
      if (certificate !== undefined) return { certificate, isGiven: true };
      return { certificate: await renew(), isGiven: false };
    } catch (error) {
      if (tries === TRIES_MAX) throw error;
      await sleep(RETRY_MS);
    }
  }
}

/** In the status until it is mended; in the ledger once for each certificate. */
let ending = 0;
function onCertificate(endMs: number | undefined): void {
  const until = endMs === undefined ? undefined : new Date(endMs).toISOString();
  services.alarms.stand(
    "certificate",
    until === undefined ? undefined : `the certificate ends at ${until} and was not renewed`,
  );
  if (endMs === undefined || until === undefined || endMs === ending) return;
  ending = endMs;
  const told = { until, names };
  const ways = [
    services.alarms.raise("certificate-ending", told),
    recorder.record("certificate-ending", told),
  ];
  // What could not be written stays in the status.
  void Promise.allSettled(ways);
}

const socketPath = apiSocket(instance);
fs.rmSync(socketPath, { force: true });
await serveLocal(api, { socketPath });
// Everybody on the box may connect; who they are a sign-in shows.
fs.chmodSync(socketPath, 0o666);

const rootSocket = rootApiSocket(instance);
fs.rmSync(rootSocket, { force: true });
await serveLocal(api, { socketPath: rootSocket, peer: "root" });

if (room !== "") {
  const renew = (): ReturnType<typeof newCertificate> => newCertificate(keyholder, names);
  const given = (): ReturnType<typeof givenCertificate> => givenCertificate(keyholder);
  const first = await firstCertificate(given, renew);
  // Its room has one link, to `outer`, whose engine lets through what the policy names.
  const { port, tls: minVersion } = settings;
  const { certificate } = first;
  const listening = await serveTls(api, { certificate, host: "0.0.0.0", port, minVersion });
  keepRenewed(first, {
    ...{ renew, given, alarm: onCertificate },
    replace: (next) => listening.replaceCertificate(next),
    nowMs: Date.now,
    wait: (ms, then) => void setTimeout(then, ms),
  });
}

await forwarder.start();

const store = identityStore(state);
keepReserve(state, directory);
setInterval(() => keepReserve(state, directory), RESERVE_EVERY_MS);
const live = new LiveNews({
  hub,
  source: new ArchivistSource(archivist),
  enforcer,
  nowMs: Date.now,
});
let sessions: number | undefined;
let readiness: ReadonlyMap<string, boolean> = new Map();
addGauges({
  ...{ metrics, live, hub, forwarder, access },
  sessions: () => sessions,
  readiness: () => readiness,
});

async function lookRound(): Promise<void> {
  access.flush();
  await live.turn();
  const nowMs = Date.now();
  const all = await store.signIns.all();
  sessions = all.filter(({ expiresAtMs }) => expiresAtMs > nowMs).length;
  const asked = await services.status.readiness();
  readiness = new Map(asked.map((one) => [one.name, one.ready]));
}
async function lookOn(): Promise<never> {
  for (;;) {
    await lookRound().catch(() => undefined);
    await sleep(LEDGER_EVERY_MS);
  }
}
void lookOn();
process.on("exit", () => access.flush());
setInterval(() => void removeEnded(store, clock).catch(() => undefined), UPKEEP_EVERY_MS);

/** Other settings are taken by starting anew, which the supervisor does; those that cannot be read change nothing. */
let seen = textOfSettings();
function textOfSettings(): string {
  return fs.existsSync(ownSettings) ? fs.readFileSync(ownSettings, "utf8") : "";
}
async function lookAtSettings(): Promise<void> {
  const text = textOfSettings();
  if (text === seen) return;
  seen = text;
  try {
    readSettings(ownSettings);
  } catch (error) {
    const because = error instanceof Error ? error.message : String(error);
    services.alarms.stand("settings", `new settings are not in force: ${because}`);
    return;
  }
  const digest = createHash("sha256").update(text).digest("hex");
  await recorder.record("settings-changed", { sha256: digest }).catch(() => undefined);
  process.exit(0);
}
setInterval(() => void lookAtSettings(), SETTINGS_EVERY_MS);
