import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { SallyportError } from "@sallyport/core";
import {
  addCheckpoint,
  COSIGNATURE,
  type Ledger,
  openLedger,
  openWitnessMemory,
  signerFromSeed,
  verifierKey,
} from "@sallyport/ledger";
import { EventLog } from "../event-log.ts";
import { readArchivistRequest } from "./archivist-messages.ts";
import { ArchivistService } from "./archivist-service.ts";
import { Follower } from "./follower.ts";
import { recordsOf } from "./records-of.ts";

const NOW = Date.UTC(2026, 10, 18, 11, 0);
const home = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-archivist-"));
after(() => fs.rmSync(home, { recursive: true }));
let places = 0;

const witnessSigner = signerFromSeed("witness.example/one", randomBytes(32));

function ledgerIn(directory: string): Ledger {
  return openLedger({
    directory,
    signer: signerFromSeed("sallyport/test/audit", createHash("sha256").update("test").digest()),
    nowMs: () => NOW,
    randomness: (sizeBytes) => randomBytes(sizeBytes),
    witnesses: [verifierKey(witnessSigner.name, COSIGNATURE, witnessSigner.publicKey)],
  });
}

function plant(): { events: string; directory: string; ledger: Ledger; service: ArchivistService } {
  const directory = path.join(home, String(++places));
  const events = path.join(directory, "events");
  fs.mkdirSync(events, { recursive: true });
  const ledger = ledgerIn(path.join(directory, "ledger"));
  const service = new ArchivistService({
    ledger,
    key: "",
    exportsDirectory: directory,
    copyDirectory: path.join(directory, "copy"),
    addWitness: () => undefined,
    nowMs: () => NOW,
  });
  return { events, directory, ledger, service };
}

const typesOf = (ledger: Ledger): readonly string[] =>
  ledger.list({ limit: 1000 }).records.map(({ type }) => type);

test("each act of a process is one record, with what is about a person apart", () => {
  const line = JSON.stringify({
    at: "2026-11-18T11:00:00.000Z",
    type: "grant-added",
    conduit: "vendor-services-press",
    person: "vendor-tech",
    source: "10.20.0.10",
    seconds: 60,
  });
  const { records, unreadable } = recordsOf("enforcer", [line]);
  assert.equal(unreadable, 0);
  assert.deepEqual(records, [
    {
      type: "enforcer.grant-added",
      at: NOW,
      conduit: "vendor-services-press",
      seconds: 60,
      personal: { person: "vendor-tech", source: "10.20.0.10" },
    },
  ]);
});

test("what is counted is one record a minute, and a scan cannot fill the ledger", () => {
  const refused = (port: number): string =>
    JSON.stringify({
      at: "2026-11-18T11:00:00.000Z",
      type: "flow-minute",
      ...{ point: "outer", conduit: `c${port}`, source: "", destination: "", protocol: "tcp" },
      ...{ sourceZone: "enterprise", destinationZone: "cell-a", port, accepted: 0, refused: 2 },
      reason: "no-conduit",
    });
  const { records } = recordsOf(
    "traffic",
    Array.from({ length: 900 }, (_, port) => refused(port)),
  );
  assert.equal(records.length, 1);
  const [minute] = records;
  assert.equal(minute?.type, "traffic.minute");
  assert.equal(minute["refused"], 1800, "the sum is exact");
  assert.equal(
    (minute["rows"] as readonly object[]).length,
    201,
    "200 told apart, the rest as one",
  );
});

test("a gate is believed about itself: it cannot speak as the enforcer", () => {
  const line = JSON.stringify({ atMs: NOW, type: "applied", generation: 9, room: "enforcer" });
  const { records } = recordsOf("gate-erp", [line]);
  assert.deepEqual(
    records.map(({ type, room }) => [type, room]),
    [["gate.applied", "gate-erp"]],
  );
});

