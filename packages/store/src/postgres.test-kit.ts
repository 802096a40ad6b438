/** A PostgreSQL server of Debian's package on a private socket, for as long as a test file runs. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import pg from "pg";
import type { PostgresConnection } from "./postgres.ts";

const BINARIES = "/usr/lib/postgresql";
/** `nobody`: the server refuses to run as root. */
const UNPRIVILEGED_ID = 65534;
/** Here a sync costs nothing: whether PostgreSQL syncs is not what is tested. */
const SHARED_MEMORY = "/dev/shm";
const PORT = 5432;
const USER = "sallyport";
/** Making a cluster takes three seconds on an idle machine. */
const READY_MS = 60_000;

export interface Postgres {
  /** A new, empty database. */
  database(): Promise<PostgresConnection>;
  run(connection: PostgresConnection, text: string): Promise<readonly Record<string, unknown>[]>;
  /** As if the power went: no process of the server lives on, and nothing is written any more. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** Why there is none here, or undefined. */
export function whyNoPostgres(): string | undefined {
  return binaries() === undefined ? "no PostgreSQL server here (Debian's postgresql)" : undefined;
}

function binaries(): string | undefined {
  if (!fs.existsSync(BINARIES)) return undefined;
  const versions = fs.readdirSync(BINARIES).sort((a, b) => Number(b) - Number(a));
  return versions
    .map((version) => path.join(BINARIES, version, "bin"))
    .find((directory) => fs.existsSync(path.join(directory, "initdb")));
}

export async function startPostgres(): Promise<Postgres> {
  const directory = binaries();
  if (directory === undefined) throw new Error("there is no PostgreSQL server here");
  // The path of a socket is short, so it does not stand below whatever a test's own directory is.
  const root = fs.mkdtempSync(
    path.join(fs.existsSync(SHARED_MEMORY) ? SHARED_MEMORY : os.tmpdir(), "sp-pg-"),
  );
  const ids = process.getuid?.() === 0 ? { uid: UNPRIVILEGED_ID, gid: UNPRIVILEGED_ID } : {};
  if (ids.uid !== undefined) fs.chownSync(root, UNPRIVILEGED_ID, UNPRIVILEGED_ID);
  const data = path.join(root, "data");
  const words = ["-D", data, "-U", USER, "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"];
  const made = spawnSync(path.join(directory, "initdb"), words, {
    ...ids,
    cwd: root,
    encoding: "utf8",
    timeout: READY_MS,
  });
  if (made.status !== 0) throw new Error(`initdb failed: ${made.stderr}`);
  const start = (): Promise<ChildProcess> =>
    serve(path.join(directory, "postgres"), data, root, ids);
  let server = await start();
  let count = 0;
  const connectionTo = (database: string): PostgresConnection => ({
    host: root,
    port: PORT,
    database,
    user: USER,
  });
  return {
    database: async () => {
      const name = `test_${count++}`;
      await run(connectionTo("postgres"), `create database ${name}`);
      return connectionTo(name);
    },
    run,
    restart: async () => {
      // Immediate shutdown: no checkpoint, and recovery from the log at the next start.
      await end(server, "SIGQUIT");
      server = await start();
    },
    stop: async () => {
      await end(server, "SIGINT");
      fs.rmSync(root, { recursive: true });
    },
  };
}

async function run(
  connection: PostgresConnection,
  text: string,
): Promise<readonly Record<string, unknown>[]> {
  const client = new pg.Client({ ...connection });
  await client.connect();
  try {
    const { rows } = await client.query<Record<string, unknown>>(text);
    return rows;
  } finally {
    await client.end();
  }
}

async function serve(
  program: string,
  data: string,
  root: string,
  ids: { readonly uid?: number; readonly gid?: number },
): Promise<ChildProcess> {
  const settings = [
    "listen_addresses=",
    `unix_socket_directories=${root}`,
    "shared_buffers=16MB",
    "max_connections=30",
  ];
  const words = ["-D", data, ...settings.flatMap((setting) => ["-c", setting])];
  const server = spawn(program, words, { ...ids, cwd: root, stdio: ["ignore", "ignore", "pipe"] });
  const said: string[] = [];
  const ready = new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(said.join("\n"))), READY_MS);
    server.once("exit", () => reject(new Error(`postgres ended: ${said.join("\n")}`)));
    createInterface({ input: server.stderr }).on("line", (line) => {
      said.push(line);
      if (!line.includes("ready to accept connections")) return;
      clearTimeout(late);
      resolve();
    });
  });
  try {
    await ready;
  } catch (error) {
    server.kill("SIGQUIT");
    throw error;
  }
  return server;
}

async function end(server: ChildProcess, signal: "SIGINT" | "SIGQUIT"): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return;
  const gone = once(server, "exit");
  server.kill(signal);
  await gone;
}
