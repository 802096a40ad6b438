import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type Postgres, startPostgres, whyNoPostgres } from "../postgres.test-kit.ts";
import { openStateStore } from "./open-state-store.ts";
import { holdsAsStateStore } from "./state-store.suite.test-kit.ts";

describe("on PostgreSQL", { skip: whyNoPostgres() ?? false }, () => {
  let server: Postgres;
  before(async () => {
    server = await startPostgres();
  });
  after(async () => {
    await server.stop();
  });

  holdsAsStateStore(async (use) => {
    const connection = await server.database();
    await use({
      place: { kind: "postgres", connection },
      run: (text) => server.run(connection, text),
    });
  });

  test("what was acknowledged is there after the server was shut down without a checkpoint", async () => {
    const connection = await server.database();
    const state = await openStateStore({ kind: "postgres", connection });
    const drafts = state.records("draft");
    for (let n = 0; n < 20; n++) await drafts.add({ id: `${n}`, revision: 1 });
    await server.restart();
    assert.equal((await drafts.all()).length, 20, "the same store goes on with new connections");
    await state.close();
  });

  test("state is acknowledged when it is on disk, even where the server's default is another", async () => {
    const connection = await server.database();
    await server.run(
      connection,
      `alter database ${connection.database} set synchronous_commit = off`,
    );
    const state = await openStateStore({ kind: "postgres", connection });
    const drafts = state.records("draft");
    await drafts.add({ id: "a", revision: 1 });
    const how = await server.run(
      connection,
      `create function note() returns trigger language plpgsql as
       $$ begin new.body := json_build_object('id', new.id, 'commit', current_setting('synchronous_commit')); return new; end $$;
       create trigger note before insert on record for each row execute function note()`,
    );
    assert.ok(Array.isArray(how) || how === undefined);
    await drafts.add({ id: "b", revision: 1 });
    assert.deepEqual(await drafts.get("b"), { id: "b", commit: "on" });
    await state.close();
  });

  test("a server that does not sync, or whose texts are no UTF-8, gets no state", async () => {
    const connection = await server.database();
    await server.run(connection, "alter system set fsync = off");
    await server.run(connection, "select pg_reload_conf()");
    try {
      await assert.rejects(openStateStore({ kind: "postgres", connection }), {
        code: "store-unfit",
        message: /fsync = off/,
      });
    } finally {
      await server.run(connection, "alter system reset fsync");
      await server.run(connection, "select pg_reload_conf()");
    }
    await server.run(
      connection,
      "create database latin template template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'C'",
    );
    const latin = { ...connection, database: "latin" };
    await assert.rejects(openStateStore({ kind: "postgres", connection: latin }), {
      code: "store-unfit",
    });
  });

  test("a server that is not there is told in time", async () => {
    const connection = { ...(await server.database()), port: 5433 };
    await assert.rejects(openStateStore({ kind: "postgres", connection }), {
      code: "store-unavailable",
    });
  });
});
