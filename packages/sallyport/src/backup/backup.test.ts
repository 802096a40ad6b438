/** A gateway's state directory with its real stores, backed up at work and restored, without rooms. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { SallyportError } from "@sallyport/core";
import {
  ED25519,
  formatVerifierKey,
  type Ledger,
  openLedger,
  parseVerifierKey,
  problemOfLedgerCopy,
  type Signer,
  signerFromSeed,
  verifierKey,
} from "@sallyport/ledger";
import { openStateStore, parseManifest, type StateStore } from "@sallyport/store";
import { ApproverBook } from "../approvals/approver-book.ts";
import { readArchivistRequest } from "../archivist/archivist-messages.ts";
import { ArchivistService } from "../archivist/archivist-service.ts";
import { readBefore, recordRestore } from "../archivist/before.ts";
import { archivistSocket, type Instance, instanceNamed } from "../instance.ts";
import { sealingKeys, siteCa } from "../keyholder/keyholder-home.ts";
import { serveLines } from "../line-socket.ts";
import { replyError } from "../messages.ts";
import { backUp } from "./gather.ts";
import { checkBackup, putBack } from "./put-back.ts";
import { makeRecoveryKey } from "./recovery-key.ts";

const NOON = Date.UTC(2026, 10, 18, 12, 0);
const random = { bytes: (size: number): Uint8Array => randomBytes(size) };
const RELEASE = { release: "0.1.0", atMs: NOON };
const options = { keepLedger: false };

class Gateway implements AsyncDisposable {
  readonly root: string = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-restore-"));
  readonly instance: Instance = instanceNamed("main", this.root);
  readonly target: string = path.join(this.root, "taken-away");
  recoveryKey = "";
  readonly #open: { close(): unknown }[] = [];
  #ledger: Ledger | undefined;
  state: StateStore | undefined;

  at(name: string): string {
    return path.join(this.instance.stateDir, name);
  }

  get ledger(): Ledger {
    assert.ok(this.#ledger);
    return this.#ledger;
  }

  /** What the processes make at their first start, and the door of the archivist. */
  async start(): Promise<void> {
    for (const name of ["control", "keyholder", "archivist", "events"]) {
      fs.mkdirSync(this.at(name), { recursive: true });
    }
    fs.writeFileSync(this.at("uids.json"), "{}");
    const keys = sealingKeys(this.at("keyholder"), random);
    await siteCa(this.at("keyholder"), "plant", { keys, nowMs: NOON, random });
    const seeds = await openStateStore({ kind: "sqlite", file: this.at("keyholder/seeds.sqlite") });
    this.state = await openStateStore({ kind: "sqlite", file: this.at("control/state.sqlite") });
    const signer = this.#signer();
    const before = readBefore(this.at("archivist/before"));
    const ledger = openLedger({
      ...{ directory: this.at("archivist/ledger"), signer, nowMs: () => NOON },
      randomness: (size) => randomBytes(size),
      ...(before === undefined ? {} : { continuesCopy: true }),
    });
    if (before !== undefined) await recordRestore(ledger, before, NOON);
    this.#ledger = ledger;
    const key = formatVerifierKey(verifierKey(signer.name, ED25519, signer.publicKey));
    const archivist = new ArchivistService({
      ...{ ledger, key, exportsDirectory: this.root, addWitness: () => undefined },
      ...{ copyDirectory: this.at("archivist/copy"), nowMs: () => NOON },
    });
    const door = await serveLines(archivistSocket(this.instance, "root"), async (line) => {
      try {
        const result = await archivist.answer(readArchivistRequest(line), "root");
        return JSON.stringify({ ok: true, result });
      } catch (error) {
        return JSON.stringify({ ok: false, error: replyError(error) });
      }
    });
    this.#open.push(door, ledger, this.state, seeds);
  }

  /** As the archivist makes its key: where there is none, one under a new name. */
  #signer(): Signer {
    const [seedFile, originFile] = [this.at("archivist/signing.seed"), this.at("archivist/origin")];
    if (!fs.existsSync(seedFile)) {
      fs.writeFileSync(originFile, `sallyport/main/${randomBytes(4).toString("hex")}/audit`);
      fs.writeFileSync(seedFile, randomBytes(32));
    }
    return signerFromSeed(fs.readFileSync(originFile, "utf8"), fs.readFileSync(seedFile));
  }

  async append(count: number): Promise<void> {
    const records = Array.from({ length: count }, (_, n) => ({ type: "test.act", at: NOON, n }));
    await this.ledger.append(records);
  }

  async stop(): Promise<void> {
    for (const one of this.#open.splice(0)) await one.close();
    fs.rmSync(this.instance.runDir, { recursive: true, force: true });
  }

  async backUp(target: string = this.target): Promise<void> {
    await backUp(this.instance, target, RELEASE);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    fs.rmSync(this.root, { recursive: true });
  }
}

async function gateway(records = 40): Promise<Gateway> {
  const made = new Gateway();
  await made.start();
  await made.append(records);
  made.recoveryKey = makeRecoveryKey(made.at("keyholder"));
  return made;
}

