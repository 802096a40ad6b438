/**
 * The archivist: keeps the ledger and its signing key. It reads what every process wrote of its decisions, takes records
 * from the two that have no event file, and answers who may ask. It has a uid of its own and no network.
 */
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { SallyportError } from "@sallyport/core";
import {
  ED25519,
  formatVerifierKey,
  openLedger,
  parseVerifierKey,
  signerFromSeed,
  type VerifierKey,
  verifierKey,
} from "@sallyport/ledger";
import { type ArchivistCaller, readArchivistRequest } from "./archivist/archivist-messages.ts";
import { ArchivistService } from "./archivist/archivist-service.ts";
import { readBefore, recordRestore } from "./archivist/before.ts";
import { Follower } from "./archivist/follower.ts";
import { type DiskState, diskOf } from "./disk.ts";
import { archivistSocket, instanceNamed } from "./instance.ts";
import { serveLines } from "./line-socket.ts";
import { replyError } from "./messages.ts";

const POLL_MS = 500;
const RESERVE_EVERY_MS = 60_000;
/** Where room may be taken to keep it. */
const ROOMY: ReadonlySet<DiskState> = new Set(["good", "warn"]);
const SEED_BYTES = 32;
const CALLERS: readonly ArchivistCaller[] = ["root", "control", "keyholder"];

const [name = "main", eventsDirectory = "", exportsDirectory = "", directory = ""] =
  process.argv.slice(2);
const instance = instanceNamed(name);
const seedFile = path.join(directory, "signing.seed");
const witnessFile = path.join(directory, "witnesses.json");

/** Made once, readable by nobody else. The ledger's name carries a part of it, so that no two ledgers share one. */
function signingKey(): { readonly seed: Buffer; readonly origin: string } {
  const originFile = path.join(directory, "origin");
  if (!fs.existsSync(seedFile)) {
    fs.writeFileSync(originFile, `sallyport/${name}/${randomBytes(4).toString("hex")}/audit`);
    // Last, so that a key never stands without its name.
    fs.writeFileSync(seedFile, randomBytes(SEED_BYTES), { mode: 0o600, flag: "wx", flush: true });
  }
  return { seed: fs.readFileSync(seedFile), origin: fs.readFileSync(originFile, "utf8") };
}

interface Witnesses {
  readonly keys: readonly string[];
  readonly threshold?: number;
}

function witnesses(): Witnesses {
  if (!fs.existsSync(witnessFile)) return { keys: [] };
  return JSON.parse(fs.readFileSync(witnessFile, "utf8")) as Witnesses;
}

function verifierKeyOf(text: string): VerifierKey {
  const parsed = parseVerifierKey(text);
  if (parsed.kind === "parsed") return parsed.value;
  throw new SallyportError("witness-key-unusable", `"${text}" is no witness's key: ${parsed.why}`, {
    hint: "the line that witness.mjs prints, such as name+1234abcd+BASE64",
  });
}

/** The ledger is opened with its witnesses, so a new one is for the next start: the supervisor's, at once. */
function addWitness(key: string, threshold: number | undefined): void {
  verifierKeyOf(key);
  const keys = [...new Set([...witnesses().keys, key])];
  const text = JSON.stringify({ keys, ...(threshold === undefined ? {} : { threshold }) });
  fs.writeFileSync(`${witnessFile}.new`, text, { mode: 0o600, flush: true });
  fs.renameSync(`${witnessFile}.new`, witnessFile);
  setTimeout(() => process.exit(0), POLL_MS);
}

fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
const { seed, origin } = signingKey();
const { keys, threshold } = witnesses();
const signer = signerFromSeed(origin, seed);
/** What a restore brought: the last head of the ledger that this one goes on from, and the key that signed it. */
const beforeDirectory = path.join(directory, "before");
const before = readBefore(beforeDirectory);
const ledger = openLedger({
  directory: path.join(directory, "ledger"),
  signer,
  nowMs: Date.now,
  randomness: (sizeBytes) => randomBytes(sizeBytes),
  witnesses: keys.map(verifierKeyOf),
  ...(before === undefined ? {} : { continuesCopy: true }),
  ...(threshold === undefined ? {} : { threshold }),
});
if (before !== undefined) {
  await recordRestore(ledger, before, Date.now());
  // Its record says it all. From now on a signer's state that is gone is a fault again.
  fs.rmSync(beforeDirectory, { recursive: true });
}
const service = new ArchivistService({
  ledger,
  key: formatVerifierKey(verifierKey(origin, ED25519, signer.publicKey)),
  exportsDirectory,
  copyDirectory: path.join(directory, "copy"),
  addWitness,
  nowMs: Date.now,
  isFull: () => diskOf(directory).state === "full",
});
for (const caller of CALLERS) {
  await serveLines(archivistSocket(instance, caller), async (line) => {
    try {
      return JSON.stringify({
        ok: true,
        result: await service.answer(readArchivistRequest(line), caller),
      });
    } catch (error) {
      return JSON.stringify({ ok: false, error: replyError(error) });
    }
  });
}

const follower = new Follower(ledger, eventsDirectory, Date.now);
/** A full disk is waited out: the events stand in their files, and the follower's place in the ledger. */
async function turn(): Promise<boolean> {
  try {
    const more = await follower.turn();
    if (ledger.isCheckpointDue()) await ledger.checkpoint();
    return more;
  } catch (error) {
    if (!(error instanceof SallyportError && error.code === "ledger-disk-full")) throw error;
    return false;
  }
}

let reserveAtMs = 0;
for (;;) {
  const { state } = diskOf(directory);
  // Records of the last room's kind only, until there is more.
  const more = state === "full" ? false : await turn();
  if (ROOMY.has(state) && Date.now() >= reserveAtMs) {
    reserveAtMs = Date.now() + RESERVE_EVERY_MS;
    ledger.keepReserve();
  }
  if (!more) await sleep(POLL_MS);
}
