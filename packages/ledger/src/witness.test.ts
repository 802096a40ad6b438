import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import crypto from "node:crypto";
import { once } from "node:events";
import fs from "node:fs";
import http from "node:http";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import type { SallyportError } from "@sallyport/core";
import { checkCheckpoint, formatHead, parseCheckpoint } from "./checkpoint.ts";
import type { Ledger } from "./ledger.ts";
import {
  acts,
  Folder,
  LOG_KEY,
  LOG_VKEY,
  runScript,
  seedOf,
  SIGNER,
  witnessNamed,
} from "./ledger.test-kit.ts";
import { formatNote, formatSignature, keyId, parseVerifierKey, toBase64 } from "./note.ts";
import { signerFromSeed, type Signer } from "./signer.ts";
import {
  addCheckpoint,
  formatAddCheckpoint,
  parseAddCheckpoint,
  REQUEST_MAX_BYTES,
} from "./witness.ts";

const code = (wanted: string) => (error: SallyportError) => {
  assert.equal(error.code, wanted, error.message);
  return true;
};

async function signedAt(ledger: Ledger, size: number): Promise<string> {
  await ledger.append(acts(size - ledger.head().size));
  return ledger.checkpoint();
}

function signHead(signer: Signer, text: string): string {
  const id = keyId(signer.name, 1, signer.publicKey);
  return formatNote(text, [formatSignature(signer.name, id, signer.sign(Buffer.from(text)))]);
}

test("a witness answers each request with the status that C2SP gives it", async () => {
  using folder = new Folder();
  const ledger = folder.open();
  const { witness, heads, key } = witnessNamed("w.example/1");
  const [three, nine] = [await signedAt(ledger, 3), await signedAt(ledger, 9)];
  const ask = (body: string): [number, string] => {
    const { status, body: answer } = addCheckpoint(witness, body);
    return [status, answer];
  };
  const body = (oldSize: number, checkpoint: string, proof = ledger.consistency(0, 0)): string =>
    formatAddCheckpoint({ oldSize, proof, checkpoint });

  assert.equal(ask("old x\n\n")[0], 400, "no size");
  assert.equal(ask(body(10, nine))[0], 400, "old above new");
  const stranger = signerFromSeed("log.example/other", seedOf("x"));
  assert.equal(
    ask(body(0, signHead(stranger, formatHead({ ...ledger.head(), origin: stranger.name }))))[0],
    404,
  );
  const thief = { ...signerFromSeed(SIGNER.name, seedOf("thief")) };
  assert.equal(ask(body(0, signHead(thief, formatHead(ledger.head()))))[0], 403);
  assert.equal(ask(body(0, three, ledger.consistency(1, 3)))[0], 422, "a proof from nothing");
  assert.equal(heads.size, 0, "none of them left a trace");

  const [status, lines] = ask(body(0, three));
  assert.equal(status, 200);
  const checked = checkCheckpoint(three + lines, {
    logKeys: [LOG_KEY],
    witnessKeys: [key],
    threshold: 1,
  });
  assert.equal(checked.kind, "good");
  assert.deepEqual(ask(body(0, nine)), [409, "3\n"]);
  assert.equal(addCheckpoint(witness, body(0, nine)).contentType, "text/x.tlog.size");
  assert.equal(ask(body(3, nine))[0], 422, "no proof");
  assert.equal(ask(body(3, nine, ledger.consistency(2, 9)))[0], 422, "another proof");
  assert.equal(ask(body(3, three))[0], 200, "the same head again, with a new time");
  const forged = { ...ledger.head(), size: 3 };
  assert.equal(
    ask(body(3, signHead(SIGNER, formatHead(forged))))[0],
    409,
    "another head of that size",
  );
  assert.equal(ask(body(3, nine, ledger.consistency(3, 9)))[0], 200);
  assert.deepEqual(ask(body(3, three)), [409, "9\n"], "there is no way back");
  assert.equal(heads.get(SIGNER.name)?.size, 9);
  await ledger.close();
});

test("extension lines are cosigned with the rest, though a log of ours has none", async () => {
  using folder = new Folder();
  const ledger = folder.open();
  const { witness, key } = witnessNamed("w.example/1");
  await ledger.append(acts(1));
  const extended = signHead(SIGNER, `${formatHead(ledger.head())}an extension\n`);
  const answer = addCheckpoint(
    witness,
    formatAddCheckpoint({ oldSize: 0, proof: [], checkpoint: extended }),
  );
  const trust = { logKeys: [LOG_KEY], witnessKeys: [key], threshold: 1 };
  assert.equal(checkCheckpoint(extended + answer.body, trust).kind, "good");
  await ledger.close();
});

