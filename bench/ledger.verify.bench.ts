/** Checking one record's proof offline, signature and all, beside the bare verification of one signature. */
import * as crypto from "node:crypto";
import {
  checkProof,
  ED25519,
  leafHash,
  type Signer,
  signerFromSeed,
  verifierKey,
} from "@sallyport/ledger";
import type { Bench } from "./bench.ts";
import { act } from "./ledger.chain.ts";
import { interleaved, median, roundsOr, spread, tookMs } from "./ratio.ts";

const ROUNDS = 15;
const CHECKS = 400;
/** A tree of 2^20, about a million records. */
const HEIGHT = 20;

/** A proof of a record in a tree whose other leaves nobody needs to know. */
function makeProof(signer: Signer): { proof: string; text: string; signature: Uint8Array } {
  const leaf = Buffer.from(JSON.stringify(act(7)));
  const siblings = Array.from({ length: HEIGHT }, (_, at) =>
    crypto.hash("sha256", `${at}`, "buffer"),
  );
  const root = siblings.reduce<Uint8Array>(
    (hash, sibling) =>
      crypto.hash("sha256", Buffer.concat([Buffer.of(1), hash, sibling]), "buffer"),
    leafHash(leaf),
  );
  const text = `${signer.name}\n${2 ** HEIGHT}\n${Buffer.from(root).toString("base64")}\n`;
  const signature = signer.sign(Buffer.from(text));
  const keyBytes = Buffer.concat([
    Buffer.from(`${signer.name}\n`),
    Buffer.of(ED25519),
    signer.publicKey,
  ]);
  const id = crypto.hash("sha256", keyBytes, "buffer").subarray(0, 4);
  const line = `\u2014 ${signer.name} ${Buffer.concat([id, signature]).toString("base64")}`;
  const hashes = siblings.map((one) => one.toString("base64"));
  const lines = [
    "c2sp.org/tlog-proof@v1",
    `extra ${leaf.toString("base64")}`,
    "index 0",
    ...hashes,
  ];
  return { proof: `${lines.join("\n")}\n\n${text}\n${line}\n`, text, signature };
}

export const bench: Bench = {
  name: "ledger.verify",
  goals: [
    {
      id: "proof-to-signature",
      what: "offline check of one proof in a million records, to one Ed25519 verification",
      goal: "<= 1.5",
    },
  ],

  async run() {
    const signer = signerFromSeed("bench.example/audit", new Uint8Array(32));
    const key = verifierKey(signer.name, ED25519, signer.publicKey);
    const { proof, text, signature } = makeProof(signer);
    const trust = { logKeys: [key], witnessKeys: [], threshold: 0 };
    const message = Buffer.from(text);
    const seen = await interleaved(roundsOr(ROUNDS), {
      proof: () =>
        tookMs(async () => {
          for (let at = 0; at < CHECKS; at++) {
            if (checkProof(proof, trust).kind === "bad") throw new Error("the proof is good");
          }
        }),
      signature: () =>
        tookMs(async () => {
          for (let at = 0; at < CHECKS; at++) {
            if (!crypto.verify(null, message, key.key, signature)) throw new Error("it is good");
          }
        }),
    });
    const ratio = median(seen.proof) / median(seen.signature);
    return [{ id: "proof-to-signature", ratio, note: spread(seen.proof, seen.signature) }];
  },
};