test("every event is one record, whenever the archivist is killed", async () => {
  const { events, directory, ledger } = plant();
  const log = new EventLog(events, "enforcer");
  for (let n = 0; n < 10; n++) log.append(NOW + n, "confirmed", { generation: n });
  await new Follower(ledger, events, () => NOW).turn();
  assert.equal(ledger.head().size, 10);
  // Killed here: no close, no word. The next one goes on from what is on disk.
  await ledger.close();
  const again = ledgerIn(path.join(directory, "ledger"));
  for (let n = 10; n < 12; n++) log.append(NOW + n, "confirmed", { generation: n });
  await new Follower(again, events, () => NOW).turn();
  await new Follower(again, events, () => NOW).turn();
  assert.equal(again.head().size, 12);
  const told = again.list({ limit: 100 }).records.map(({ leaf }) => {
    return (JSON.parse(leaf) as { generation: number }).generation;
  });
  assert.deepEqual(told, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
});

test("events that are gone before they were read, and lines that are none, are records too", async () => {
  const { events, ledger } = plant();
  const file = path.join(events, "supervisor.ndjson");
  fs.writeFileSync(file, '{"at":"2026-11-18T11:00:00.000Z","type":"process-started"}\n{"at":\n');
  const follower = new Follower(ledger, events, () => NOW);
  await follower.turn();
  assert.deepEqual(typesOf(ledger), ["archivist.unreadable", "supervisor.process-started"]);
  fs.rmSync(file);
  fs.writeFileSync(file, '{"at":"2026-11-18T11:00:01.000Z","type":"process-ended"}\n');
  await follower.turn();
  assert.deepEqual(typesOf(ledger).slice(2), ["archivist.gap", "supervisor.process-ended"]);
});

test("control writes in its own name and erases nothing; keyholder reads nothing", async () => {
  const { service, ledger } = plant();
  const asked = (message: object, caller: "root" | "control" | "keyholder"): Promise<unknown> =>
    service.answer(readArchivistRequest(JSON.stringify(message)), caller);
  const records = [{ type: "signed-in", at: NOW, personal: { person: "anna" } }];
  assert.deepEqual(await asked({ type: "append", records }, "control"), { first: 0, count: 1 });
  assert.equal(ledger.record(0)?.type, "control.signed-in");
  const refusedAs = async (message: object, caller: "root" | "control" | "keyholder") => {
    await assert.rejects(asked(message, caller), (error) => {
      return error instanceof SallyportError && error.code === "denied";
    });
  };
  await refusedAs({ type: "erase", value: "anna", reason: "asked to" }, "control");
  await refusedAs({ type: "record", index: 0 }, "keyholder");
  await refusedAs({ type: "append", records }, "root");
  assert.deepEqual(await asked({ type: "erase", value: "anna", reason: "asked to" }, "root"), {
    erased: 1,
  });
  assert.deepEqual(ledger.record(0)?.personal, {});
  assert.match(String(ledger.record(0)?.leaf), /"commit":\{"person":/, "what proves it stays");
});

test("a witness is asked through whoever has a network, and holds the head", async () => {
  const { service, ledger, directory } = plant();
  await ledger.append([{ type: "test.one", at: NOW }]);
  const memory = openWitnessMemory(path.join(directory, "witness"));
  const [signed] = [await ledger.checkpoint()];
  assert.ok(signed);
  const witness = {
    signer: witnessSigner,
    memory,
    logKeys: [ledgerKey()],
    nowSeconds: () => NOW / 1000,
  };
  let step = (await service.answer({ type: "cosign", witness: witnessSigner.name }, "control")) as {
    id: number;
    body?: string;
    done?: number;
  };
  for (let turns = 0; step.done === undefined && turns < 4; turns++) {
    const answer = addCheckpoint(witness, step.body ?? "");
    step = (await service.answer(
      { type: "cosign-answer", id: step.id, status: answer.status, body: answer.body },
      "control",
    )) as typeof step;
  }
  assert.equal(step.done, 1);
  assert.ok(ledger.cosigned()?.includes(witnessSigner.name));
});

function ledgerKey(): ReturnType<typeof verifierKey> {
  const signer = signerFromSeed(
    "sallyport/test/audit",
    createHash("sha256").update("test").digest(),
  );
  return verifierKey(signer.name, 1, signer.publicKey);
}

test("a message that asks nothing names the field that is wrong", () => {
  for (const [line, what] of [
    ["[]", /the message must be an object/],
    ['{"type":"append","records":[]}', /records must be a list of 1 to 1000/],
    ['{"type":"record","index":-1}', /index must be a whole number/],
    ['{"type":"export","name":"../up","personal":false}', /name must be/],
    ['{"type":"burn"}', /type names no request/],
  ] as const) {
    assert.throws(() => readArchivistRequest(line), what);
  }
});