test("two of three witnesses make a checkpoint that two of three asks for, whoever they are", async () => {
  using folder = new Folder();
  const three = ["a", "b", "c"].map((name) => witnessNamed(`w.example/${name}`));
  const witnesses = three.map(({ key }) => key);
  const ledger = folder.open({ witnesses, threshold: 2 });
  await signedAt(ledger, 5);
  const counts: number[] = [];
  for (const { link } of three.slice(0, 2)) {
    assert.equal(ledger.cosigned(), undefined);
    counts.push(await ledger.cosign(link));
  }
  assert.deepEqual(counts, [1, 2]);
  const trust = { logKeys: [LOG_KEY], witnessKeys: witnesses, threshold: 2 };
  assert.equal(checkCheckpoint(ledger.cosigned() ?? "", trust).kind, "good");
  const more = checkCheckpoint(ledger.cosigned() ?? "", { ...trust, threshold: 3 });
  assert.ok(more.kind === "bad" && more.fault.code === "too-few-witnesses");
  // The proof uses the head that is cosigned; the next one is not yet.
  await signedAt(ledger, 9);
  assert.match(ledger.prove(2), /\n5\n/);
  assert.match(ledger.prove(7), /\n9\n/);
  await ledger.close();
});

test("witnesses that answer at once, and later than the next checkpoint, are all counted", async () => {
  using folder = new Folder();
  const three = ["a", "b", "c"].map((name) => witnessNamed(`w.example/${name}`));
  const ledger = folder.open({ witnesses: three.map(({ key }) => key), threshold: 3 });
  await signedAt(ledger, 5);
  const answers = three.map(({ link }) => ledger.cosign(link));
  await signedAt(ledger, 9);
  assert.deepEqual(await Promise.all(answers), [1, 2, 3]);
  assert.match(ledger.cosigned() ?? "", /\n5\n/);
  assert.match(ledger.signed() ?? "", /\n9\n/);
  const [first] = three;
  assert.ok(first !== undefined);
  const five = ledger.cosigned() ?? "";
  await ledger.cosign(first.link);
  const request = formatAddCheckpoint({ oldSize: 0, proof: [], checkpoint: five });
  assert.equal((await first.link.addCheckpoint(request)).body, "9\n");
  await ledger.close();
});

test("one witness under two names counts once, and the log itself not at all", async () => {
  using folder = new Folder();
  const ledger = folder.open();
  const checkpoint = await signedAt(ledger, 2);
  const seed = seedOf("one");
  const signers = [
    signerFromSeed("w.example/a", seed),
    signerFromSeed("w.example/b", seed),
    SIGNER,
  ];
  const witnesses = signers.map((signer) => {
    const { witness, key } = witnessNamed(signer.name);
    return { ...witness, signer, key: { ...key, ...keyFor(signer) } };
  });
  const lines = witnesses.map(
    (one) => addCheckpoint(one, formatAddCheckpoint({ oldSize: 0, proof: [], checkpoint })).body,
  );
  const trust = { logKeys: [LOG_KEY], witnessKeys: witnesses.map(({ key }) => key), threshold: 0 };
  const checked = checkCheckpoint(checkpoint + lines.join(""), trust);
  assert.ok(checked.kind === "good");
  assert.equal(checked.value.cosigned.length, 1);
  await ledger.close();
});

function keyFor(signer: Signer) {
  const id = keyId(signer.name, 4, signer.publicKey).toString(16).padStart(8, "0");
  const bytes = toBase64(Buffer.concat([Buffer.of(4), signer.publicKey]));
  const key = parseVerifierKey(`${signer.name}+${id}+${bytes}`);
  assert.ok(key.kind === "parsed");
  return key.value;
}

test("cosignatures that are not of a witness of ours, or not of this head, are not kept", async () => {
  using folder = new Folder();
  const [ours, other] = [witnessNamed("w.example/ours"), witnessNamed("w.example/other")];
  const ledger = folder.open({ witnesses: [ours.key] });
  const three = await signedAt(ledger, 3);
  const request = formatAddCheckpoint({ oldSize: 0, proof: [], checkpoint: three });
  assert.equal(ledger.addCosignatures(three, addCheckpoint(other.witness, request).body), 0);
  assert.equal(ledger.addCosignatures(three, "— w.example/ours AAAAAAAA\n"), 0);
  assert.equal(ledger.signed(), three);
  const good = addCheckpoint(ours.witness, request).body;
  await signedAt(ledger, 4);
  assert.equal(ledger.addCosignatures(three, good), 1, "a late answer for the one before");
  const other3 = three.replace("\n3\n", "\n2\n");
  assert.throws(() => ledger.addCosignatures(other3, good), code("cosignature-refused"));
  const lying = { name: ours.key.name, addCheckpoint: async () => ({ status: 200, body: good }) };
  await assert.rejects(ledger.cosign(lying), code("cosignature-refused"));
  await assert.rejects(ledger.cosign(other.link), code("cosignature-refused"));
  const down = { name: ours.key.name, addCheckpoint: async () => ({ status: 503, body: "" }) };
  await assert.rejects(ledger.cosign(down), code("cosignature-refused"));
  await ledger.close();
});

