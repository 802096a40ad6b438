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

/** Has each answer of a method of SQLite's statements counted; gives back how to end that. */
function watch(method: "get" | "all", seen: (answer: unknown) => void): () => void {
  const before = Object.getOwnPropertyDescriptor(StatementSync.prototype, method);
  const original: unknown = before?.value;
  if (before === undefined || typeof original !== "function") throw new Error(`no ${method}`);
  const value = function (this: StatementSync, ...words: unknown[]): unknown {
    const answer: unknown = Reflect.apply(original, this, words);
    seen(answer);
    return answer;
  };
  Object.defineProperty(StatementSync.prototype, method, { ...before, value });
  return () => void Object.defineProperty(StatementSync.prototype, method, before);
}

/** Rows that `work` had SQLite give to the program. */
async function rowsOf(work: () => Promise<void>): Promise<number> {
  let rows = 0;
  const ends = [
    watch("get", (row) => (rows += row === undefined ? 0 : 1)),
    watch("all", (found) => (rows += Array.isArray(found) ? found.length : 0)),
  ];
  try {
    await work();
    return rows;
  } finally {
    for (const end of ends) end();
  }
}

async function open(directory: string): Promise<Read> {
  let bytes = 0;
  const rows = await rowsOf(async () => {
    const before = bytesRead();
    const ledger = openBenchLedger(directory);
    ledger.head();
    bytes = bytesRead() - before;
    await ledger.close();
  });
  return { rows, bytes };
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
      // SQLite's tree of a hundred times the rows is a level or two deeper: a page of 4 KiB each.
      goal: "<= 1.5",
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
