/**
 * Clients over TLS that ask again as soon as they were answered, or so often a second. Arguments: port,
 * connections, milliseconds, requests a second (0: as fast as answered), and the requests as JSON, each
 * connection taking turns. Prints one line: how many were answered, by status, and how long it took.
 */
import { once } from "node:events";
import process from "node:process";
import tls from "node:tls";

const [port, connections, runMs, perSecond] = process.argv.slice(2, 6).map(Number) as [
  number,
  number,
  number,
  number,
];
const requests = (JSON.parse(process.argv[6] ?? "[]") as string[]).map((text) => Buffer.from(text));

const latencies: number[] = [];
const statuses = new Map<string, number>();
let isOver = false;

/** What came so far of one answer; all of ours have a length. */
class Answer {
  #head = "";
  #left = -1;

  /** Whether it is whole. */
  add(part: Buffer): boolean {
    if (this.#left >= 0) this.#left -= part.length;
    else {
      this.#head += part.toString("latin1");
      const end = this.#head.indexOf("\r\n\r\n");
      if (end < 0) return false;
      const length = /\r\ncontent-length: (\d+)/i.exec(this.#head)?.[1];
      if (length === undefined) throw new Error("an answer without a length");
      this.#left = Number(length) - (this.#head.length - end - 4);
    }
    if (this.#left > 0) return false;
    const status = this.#head.slice(9, 12);
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
    this.#head = "";
    this.#left = -1;
    return true;
  }
}

async function client(index: number): Promise<void> {
  const socket = tls.connect({
    port,
    host: "127.0.0.1",
    servername: "localhost",
    rejectUnauthorized: false,
  });
  await once(socket, "secureConnect");
  const answer = new Answer();
  const pauseMs = perSecond === 0 ? 0 : (1000 * connections) / perSecond;
  let turn = index;
  let askedAt = 0;
  const ask = (): void => {
    const request = requests[turn++ % requests.length];
    askedAt = performance.now();
    if (request !== undefined) socket.write(request);
  };
  const ended = once(socket, "close");
  socket.on("data", (part: Buffer) => {
    if (!answer.add(part)) return;
    latencies.push(performance.now() - askedAt);
    if (isOver) socket.destroy();
    else if (pauseMs === 0) ask();
    else setTimeout(ask, Math.max(0, pauseMs - (performance.now() - askedAt)));
  });
  ask();
  await ended;
}

const started = performance.now();
setTimeout(() => (isOver = true), runMs);
await Promise.all(Array.from({ length: connections }, (_, index) => client(index)));
latencies.sort((a, b) => a - b);
const at = (part: number): number => latencies[Math.floor(latencies.length * part)] ?? Number.NaN;
console.log(
  JSON.stringify({
    answered: latencies.length,
    statuses: Object.fromEntries(statuses),
    seconds: (performance.now() - started) / 1000,
    p50: at(0.5),
    p99: at(0.99),
  }),
);