function code(expected: string, message?: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof SallyportError, String(error));
    assert.equal(error.code, expected, error.message);
    if (message !== undefined) assert.match(error.message, message);
    return true;
  };
}

test("a backup taken under load restores to a ledger of the same records, signed on under a new name", async () => {
  await using plant = await gateway();
  const under = { load: true };
  const load = (async () => {
    for (let n = 0; under.load && n < 10_000; n++) {
      await plant.append(3);
      await plant.state?.records("draft").add({ id: `d-${n}`, revision: 1 });
      await new Promise((go) => setImmediate(go));
    }
  })();
  const before = plant.ledger.head().size;
  await plant.backUp();
  under.load = false;
  await load;
  const { ledgerHead = "" } = await checkBackup(plant.target);
  const [origin = "", size = ""] = ledgerHead.split("\n");
  assert.ok(Number(size) >= before, `${size} of at least ${before} records`);
  await plant.append(100);
  await plant.stop();

  await putBack(plant.instance, plant.target, options);
  await plant.start();
  assert.equal(plant.ledger.record(plant.ledger.head().size - 1)?.type, "archivist.restored");
  assert.match(plant.ledger.record(plant.ledger.head().size - 1)?.leaf ?? "", new RegExp(origin));
  const signed = await plant.ledger.checkpoint();
  assert.notEqual(signed.split("\n")[0], origin, "nothing is signed twice under one name");
  // The records are those that the former key signed, and the new key signs them with what came since.
  await plant.ledger.copyTo(path.join(plant.root, "copy.sqlite"));
  const former = parseVerifierKey(
    fs.readFileSync(path.join(plant.target, "archivist/before/key"), "utf8").trim(),
  );
  assert.ok(former.kind === "parsed");
  assert.equal(
    problemOfLedgerCopy(path.join(plant.root, "copy.sqlite"), ledgerHead, former.value),
    undefined,
  );
  await plant.append(5);
  assert.ok((await plant.ledger.checkpoint()).length > 0);
});

test("no secret of the gateway is in its backup as it is", async () => {
  await using plant = await gateway();
  const book = await ApproverBook.load(plant.instance.stateDir);
  const first = randomBytes(32);
  await book.makeFirst(first, NOON);
  await plant.backUp();
  const secrets = [
    fs.readFileSync(plant.at("keyholder/sealing.key")),
    fs.readFileSync(plant.at("archivist/signing.seed")),
    first,
  ];
  const files = fs.readdirSync(plant.target, { recursive: true, withFileTypes: true });
  let looked = 0;
  for (const entry of files.filter((one) => one.isFile())) {
    const bytes = fs.readFileSync(path.join(entry.parentPath, entry.name));
    looked++;
    for (const secret of secrets) {
      for (const form of ["base64url", "base64", "hex"] as const) {
        assert.ok(!bytes.includes(secret.toString(form)), `${entry.name} as ${form}`);
      }
      assert.ok(!bytes.includes(secret), entry.name);
    }
  }
  assert.ok(looked >= 8, `${looked} files`);
});

test("a backup that was cut, altered or rewritten with its manifest is refused, and says where", async () => {
  await using plant = await gateway();
  await plant.backUp();
  const file = path.join(plant.target, "archivist/ledger/ledger.sqlite");
  const whole = fs.readFileSync(file);
  fs.writeFileSync(file, whole.subarray(0, whole.length - 100));
  await assert.rejects(
    checkBackup(plant.target),
    code("backup-damaged", /ledger\.sqlite has \d+ bytes, not/),
  );
  const altered = Buffer.from(whole);
  altered[altered.length - 1] = (altered.at(-1) ?? 0) ^ 1;
  fs.writeFileSync(file, altered);
  await assert.rejects(
    checkBackup(plant.target),
    code("backup-damaged", /ledger\.sqlite has other bytes/),
  );

  // Whoever can write the manifest too still has no key that signed these records.
  fs.writeFileSync(file, whole);
  const database = new DatabaseSync(file);
  database.exec("update record set leaf = replace(leaf, '\"n\":7,', '\"n\":8,')");
  database.exec("pragma journal_mode = delete");
  database.close();
  const manifestFile = path.join(plant.target, "manifest.json");
  const manifest = parseManifest(fs.readFileSync(manifestFile, "utf8"));
  const { createHash } = await import("node:crypto");
  const entries = manifest.entries.map((entry) =>
    entry.name === "archivist/ledger/ledger.sqlite"
      ? {
          ...entry,
          sizeBytes: fs.statSync(file).size,
          sha256: createHash("sha256").update(fs.readFileSync(file)).digest("hex"),
        }
      : entry,
  );
  fs.writeFileSync(manifestFile, JSON.stringify({ ...manifest, entries }));
  await plant.stop();
  const forged = code("backup-damaged", /first 40 records are not those that were signed/);
  await assert.rejects(checkBackup(plant.target), forged);
  await assert.rejects(putBack(plant.instance, plant.target, options), forged);
  assert.ok(
    fs.existsSync(plant.at("archivist/signing.seed")),
    "the state in place is the one from before",
  );
});

