/** The attacks on a ledger, each made with all that its attacker has, each found by the script that auditors run. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import fc from "fast-check";
import type { SallyportError } from "@sallyport/core";
import { checkpointLine, syslogLine } from "./checkpoint-line.ts";
import type { Ledger } from "./ledger.ts";
import {
  act,
  acts,
  Folder,
  LOG_KEY,
  LOG_VKEY,
  type Ran,
  runScript,
  SIGNER,
  START_MS,
  VERIFY_SCRIPT,
  witnessNamed,
} from "./ledger.test-kit.ts";
import { formatVerifierKey } from "./note.ts";
import { formatBundle, parseBundle } from "./tiles.ts";
import { verifyExport } from "./verify-export.ts";

const WITNESS = witnessNamed("witness.example/north").key;
const KEYS = ["--key", LOG_VKEY, "--witness", formatVerifierKey(WITNESS)];
const COUNT = 600;
const code = (wanted: string) => (error: SallyportError) => error.code === wanted;

function verify(directory: string, ...more: string[]): Promise<Ran> {
  return runScript(VERIFY_SCRIPT, [directory, ...KEYS, ...more]);
}

function found({ code: exit, out }: Ran, fault: string, place: string): void {
  assert.equal(exit, 1, out);
  assert.ok(out.startsWith(`${place}: [${fault}]`), out);
}

/** A ledger that a witness watches, signed and cosigned. */
async function watched(
  folder: Folder,
  count = COUNT,
): Promise<{ ledger: Ledger; north: ReturnType<typeof witnessNamed> }> {
  const north = witnessNamed("witness.example/north");
  const ledger = folder.open({ witnesses: [north.key] });
  await ledger.append(acts(count));
  await ledger.checkpoint();
  assert.equal(await ledger.cosign(north.link), 1);
  return { ledger, north };
}

/** The same records but one, under the same name and key: what somebody who stole the key writes. */
async function forged(folder: Folder, count: number, changed: number): Promise<Ledger> {
  const ledger = folder.open({ directory: folder.path("forged") });
  await ledger.append(
    acts(count).map((one, at) => (at === changed ? { ...one, conduit: "nothing" } : one)),
  );
  await ledger.checkpoint();
  return ledger;
}

test("an export of an honest ledger verifies, with heads that were printed or logged before", async () => {
  using folder = new Folder();
  const { ledger, north } = await watched(folder);
  const early = checkpointLine(ledger.signed() ?? "");
  const logged = syslogLine(ledger.signed() ?? "", "gateway-1", START_MS);
  await ledger.append(acts(COUNT, COUNT));
  await ledger.checkpoint();
  await ledger.cosign(north.link);
  await ledger.export(folder.path("out"), { personal: true, proofs: [0, 1199] });
  const ran = await verify(folder.path("out"), "--since", early, "--since", logged);
  assert.equal(ran.code, 0, ran.out);
  assert.match(ran.out, /1200 of 1200 records .* cosigned by at least 1 of 1 witnesses/);
  assert.match(ran.out, /2 heads from before are part of it; 2400 personal values match/);
  const proof = await verify(folder.path("out/proofs/1199.tlog-proof"));
  assert.equal(proof.code, 0, proof.out);
  assert.match(proof.out, /"number":1199/);
  await ledger.close();
});

test("edit: a record that was changed in the database is named", async () => {
  using folder = new Folder();
  const { ledger } = await watched(folder);
  await ledger.close();
  for (const [at, index] of [
    ["full", 17],
    ["edge", 580],
  ] as const) {
    const database = new DatabaseSync(path.join(folder.directory, "ledger.sqlite"));
    database.exec(
      `update record set leaf = replace(leaf, 'vendor-to-press', 'vendor-to-pumps') where idx = ${index}`,
    );
    database.close();
    const opened = folder.open({ witnesses: [WITNESS] });
    await opened.export(folder.path(at));
    await opened.close();
    found(await verify(folder.path(at)), "record-altered", "record 17");
  }
  found(await verify(folder.path("edge"), "--range", "512-599"), "record-altered", "record 580");
});