test("a witness that holds a longer log stops the signing until it is no witness any more", async () => {
  using folder = new Folder();
  const { key } = witnessNamed("w.example/1");
  const ledger = folder.open({ witnesses: [key] });
  await signedAt(ledger, 3);
  const ahead = { name: key.name, addCheckpoint: async () => ({ status: 409, body: "4000\n" }) };
  await assert.rejects(ledger.cosign(ahead), code("ledger-rolled-back"));
  await assert.rejects(signedAt(ledger, 5000), code("ledger-rolled-back"));
  await ledger.close();
  const without = folder.open();
  await without.checkpoint();
  await without.close();
});

test("no request makes the witness throw", () => {
  const { witness } = witnessNamed("w.example/1");
  const part = fc.constantFrom(
    "old 0\n",
    "old 1",
    "\n",
    "\n\n",
    SIGNER.name,
    "— ",
    "AAAA",
    "0",
    " ",
  );
  const bodies = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.array(part).map((parts) => parts.join("")),
  );
  fc.assert(
    fc.property(bodies, (body) => {
      assert.ok([400, 403, 404].includes(addCheckpoint(witness, body).status));
      parseAddCheckpoint(body);
    }),
  );
  assert.equal(addCheckpoint(witness, "x".repeat(REQUEST_MAX_BYTES + 1)).status, 400);
});

const SCRIPT = fileURLToPath(new URL("../one-file/witness.mjs", import.meta.url));

/** The script as it is shipped, on a port of its own. */
class ServedWitness {
  readonly child: ChildProcess;
  readonly #lines: Promise<string[]>;

  constructor(folder: Folder) {
    const words = [
      "serve",
      "w.example/script",
      folder.path("key"),
      folder.path("memory"),
      "127.0.0.1:0",
      LOG_VKEY,
    ];
    this.child = spawn(process.execPath, [SCRIPT, ...words], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#lines = new Promise((resolve) => {
      let out = "";
      this.child.stdout?.on("data", (part: Buffer) => {
        out += part.toString();
        if (/port \d+\n/.test(out)) resolve(out.split("\n"));
      });
    });
  }

  async ask(
    method: string,
    path: string,
    body?: string,
  ): Promise<{ status: number; body: string }> {
    const port = /port (\d+)/.exec((await this.#lines)[1] ?? "")?.[1];
    return new Promise((resolve, reject) => {
      const request = http.request(
        { host: "127.0.0.1", port, method, path, agent: false },
        (response) => {
          let text = "";
          response.on("data", (part: Buffer) => (text += part.toString()));
          response.on("end", () => resolve({ status: response.statusCode ?? 0, body: text }));
        },
      );
      request.on("error", reject);
      request.end(body);
    });
  }

  async key() {
    const key = parseVerifierKey((await this.#lines)[0] ?? "");
    assert.ok(key.kind === "parsed");
    return key.value;
  }

  async stop(): Promise<void> {
    const gone = once(this.child, "exit");
    this.child.kill("SIGKILL");
    await gone;
  }
}

test("the witness of one file cosigns over HTTP, and remembers through a kill", async () => {
  using folder = new Folder();
  assert.equal((await runScript(SCRIPT, ["new-key", folder.path("key")])).code, 0);
  assert.equal(fs.statSync(folder.path("key")).mode & 0o777, 0o600);
  let served = new ServedWitness(folder);
  try {
    const key = await served.key();
    const link = {
      name: key.name,
      addCheckpoint: (body: string) => served.ask("POST", "/add-checkpoint", body),
    };
    const ledger = folder.open({ witnesses: [key] });
    await signedAt(ledger, 300);
    assert.equal(await ledger.cosign(link), 1);
    await served.stop();
    served = new ServedWitness(folder);
    assert.equal(
      (await served.ask("POST", "/add-checkpoint", `old 0\n\n${ledger.signed() ?? ""}`)).body,
      "300\n",
    );
    await signedAt(ledger, 700);
    assert.equal(await ledger.cosign(link), 1);
    const hash = crypto.createHash("sha256").update(SIGNER.name).digest("hex");
    const held = await served.ask("GET", `/${hash}/checkpoint`);
    const parsed = parseCheckpoint(held.body);
    assert.ok(parsed.kind === "parsed");
    assert.equal(parsed.value.head.size, 700);
    assert.equal((await served.ask("GET", "/")).status, 404);
    assert.equal(
      (await served.ask("POST", "/add-checkpoint", "x".repeat(REQUEST_MAX_BYTES + 1))).status,
      413,
    );
    await ledger.close();
  } finally {
    await served.stop();
  }
});

test("a witness whose memory is damaged does not start", async () => {
  using folder = new Folder();
  await runScript(SCRIPT, ["new-key", folder.path("key")]);
  fs.writeFileSync(folder.path("memory"), "[[1]]");
  const ran = await runScript(SCRIPT, [
    "serve",
    "w.example/script",
    folder.path("key"),
    folder.path("memory"),
    "0",
    LOG_VKEY,
  ]);
  assert.notEqual(ran.code, 0);
  assert.match(ran.out, /memory is damaged/);
  assert.equal((await runScript(SCRIPT, [])).code, 64);
});
