/** Opening a ledger of a million records beside one of ten thousand: rows and bytes that are read. */
import fs from "node:fs";
import process from "node:process";
import { StatementSync } from "node:sqlite";
import type { Bench } from "./bench.ts";
import { makeFolder, openBenchLedger } from "./ledger.chain.ts";

const SMALL = 10_000;
const LARGE = 1_000_000;
const GROUP = 4000;

async function fill(directory: string, count: number): Promise<void> {
  const ledger = openBenchLedger(directory);
  for (let from = 0; from < count; from += GROUP) {
    const records = Array.from({ length: GROUP }, (_, at) => ({ type: "a", at: from + at }));
    await ledger.append(records);
  }
  await ledger.checkpoint();
  await ledger.close();
}

interface Read {
  readonly rows: number;
  readonly bytes: number;
}

/** Bytes that this process had the kernel read, which also tells rows that SQLite looked at unasked. */
function bytesRead(): number {
  return Number(/^rchar: (\d+)/m.exec(fs.readFileSync("/proc/self/io", "utf8"))?.[1]);
}

async function open(directory: string): Promise<Read> {
  let rows = 0;
  const { get, all } = StatementSync.prototype;
  const before = bytesRead();
  StatementSync.prototype.get = function (this: StatementSync, ...words: never[]) {
    const row = Reflect.apply(get, this, words);
    if (row !== undefined) rows++;
    return row;
  };
  StatementSync.prototype.all = function (this: StatementSync, ...words: never[]) {
    const found = Reflect.apply(all, this, words);
    rows += found.length;
    return found;
  };
  try {
    const ledger = openBenchLedger(directory);
    ledger.head();
    const bytes = bytesRead() - before;
    await ledger.close();
    return { rows, bytes };
  } finally {
    Object.assign(StatementSync.prototype, { get, all });
  }
}

export const bench: Bench = {
  name: "ledger.open",
  goals: [
    {
      id: "rows-of-million",
      what: "rows read to open a million records, to those of ten thousand",
      goal: "<= 1",
    },
    {
      id: "bytes-of-million",
      what: "bytes read from files for it, to those of ten thousand",
      goal: "<= 1.1",
    },
  ],

  async run() {
    if (process.platform !== "linux") throw new Error("bytes read are told by Linux only");
    const folder = makeFolder();
    try {
      await fill(`${folder}/small`, SMALL);
      await fill(`${folder}/large`, LARGE);
      await open(`${folder}/small`);
      const [small, large] = [await open(`${folder}/small`), await open(`${folder}/large`)];
      return [
        {
          id: "rows-of-million",
          ratio: large.rows / small.rows,
          note: `${large.rows} and ${small.rows} rows; the first append reads up to 255 hashes more`,
        },
        {
          id: "bytes-of-million",
          ratio: large.bytes / small.bytes,
          note: `${large.bytes} and ${small.bytes} bytes`,
        },
      ];
    } finally {
      fs.rmSync(folder, { recursive: true });
    }
  },
};