test("recompute: a record changed with its hashes no longer leads to what was signed", async () => {
  using folder = new Folder();
  const { ledger } = await watched(folder);
  await ledger.export(folder.path("honest"));
  const forgery = await forged(folder, COUNT, 17);
  await forgery.export(folder.path("out"));
  // All of the forger's files, with the checkpoint that the log did sign.
  fs.copyFileSync(folder.path("honest/checkpoint"), folder.path("out/checkpoint"));
  found(await verify(folder.path("out")), "root-wrong", "record 0");
  // Only the leaf and its tile: the level above tells which tile.
  fs.cpSync(folder.path("honest/tile/1"), folder.path("out/tile/1"), { recursive: true });
  found(await verify(folder.path("out")), "tile-wrong", "record 0");
  found(await verify(folder.path("out"), "--since", folder.path("honest")), "forked", "record 17");
  await Promise.all([ledger.close(), forgery.close()]);
});

test("re-sign: with the stolen key all is signed anew, and the witness did not cosign it", async () => {
  using folder = new Folder();
  const { ledger, north } = await watched(folder);
  const forgery = await forged(folder, COUNT, 17);
  await forgery.export(folder.path("out"));
  found(await verify(folder.path("out")), "too-few-witnesses", "ledger");
  const held = folder.path("held-by-witness");
  fs.writeFileSync(held, north.heads.get(SIGNER.name)?.checkpoint ?? "");
  const alone = await runScript(VERIFY_SCRIPT, [folder.path("out"), "--key", LOG_VKEY]);
  assert.equal(alone.code, 0, "without a witness nobody can tell");
  assert.match(alone.out, /no witness was asked for/);
  const since = await runScript(VERIFY_SCRIPT, [
    folder.path("out"),
    "--key",
    LOG_VKEY,
    "--since",
    held,
  ]);
  found(since, "forked", "record 0");
  await ledger.export(folder.path("honest"));
  const against = ["--key", LOG_VKEY, "--since", folder.path("honest")];
  found(await runScript(VERIFY_SCRIPT, [folder.path("out"), ...against]), "forked", "record 17");
  await Promise.all([ledger.close(), forgery.close()]);
});

test("cut the tail: an older head is shown, cosigned as it was, and the witness holds a longer one", async () => {
  using folder = new Folder();
  const { ledger, north } = await watched(folder);
  await ledger.export(folder.path("cut"));
  await ledger.append(acts(3, COUNT));
  await ledger.checkpoint();
  await ledger.cosign(north.link);
  const held = north.heads.get(SIGNER.name)?.checkpoint ?? "";
  fs.writeFileSync(folder.path("held"), held);
  found(
    await verify(folder.path("cut"), "--since", folder.path("held")),
    "rolled-back",
    "record 600",
  );
  found(
    await verify(folder.path("cut"), "--since", checkpointLine(held)),
    "rolled-back",
    "record 600",
  );
  await ledger.close();
});

test("split view: two auditors are shown two ledgers, and one of them has no cosignature", async () => {
  using folder = new Folder();
  const { ledger, north } = await watched(folder);
  const other = await forged(folder, COUNT + 1, 3);
  await ledger.export(folder.path("one"));
  await other.export(folder.path("two"));
  assert.equal((await verify(folder.path("one"))).code, 0);
  found(await verify(folder.path("two")), "too-few-witnesses", "ledger");
  // Asked to cosign the second view, the witness refuses, and either view convicts the other.
  const refusal = await north.link.addCheckpoint(`old 600\n\n${other.signed() ?? ""}`);
  assert.equal(refusal.status, 422);
  const since = ["--since", folder.path("one/checkpoint"), "--threshold", "0"];
  found(await verify(folder.path("two"), ...since), "forked", "record 0");
  await Promise.all([ledger.close(), other.close()]);
});

