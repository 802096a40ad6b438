/** "What will be open on Sunday 03:00": the same legs at another time. */
import { type Carrier, PointTable } from "./legs/model-table.ts";
import type { PacketReason } from "./legs/reasons.ts";
import type { Legs, Via } from "./legs/types.ts";
import { type Matrix, type MatrixContext, matrix } from "./matrix.ts";
import { timeText } from "./words.ts";

export interface OpenConduit {
  readonly conduit: string;
  readonly grant: string | undefined;
  readonly via: Via;
  readonly source: string;
  readonly open: boolean;
  /** End of that opening. */
  readonly until: number | null;
  /** While closed; undefined while open. */
  readonly closedReason: PacketReason | undefined;
}

export interface OpenAt {
  readonly at: number;
  readonly conduits: readonly OpenConduit[];
  readonly matrix: Matrix;
}

export function openAt(legs: Legs, at: number, context: MatrixContext = {}): OpenAt {
  const { carriers } = new PointTable(legs, "inner", context);
  const conduits = [...carriers.values()].map((carrier) => stateOf(carrier, at));
  return { at, conduits, matrix: matrix(legs, at, context) };
}

function stateOf(carrier: Carrier, at: number): OpenConduit {
  const { open, until, closedReason } = carrier.livenessAt(at);
  const { name: conduit, via, source } = carrier.conduit;
  const grant = carrier.grant?.id;
  return {
    conduit,
    grant,
    via,
    source,
    open,
    until,
    closedReason: open ? undefined : closedReason,
  };
}

export function formatOpenAt(answer: OpenAt): string {
  const lines = answer.conduits.map(({ conduit, grant, open, until, closedReason, source }) => {
    const name = grant === undefined ? conduit : `${conduit} ${grant}`;
    const end = until === null ? "" : ` until ${timeText(until)}`;
    return `${open ? "open  " : "closed"}  ${name}${open ? end : `: ${closedReason ?? ""}`}  ${source}`;
  });
  return [`at ${timeText(answer.at)}`, ...lines].join("\n");
}
