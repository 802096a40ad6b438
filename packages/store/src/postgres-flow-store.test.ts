import assert from "node:assert/strict";
import type { SallyportError } from "@sallyport/core";
import { after, before, describe, test } from "node:test";
import { batch, POLL, holdsAsFlowStore } from "./flow-store.suite.test-kit.ts";
import { type Postgres, startPostgres, whyNoPostgres } from "./postgres.test-kit.ts";
import { openFlowStoreOn } from "./postgres-flow-store.ts";

describe("on PostgreSQL", { skip: whyNoPostgres() ?? false }, () => {
  let server: Postgres;
  before(async () => {
    server = await startPostgres();
  });
  after(async () => {
    await server.stop();
  });
  holdsAsFlowStore(async (use) => {
    const connection = await server.database();
    await use({
      open: (limits) => openFlowStoreOn(connection, limits),
      run: (text) => server.run(connection, text),
      writer: {
        module: "postgres-flow-store.ts",
        opener: "openFlowStoreOn",
        argument: connection,
      },
    });
  });

  test("of two processes that read the same stretch one records it, the other is refused", async () => {
    const connection = await server.database();
    const stores = [await openFlowStoreOn(connection), await openFlowStoreOn(connection)];
    for (let n = 0; n < 5; n++) {
      const results = await Promise.allSettled(
        stores.map((store) => store.record(batch(n * 10, n * 10 + 10, [POLL]))),
      );
      const refused = results.filter((result) => result.status === "rejected");
      const codes = refused.map(({ reason }) => (reason as SallyportError).code);
      assert.deepEqual(codes, ["flow-place-moved"]);
    }
    const [store] = stores;
    assert.equal((await store?.flows({ limit: 1 }))?.[0]?.accepted, 5);
    for (const one of stores) await one.close();
  });
});