test("restore yesterday: the ledger learns it from the witness and signs nothing any more", async () => {
  using folder = new Folder();
  const { ledger, north } = await watched(folder);
  await ledger.close();
  // Everything of yesterday, the signer's state too.
  fs.cpSync(folder.directory, folder.path("backup"), { recursive: true });
  const today = folder.open({ witnesses: [north.key] });
  await today.append(acts(5, COUNT));
  await today.checkpoint();
  await today.cosign(north.link);
  await today.close();

  const restored = folder.open({ directory: folder.path("backup"), witnesses: [north.key] });
  await assert.rejects(restored.cosign(north.link), code("ledger-rolled-back"));
  await restored.append(acts(50, COUNT));
  await assert.rejects(restored.checkpoint(), code("ledger-rolled-back"), "however long it grows");
  await restored.close();
  const again = folder.open({ directory: folder.path("backup"), witnesses: [north.key] });
  await assert.rejects(again.checkpoint(), code("ledger-rolled-back"), "also after a restart");
  await again.export(folder.path("out"));
  await again.close();
  fs.writeFileSync(folder.path("held"), north.heads.get(SIGNER.name)?.checkpoint ?? "");
  found(
    await verify(folder.path("out"), "--since", folder.path("held")),
    "rolled-back",
    "record 600",
  );
});

test("restore the database alone: the signer's own state refuses a second history", async () => {
  using folder = new Folder();
  const { ledger, north } = await watched(folder);
  await ledger.close();
  const file = path.join(folder.directory, "ledger.sqlite");
  fs.copyFileSync(file, folder.path("yesterday"));
  const today = folder.open({ witnesses: [north.key] });
  await today.append(acts(5, COUNT));
  await today.checkpoint();
  await today.close();
  fs.copyFileSync(folder.path("yesterday"), file);
  fs.rmSync(`${file}-wal`, { force: true });
  const restored = folder.open();
  await assert.rejects(restored.checkpoint(), code("ledger-rolled-back"));
  await restored.append([act(1), ...acts(4, COUNT + 1)]);
  await assert.rejects(restored.checkpoint(), code("ledger-forked"));
  await restored.close();
});

test("a file of an export that is gone, cut or longer is told with its first record", async () => {
  using folder = new Folder();
  const { ledger } = await watched(folder);
  await ledger.export(folder.path("out"), { personal: true });
  await ledger.close();
  const change = async (
    name: string,
    edit: (file: string) => void,
    fault: string,
    place: string,
  ): Promise<void> => {
    const copy = folder.path("copy");
    fs.cpSync(folder.path("out"), copy, { recursive: true });
    edit(path.join(copy, name));
    found(await verify(copy), fault, place);
    fs.rmSync(copy, { recursive: true });
  };
  const cut = (file: string): void => fs.truncateSync(file, fs.statSync(file).size - 1);
  const longer = (file: string): void => fs.appendFileSync(file, "x");
  await change("tile/entries/001", (file) => fs.rmSync(file), "entries-missing", "record 256");
  await change("tile/entries/001", cut, "entries-truncated", "record 511");
  await change("tile/entries/002.p/88", longer, "entries-truncated", "record 600");
  await change("tile/0/001", (file) => fs.rmSync(file), "tile-missing", "record 256");
  await change("tile/0/002.p/88", cut, "tile-truncated", "record 512");
  await change("tile/1/000.p/2", (file) => fs.rmSync(file), "tile-missing", "record 0");
  await change("checkpoint", (file) => fs.rmSync(file), "checkpoint-missing", "ledger");
  await change("checkpoint", cut, "checkpoint-malformed", "ledger");
  const swap = (file: string): void => {
    const entries = parseBundle(fs.readFileSync(file), 256);
    assert.ok(entries.kind === "parsed");
    const [first = new Uint8Array(), second = new Uint8Array(), ...rest] = entries.value;
    fs.writeFileSync(file, formatBundle([second, first, ...rest]));
  };
  await change("tile/entries/000", swap, "record-altered", "record 0");
  const replace = (from: string, to: string) => (file: string) => {
    fs.writeFileSync(file, fs.readFileSync(file, "utf8").replace(from, to));
  };
  await change("checkpoint", replace("\n600\n", "\n599\n"), "signature-wrong", "ledger");
  await change(
    "personal/000.jsonl",
    replace('"vendor-3"', '"vendor-4"'),
    "personal-altered",
    "record 3",
  );
  await change(
    "personal/000.jsonl",
    replace('"index":3,', '"index":300,'),
    "personal-malformed",
    "record 0",
  );
});

