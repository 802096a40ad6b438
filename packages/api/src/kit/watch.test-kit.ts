/** Status, flows, ledger, forwarding and backups in memory. */
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { SallyportError } from "@sallyport/core";
import type { Backups, Flows, Forwarding, Ledger, Status } from "../services/watch.ts";
import type { Flow, LedgerRecord } from "../shapes/watch.ts";
import { type Clock, known, pageOver } from "./clock.test-kit.ts";

const HASH = "0".repeat(64);

export class MemoryWatch {
  readonly status: Status;
  readonly flows: Flows;
  readonly ledger: Ledger;
  readonly forwarding: Forwarding;
  readonly backups: Backups;
  /** Names of processes that are not ready. */
  readonly notReady = new Set<string>();
  readonly records: LedgerRecord[] = [];

  constructor(clock: Clock) {
    this.status = this.#status(clock);
    this.flows = flows(clock);
    this.ledger = this.#ledger(clock);
    this.forwarding = forwarding();
    this.backups = backups(clock);
  }

  addRecord(type: string, at: string, fields: Record<string, unknown> = {}): void {
    this.records.push({
      index: this.records.length,
      type,
      at,
      fields,
      commitments: {},
      leaf: HASH,
    });
  }

  #status(clock: Clock): Status {
    const names = ["control", "enforcer", "archivist"];
    const conduit = (index: number) => ({
      name: `conduit-${index}`,
      via: "proxy",
      from: "erp",
      to: "cell-1",
      open: true,
      packets: index,
      bytes: index * 60,
    });
    return {
      status: async () => ({
        instance: "main",
        site: "lab",
        generation: 1,
        degraded: [],
        timeTrusted: true,
        islands: [],
        conduits: 120,
        open: 120,
        grants: 0,
        refused: 7,
      }),
      conduits: async (_caller, page) =>
        pageOver(
          Array.from({ length: 120 }, (_, index) => conduit(index)),
          page,
        ),
      processes: async () =>
        names.map((name) => ({
          name,
          state: "running" as const,
          ready: !this.notReady.has(name),
          since: clock.iso(),
          restarts: 0,
        })),
      drift: async () => ({ at: clock.iso(), differences: [] }),
      doctor: async () => [{ check: "kernel", state: "good" as const, why: "6.18" }],
      readiness: async () => names.map((name) => ({ name, ready: !this.notReady.has(name) })),
    };
  }

  #ledger(clock: Clock): Ledger {
    const exported = gzipSync("{}\n");
    const one = {
      id: "export-1",
      state: "ready",
      createdAt: clock.iso(),
      records: 1,
      bytes: exported.length,
      sha256: createHash("sha256").update(exported).digest("hex"),
    } as const;
    return {
      head: async () => ({
        origin: "lab",
        size: this.records.length,
        root: HASH,
        at: clock.iso(),
        checkpoint: "lab\n",
      }),
      records: async (_caller, { type }, page) =>
        pageOver(
          this.records.filter((record) => type === undefined || record.type === type).toReversed(),
          page,
        ),
      record: async (_caller, index) => known(this.records[index], "record"),
      proof: async (_caller, index, size = this.records.length) => {
        if (index >= size) throw new SallyportError("no-such-thing", "there is no such record");
        return { index, size, leaf: HASH, root: HASH, hashes: [] };
      },
      consistency: async (_caller, from, to) => ({ from, to, hashes: [] }),
      startExport: async () => one,
      export: async (_caller, id) => known(id === one.id ? one : undefined, "export"),
      readExport: async (_caller, id) => {
        known(id === one.id ? one : undefined, "export");
        return (async function* () {
          yield exported;
        })();
      },
      witnesses: async () => [{ name: "w1", key: "k", seenSize: 0 }],
    };
  }
}

function flows(clock: Clock): Flows {
  const flow = (index: number, refused: number): Flow => ({
    start: clock.iso(),
    point: "outer",
    conduit: refused > 0 ? "" : "conduit-1",
    source: `10.0.0.${index % 250}`,
    destination: "10.9.0.5",
    sourceZone: "erp",
    destinationZone: "cell-1",
    protocol: "tcp",
    port: 502,
    function: "",
    reason: refused > 0 ? "no-conduit" : "",
    accepted: refused > 0 ? 0 : 1,
    refused,
    sampled: 0,
  });
  const many = (refused: number) => Array.from({ length: 500 }, (_, index) => flow(index, refused));
  return {
    flows: async (_caller, _question, page) => pageOver(many(0), page),
    denials: async (_caller, _question, page) => pageOver(many(3), page),
  };
}

function forwarding(): Forwarding {
  let kept: Omit<Awaited<ReturnType<Forwarding["get"]>>, "sha256"> = { targets: [], webhooks: [] };
  const now = () => ({
    ...kept,
    sha256: createHash("sha256").update(JSON.stringify(kept)).digest("hex"),
  });
  return {
    get: async () => now(),
    put: async (_caller, next, ifMatch) => {
      if (ifMatch !== now().sha256) throw new SallyportError("draft-changed", "another by now");
      kept = { webhooks: [], ...next };
      return now();
    },
    state: async () => [],
  };
}

function backups(clock: Clock): Backups {
  const all: Awaited<ReturnType<Backups["create"]>>[] = [];
  return {
    list: async (_caller, page) => pageOver(all, page),
    create: async () => {
      const made = {
        id: `backup-${all.length + 1}`,
        createdAt: clock.iso(),
        bytes: 1,
        sha256: HASH,
        verified: "never",
      } as const;
      all.push(made);
      return made;
    },
    verify: async (_caller, id) =>
      known(
        all.find((backup) => backup.id === id),
        "backup",
      ),
  };
}
