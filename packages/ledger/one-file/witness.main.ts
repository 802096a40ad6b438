/**
 * A witness for ledgers, for any machine with Node 18 or later: keeps the last head of each log, and cosigns
 * only what extends it (c2sp.org/tlog-witness). It needs no package. Put TLS in front of it where the network is not trusted;
 * requests are believed by their signatures alone.
 */
import * as crypto from "node:crypto";
import * as fs from "node:fs";
import * as http from "node:http";
import { COSIGNATURE, formatVerifierKey, parseVerifierKey, verifierKey } from "../src/note.ts";
import { type Signer, signerFromPem } from "../src/signer.ts";
import {
  addCheckpoint,
  REQUEST_MAX_BYTES,
  type Witness,
  type WitnessAnswer,
} from "../src/witness.ts";
import { openWitnessMemory } from "../src/witness-memory.ts";

const USAGE = `usage: node witness.mjs new-key KEY-FILE
       node witness.mjs serve NAME KEY-FILE MEMORY-FILE [HOST:]PORT LOG-KEY ...

  NAME         the witness's name, such as witness.example/plant-2, without spaces and plus signs
  KEY-FILE     its private key, PKCS #8 in PEM; new-key makes one
  MEMORY-FILE  where it keeps the last head of each log: without it, rollbacks are not seen
  LOG-KEY      public key of a ledger, name+id+base64

POST /add-checkpoint cosigns. GET /<hex SHA-256 of the origin>/checkpoint gives the last head cosigned.`;

/** A log asks once in ten seconds; a client that takes longer for a few kilobytes is none. */
const REQUEST_LIMIT_MS = 10_000;
const MAX_CONNECTIONS = 64;

function read(request: http.IncomingMessage): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let sizeBytes = 0;
    request.on("data", (part: Buffer) => {
      sizeBytes += part.length;
      if (sizeBytes <= REQUEST_MAX_BYTES) parts.push(part);
    });
    request.on("end", () => {
      resolve(sizeBytes > REQUEST_MAX_BYTES ? undefined : Buffer.concat(parts).toString("utf8"));
    });
    request.on("error", reject);
  });
}

async function answer(witness: Witness, request: http.IncomingMessage): Promise<WitnessAnswer> {
  const plain = (status: number, body: string): WitnessAnswer => ({
    status,
    contentType: "text/plain; charset=utf-8",
    body,
  });
  if (request.method === "POST" && request.url === "/add-checkpoint") {
    const body = await read(request);
    return body === undefined ? plain(413, "too long\n") : addCheckpoint(witness, body);
  }
  const hash = /^\/([0-9a-f]{64})\/checkpoint$/.exec(request.url ?? "")?.[1];
  if (request.method !== "GET" || hash === undefined) return plain(404, "not found\n");
  const key = witness.logKeys.find(
    ({ name }) => crypto.createHash("sha256").update(name).digest("hex") === hash,
  );
  const head = key === undefined ? undefined : witness.memory.get(key.name);
  return head === undefined
    ? plain(404, "no head was cosigned yet\n")
    : plain(200, head.checkpoint);
}

function serve(witness: Witness, place: string): void {
  const server = http.createServer({ requestTimeout: REQUEST_LIMIT_MS }, (request, response) => {
    answer(witness, request)
      .catch((error: unknown) => {
        // The head is not on disk, so nothing was cosigned.
        console.error(error);
        return { status: 500, contentType: "text/plain", body: "the witness cannot write\n" };
      })
      .then(({ status, contentType, body }) => {
        response.writeHead(status, { "content-type": contentType }).end(body);
      })
      .catch((error: unknown) => console.error(error));
  });
  server.maxConnections = MAX_CONNECTIONS;
  const [port, ...host] = place.split(":").reverse();
  server.listen({ host: host.reverse().join(":") || "127.0.0.1", port: Number(port) }, () => {
    const { signer } = witness;
    const address = server.address();
    const at = typeof address === "object" && address !== null ? address.port : place;
    console.log(formatVerifierKey(verifierKey(signer.name, COSIGNATURE, signer.publicKey)));
    console.log(`listens on port ${at}`);
  });
}

function newKey(file: string): void {
  const { privateKey } = crypto.generateKeyPairSync("ed25519");
  const pem = privateKey.export({ format: "pem", type: "pkcs8" });
  fs.writeFileSync(file, pem, { flag: "wx", mode: 0o600 });
}

function main([verb, ...words]: readonly string[]): number | undefined {
  const [first = "", keyFile = "", memoryFile = "", place = "", ...logs] = words;
  if (verb === "new-key" && words.length === 1) {
    newKey(first);
    return 0;
  }
  if (verb !== "serve" || logs.length === 0) {
    console.error(USAGE);
    return 64;
  }
  const logKeys = logs.map((text) => {
    const key = parseVerifierKey(text);
    if (key.kind === "malformed") throw new TypeError(key.why);
    return key.value;
  });
  const signer: Signer = signerFromPem(first, fs.readFileSync(keyFile, "utf8"));
  const memory = openWitnessMemory(memoryFile);
  serve({ signer, logKeys, memory, nowSeconds: () => Date.now() / 1000 }, place);
  return undefined;
}

const exitCode = main(process.argv.slice(2));
if (exitCode !== undefined) process.exitCode = exitCode;