test("a range that was exported verifies as that range only", async () => {
  using folder = new Folder();
  const { ledger } = await watched(folder, 1500);
  await ledger.export(folder.path("out"), { range: { from: 512, to: 700 } });
  await ledger.close();
  found(await verify(folder.path("out")), "tile-missing", "record 0");
  const ran = await verify(folder.path("out"), "--range", "512-699");
  assert.equal(ran.code, 0, ran.out);
  assert.match(ran.out, /188 of 1500 records/);
  found(await verify(folder.path("out"), "--range", "512-768"), "tile-missing", "record 768");
  found(await verify(folder.path("out"), "--range", "1000-1500"), "range-outside", "record 1501");
});

/** Another Node on the path than the one that runs the tests, as an auditor's machine may have. */
function otherNode(): string | undefined {
  const places = (process.env["PATH"] ?? "")
    .split(path.delimiter)
    .map((one) => path.join(one, "node"));
  return places.find((place) => {
    if (!fs.existsSync(place)) return false;
    const { stdout } = spawnSync(place, ["--version"], { encoding: "utf8", timeout: 10_000 });
    return stdout.trim() !== process.version && Number(/^v(\d+)/.exec(stdout)?.[1] ?? 0) >= 18;
  });
}

test("the verifier says the same on another version of Node", async (t) => {
  const node = otherNode();
  if (node === undefined) {
    t.skip("there is no other Node from 18 on in the PATH");
    return;
  }
  using folder = new Folder();
  const { ledger } = await watched(folder);
  await ledger.export(folder.path("out"), { personal: true, proofs: [599] });
  await ledger.close();
  const run = (what: string): Promise<Ran> =>
    runScript(VERIFY_SCRIPT, [folder.path(what), ...KEYS], node);
  assert.equal((await run("out")).code, 0);
  assert.equal((await run("out/proofs/599.tlog-proof")).code, 0);
  const file = folder.path("out/tile/entries/001");
  fs.writeFileSync(
    file,
    fs.readFileSync(file, "latin1").replace("vendor-to-press", "vendor-to-pumps"),
    "latin1",
  );
  found(await run("out"), "record-altered", "record 256");
});

test("whichever byte of an export is changed, it does not verify any more", async () => {
  using folder = new Folder();
  const { ledger } = await watched(folder, 300);
  const directory = folder.path("out");
  await ledger.export(directory);
  await ledger.close();
  const files = fs
    .readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((name) => name === "checkpoint" || /^tile.*\d$/.test(name))
    .map((name) => path.join(directory, name))
    .filter((name) => fs.statSync(name).isFile());
  assert.equal(files.length, 6);
  const trust = { logKeys: [LOG_KEY], witnessKeys: [WITNESS], threshold: 1 };
  const isGood = (): boolean => verifyExport({ directory, trust, heads: [] }).kind === "good";
  assert.ok(isGood());
  fc.assert(
    fc.property(
      fc.constantFrom(...files),
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      (file, at, flip) => {
        const bytes = fs.readFileSync(file);
        const changed = Buffer.from(bytes);
        const place = at % bytes.length;
        changed[place] = (bytes[place] ?? 0) ^ flip;
        fs.writeFileSync(file, changed);
        assert.ok(!isGood(), `byte ${place} of ${file}`);
        fs.writeFileSync(file, bytes);
      },
    ),
    { numRuns: 150 },
  );
});

test("a ledger without a record is signed, cosigned, exported and verified like any other", async () => {
  using folder = new Folder();
  const { ledger, north } = await watched(folder, 0);
  await ledger.export(folder.path("out"));
  assert.equal(
    (await verify(folder.path("out"), "--since", folder.path("out/checkpoint"))).code,
    0,
  );
  await ledger.append(acts(1));
  await ledger.checkpoint();
  assert.equal(await ledger.cosign(north.link), 1);
  await ledger.close();
});