test("a restore under a witness refuses an older ledger; all else can be restored beside the present one", async () => {
  await using plant = await gateway();
  await plant.backUp();
  await plant.append(60);
  const checkpoint = await plant.ledger.checkpoint();
  const held = path.join(plant.root, "held-by-the-witness");
  fs.writeFileSync(held, checkpoint);
  await plant.stop();
  const older = code("backup-older-than-witness", /40 records, and a witness holds 100/);
  await assert.rejects(
    putBack(plant.instance, plant.target, { ...options, witnessed: held }),
    older,
  );
  await assert.rejects(
    putBack(plant.instance, plant.target, { ...options, witnessed: "41" }),
    code("backup-older-than-witness"),
  );
  // What a witness cosigned is also known from the ledger that is in place.
  fs.writeFileSync(plant.at("archivist/ledger/checkpoint.cosigned"), checkpoint);
  await assert.rejects(putBack(plant.instance, plant.target, options), older);

  await putBack(plant.instance, plant.target, { keepLedger: true });
  await plant.start();
  assert.equal(plant.ledger.head().size, 100);
  assert.ok((await plant.ledger.checkpoint()).startsWith(checkpoint.split("\n")[0] ?? "-"));
});

test("a restore is refused while the gateway is there, and its own backup then replaces what is damaged", async () => {
  await using plant = await gateway();
  await plant.state?.records("person").add({ id: "erin", revision: 1 });
  await plant.state?.records("sign-in").add({ id: "s-1", revision: 1 });
  await plant.backUp();
  await assert.rejects(putBack(plant.instance, plant.target, options), code("backup-place-in-use"));
  await plant.stop();
  const file = plant.at("control/state.sqlite");
  fs.writeFileSync(file, Buffer.concat([Buffer.from("SQLite format 3\0"), randomBytes(8000)]));
  fs.rmSync(`${file}-wal`, { force: true });
  await assert.rejects(openStateStore({ kind: "sqlite", file }), (error) => {
    assert.ok(error instanceof SallyportError && error.code === "store-damaged");
    assert.match(error.hint ?? "", /sallyport backup restore/);
    return true;
  });
  const { movedTo = "" } = await putBack(plant.instance, plant.target, { keepLedger: true });
  await plant.start();
  const kept = await plant.state?.records("person").get("erin");
  assert.equal(kept?.id, "erin");
  assert.equal(await plant.state?.records("sign-in").get("s-1"), undefined, "sign-ins have ended");
  assert.ok(fs.existsSync(path.join(movedTo, "control/state.sqlite")), "the damaged one is kept");
});

test("on another machine the seeds open with the recovery key and with nothing else", async () => {
  await using plant = await gateway();
  await plant.backUp();
  await using other = new Gateway();
  await assert.rejects(putBack(other.instance, plant.target, options), code("recovery-key-needed"));
  const wrong = {
    ...options,
    recoveryKey: `sallyport-recovery-${randomBytes(32).toString("base64url")}`,
  };
  await assert.rejects(putBack(other.instance, plant.target, wrong), code("recovery-key-wrong"));
  assert.ok(!fs.existsSync(other.instance.stateDir));
  await fs.promises.mkdir(path.dirname(other.instance.stateDir), { recursive: true });
  await putBack(other.instance, plant.target, { ...options, recoveryKey: plant.recoveryKey });
  const key = fs.readFileSync(other.at("keyholder/sealing.key"));
  assert.deepEqual(key, fs.readFileSync(plant.at("keyholder/sealing.key")));
  await other.start();
  assert.equal(other.ledger.head().size, 41);
});

test("what was signed before a restore opens nothing after it, and a key revoked since stays revoked", async () => {
  await using plant = await gateway();
  const book = await ApproverBook.load(plant.instance.stateDir);
  const key = {
    id: "k-1",
    person: "erin",
    kind: "ed25519",
    spki: "x",
    enrolledAtMs: NOON,
  } as const;
  await book.enrol(key);
  await plant.backUp();
  await book.revoke("k-1", NOON + 1);
  await book.use([], { id: "grant:a-1", startByMs: NOON + 1000 }, NOON);
  await plant.stop();
  const epochs = [book.nodeEpoch];
  for (let round = 0; round < 2; round++) {
    await putBack(plant.instance, plant.target, options);
    const restored = await ApproverBook.load(plant.instance.stateDir);
    epochs.push(restored.nodeEpoch);
    assert.equal(restored.find("k-1")?.revokedAtMs, NOON + 1);
  }
  assert.equal(
    new Set(epochs).size,
    3,
    "each restore has an epoch of its own, which every signed act names",
  );
});

test("without a recovery key no backup is made", async () => {
  await using plant = new Gateway();
  await plant.start();
  await assert.rejects(plant.backUp(), code("recovery-key-missing"));
});
