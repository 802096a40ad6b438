/** PostgreSQL by `pg`, for those who keep state of several gateways on a server of their own. */
import { SallyportError } from "@sallyport/core";
import { Kysely, PostgresDialect, sql } from "kysely";
import { Pool, types } from "pg";

export interface PostgresConnection {
  /** Name or address; a directory when it begins with `/`: the server's Unix socket is there. */
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  readonly password?: string;
  /** PEM of the authority that signed the server's certificate. Without it nothing is encrypted. */
  readonly authority?: string;
}

/** Whoever waits longer is told that the server cannot be reached. */
const CONNECT_MS = 5000;
/** Nothing that is asked here takes long; a statement that does has met a lock that nobody gives back. */
const STATEMENT_MS = 30_000;

const INT8: number = types.builtins.INT8;

/** Numbers here are times and counts, all of them whole and below 2^53. */
function wholeNumber(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value)) return value;
  throw new RangeError(`${text} is no number that can be told exactly`);
}

export function connectPostgres<Tables>(
  connection: PostgresConnection,
  connectionsMax: number,
): Kysely<Tables> {
  const { host, port, database, user, password, authority } = connection;
  const pool = new Pool({
    host,
    port,
    database,
    user,
    max: connectionsMax,
    connectionTimeoutMillis: CONNECT_MS,
    statement_timeout: STATEMENT_MS,
    application_name: "sallyport",
    // What is acknowledged is on disk, whatever the server's default is.
    options: "-c synchronous_commit=on",
    // A character that the server cannot take is refused there and never replaced.
    client_encoding: "UTF8",
    types: {
      getTypeParser: (oid: number, format) => {
        if (oid === INT8) return wholeNumber;
        // Typed as any, because what it makes of a value depends on the column.
        const parse: unknown = types.getTypeParser(oid, format ?? "text");
        return parse;
      },
    },
    ...(password === undefined ? {} : { password }),
    // Never undefined: the driver would look into the environment.
    ssl: authority === undefined ? false : { ca: authority, rejectUnauthorized: true },
  });
  // A connection that waits in the pool may break when the server restarts; the next query takes a new one.
  pool.on("error", () => {});
  return new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) });
}

/** Refuses a server that could lose what it acknowledged, or change characters. */
export async function requireFitServer<Tables>(db: Kysely<Tables>): Promise<void> {
  const wanted = { fsync: "on", full_page_writes: "on", server_encoding: "UTF8" };
  for (const [name, value] of Object.entries(wanted)) {
    const { rows } = await sql<{
      setting: string;
    }>`select current_setting(${name}) as setting`.execute(db);
    const setting = rows[0]?.setting;
    if (setting === value) continue;
    throw new SallyportError(
      "store-unfit",
      `the PostgreSQL server has ${name} = ${setting ?? "nothing"}, and state needs ${value}`,
      { hint: "set it on the server, or use a database of another server" },
    );
  }
}
