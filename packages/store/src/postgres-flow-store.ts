import { FLOW_LIMITS, type FlowLimits, type FlowStore } from "./flow-store.ts";
import { migrate } from "./migrations.ts";
import { connectPostgres, type PostgresConnection, requireFitServer } from "./postgres.ts";
import { flowSchema, type Tables } from "./schema.ts";
import { SqlFlowStore } from "./sql-flow-store.ts";

/** One connection: what one process records is recorded in the order in which it was given. */
const CONNECTIONS_MAX = 1;

/** One process at a time writes, as with a file. */
export async function openFlowStoreOn(
  connection: PostgresConnection,
  limits: FlowLimits = FLOW_LIMITS,
): Promise<FlowStore> {
  const db = connectPostgres<Tables>(connection, CONNECTIONS_MAX);
  try {
    await requireFitServer(db);
    await migrate(db, flowSchema("postgres"));
    return await SqlFlowStore.on(db, "postgres", limits);
  } catch (error) {
    await db.destroy();
    throw error;
  }
}
