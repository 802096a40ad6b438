/** A ledger in a directory of its own, with a clock that stands and randomness that repeats. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Ledger, LedgerOptions } from "./ledger.ts";
import type { NewRecord } from "./new-record.ts";
import { COSIGNATURE, ED25519, formatVerifierKey, type VerifierKey, verifierKey } from "./note.ts";
import { openLedger } from "./open-ledger.ts";
import { type Signer, signerFromSeed } from "./signer.ts";
import { addCheckpoint, type Witness, type WitnessedHead } from "./witness.ts";
import type { WitnessLink } from "./ledger.ts";

export const START_MS: number = Date.parse("2026-05-04T06:00:00Z");

export function seedOf(text: string): Uint8Array {
  return Buffer.alloc(32, text);
}

export const SIGNER: Signer = signerFromSeed("sallyport.example/brewery/audit", seedOf("log"));
export const LOG_KEY: VerifierKey = verifierKey(SIGNER.name, ED25519, SIGNER.publicKey);
export const LOG_VKEY: string = formatVerifierKey(LOG_KEY);

/** Xorshift: the same salts in each run. */
export function randomnessFrom(seed: number): (sizeBytes: number) => Uint8Array {
  let state = seed;
  return (sizeBytes) => {
    const bytes = new Uint8Array(sizeBytes);
    for (let at = 0; at < sizeBytes; at++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      bytes[at] = state & 0xff;
    }
    return bytes;
  };
}

export class Folder implements Disposable {
  readonly root: string;
  readonly directory: string;
  nowMs: number = START_MS;

  constructor() {
    this.root = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-ledger-"));
    this.directory = path.join(this.root, "ledger");
  }

  open(more: Partial<LedgerOptions> = {}): Ledger {
    return openLedger({
      directory: this.directory,
      signer: SIGNER,
      nowMs: () => this.nowMs,
      randomness: randomnessFrom(1),
      ...more,
    });
  }

  path(name: string): string {
    return path.join(this.root, name);
  }

  [Symbol.dispose](): void {
    fs.rmSync(this.root, { recursive: true });
  }
}

/** What a gateway records on an ordinary morning. */
export function act(number: number): NewRecord {
  return {
    type: number % 7 === 0 ? "grant.approved" : "session.opened",
    at: START_MS + number * 1000,
    conduit: "vendor-to-press",
    number,
    personal: { actor: `vendor-${number % 5}`, address: "10.20.30.40" },
  };
}

export function acts(count: number, from = 0): NewRecord[] {
  return Array.from({ length: count }, (_, at) => act(from + at));
}

/** A witness in memory, as another gateway has one. */
export function witnessNamed(name: string): {
  witness: Witness;
  key: VerifierKey;
  link: WitnessLink;
  heads: Map<string, WitnessedHead>;
} {
  const signer = signerFromSeed(name, seedOf(name));
  const heads = new Map<string, WitnessedHead>();
  const witness: Witness = {
    signer,
    logKeys: [LOG_KEY],
    memory: { get: (origin) => heads.get(origin), put: (origin, head) => heads.set(origin, head) },
    nowSeconds: () => START_MS / 1000,
  };
  const addCheckpointTo: WitnessLink["addCheckpoint"] = async (body) =>
    addCheckpoint(witness, body);
  return {
    witness,
    key: verifierKey(name, COSIGNATURE, signer.publicKey),
    link: { name, addCheckpoint: addCheckpointTo },
    heads,
  };
}

export const VERIFY_SCRIPT: string = fileURLToPath(
  new URL("../one-file/verify.mjs", import.meta.url),
);

export interface Ran {
  readonly code: number | null;
  readonly out: string;
}

/** Runs a script of one file, as an auditor would; `node` is the one that runs the tests unless given. */
export function runScript(script: string, words: readonly string[], node?: string): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(node ?? process.execPath, [script, ...words], {
      stdio: ["ignore", "pipe", "pipe"],
      timeout: 60_000,
    });
    let out = "";
    child.stdout.on("data", (part: Buffer) => (out += part.toString()));
    child.stderr.on("data", (part: Buffer) => (out += part.toString()));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, out }));
  });
}
