/**
 * The reachability matrix: who can open a conversation with whom at one moment, through gates and
 * without, and who answers. A scan of the plant must see exactly this and nothing else.
 */
import { type Interval, type Ipv4, normalize } from "@sallyport/core";
import { type Carriage, type Cell, isEgress, listenerOf, openCells } from "./cells.ts";
import { type Circumstances, PointTable } from "./legs/model-table.ts";
import type { Legs, Point, Protocol, Via } from "./legs/types.ts";
import { type Names, serviceText, timeText, Words } from "./words.ts";

export interface MatrixContext extends Circumstances {
  readonly names?: Names;
}

export interface MatrixRow {
  readonly point: Point;
  readonly interface: string;
  readonly fromZone: string;
  readonly from: Interval;
  readonly toZone: string;
  readonly to: Interval;
  readonly protocol: Protocol;
  /** Empty for icmp. */
  readonly ports: readonly Interval[];
  readonly via: Via;
  readonly conduit: string;
  /** `site.yaml:41` */
  readonly source: string;
  readonly grant: string | undefined;
  /** A gate answers in the target's place; nobody answers over a diode. */
  readonly answeredBy: "target" | "gate" | "nobody";
  /** False where a gate answers, and its own leg to the target is closed. */
  readonly complete: boolean;
  readonly audit: boolean;
}

export interface Matrix {
  readonly at: number;
  readonly rows: readonly MatrixRow[];
}

export function matrix(legs: Legs, at: number, context: MatrixContext = {}): Matrix {
  const tables = {
    outer: new PointTable(legs, "outer", context),
    inner: new PointTable(legs, "inner", context),
  };
  const words = new Words(legs, context.names);
  const rows: MatrixRow[] = [];
  for (const point of ["outer", "inner"] as const) {
    for (const cell of openCells(tables[point], { at })) {
      const [carriage] = cell.carriages;
      if (carriage === undefined || isEgress(carriage.carrier.conduit, [cell.box.from])) continue;
      rows.push(rowOf(cell, carriage, tables, words, at));
    }
  }
  return { at, rows: merged(rows) };
}

function rowOf(
  cell: Cell,
  { carrier, redirect }: Carriage,
  tables: Readonly<Record<Point, PointTable>>,
  words: Words,
  at: number,
): MatrixRow {
  const { conduit, grant, audit } = carrier;
  const { from, to, ports } = cell.box;
  const answered = redirect === undefined ? "target" : "gate";
  const complete = redirect === undefined || gateReaches({ carrier, redirect }, tables, at);
  return {
    point: cell.point,
    interface: cell.interface,
    fromZone: cell.zone,
    from,
    toZone: words.zoneOf(to.first) ?? "",
    to,
    protocol: cell.protocol,
    ports: cell.protocol === "icmp" ? [] : [ports],
    via: conduit.via,
    conduit: conduit.name,
    source: conduit.source,
    grant: grant?.id,
    answeredBy: conduit.via === "diode" ? "nobody" : answered,
    complete,
    audit,
  };
}

/** Whether the second leg is open too: from the gate's address for this conduit to the target. */
function gateReaches(
  { carrier, redirect }: Carriage,
  tables: Readonly<Record<Point, PointTable>>,
  at: number,
): boolean {
  const listener = redirect && listenerOf(carrier.conduit, redirect);
  if (listener === undefined) return false;
  const point = tables.outer.zoneOf(listener.egressAddress)?.point;
  if (point === undefined) return false;
  const answer = tables[point].carry(
    {
      source: listener.egressAddress,
      destination: listener.targetAddress,
      protocol: "tcp",
      port: listener.targetPort,
    },
    at,
  );
  return "row" in answer && tables[point].zoneOf(listener.targetAddress)?.point === point;
}

/** Rows that differ only in their ports are one row. */
function merged(rows: readonly MatrixRow[]): MatrixRow[] {
  const groups = new Map<string, MatrixRow>();
  for (const row of rows) {
    const { from, to } = row;
    const ends = `${from.first}-${from.last} ${to.first}-${to.last}`;
    const key = `${row.point} ${row.interface} ${ends} ${row.protocol} ${row.conduit} ${row.grant ?? ""} ${row.complete}`;
    const same = groups.get(key);
    groups.set(key, same ? { ...same, ports: normalize([...same.ports, ...row.ports]) } : row);
  }
  return [...groups.values()].sort(
    (a, b) => a.from.first - b.from.first || a.to.first - b.to.first || compare(a, b),
  );
}

function compare(a: MatrixRow, b: MatrixRow): number {
  const [x, y] = [`${a.protocol} ${a.conduit}`, `${b.protocol} ${b.conduit}`];
  if (x === y) return (a.ports[0]?.first ?? 0) - (b.ports[0]?.first ?? 0);
  return x < y ? -1 : 1;
}

export interface Reachable {
  readonly addresses: Interval;
  readonly protocol: Protocol;
  readonly ports: readonly Interval[];
  readonly answeredBy: MatrixRow["answeredBy"];
  readonly conduit: string;
}

/** What one host may open a conversation with. Nothing where its address may not be on the interface. */
export function reachable(
  legs: Legs,
  source: Ipv4,
  sourceInterface: string,
  at: number,
  context: MatrixContext = {},
): Reachable[] {
  return matrix(legs, at, context)
    .rows.filter((row) => row.interface === sourceInterface)
    .filter((row) => row.from.first <= source && source <= row.from.last)
    .map(({ to, protocol, ports, answeredBy, conduit }) => ({
      addresses: to,
      protocol,
      ports,
      answeredBy,
      conduit,
    }));
}

const MATRIX_COLUMNS = ["from", "to", "service", "via", "answered by", "conduit", "line"] as const;

/** Zones against zones first, then every source and target. */
export function formatMatrix(legs: Legs, result: Matrix, names: Names = new Map()): string {
  const words = new Words(legs, names);
  const lines = result.rows.map((row) => lineOf(row, words));
  const parts = [`open at ${timeText(result.at)}`, "", ...zoneTable(legs, result), ""];
  if (lines.length === 0) return [...parts, "nothing is open"].join("\n");
  return [...parts, ...table([[...MATRIX_COLUMNS], ...lines])].join("\n");
}

function lineOf(row: MatrixRow, words: Words): string[] {
  const via = row.grant === undefined ? row.via : `${row.via} ${row.grant}`;
  return [
    words.addresses(row.from),
    words.addresses(row.to),
    serviceText(row.protocol, row.ports),
    row.audit ? `${via}, audit` : via,
    row.complete ? row.answeredBy : `${row.answeredBy}, but not the target`,
    row.conduit,
    row.source,
  ];
}

function zoneTable(legs: Legs, result: Matrix): string[] {
  const zones = [...new Set(legs.zones.map((zone) => zone.name))].filter((zone) =>
    result.rows.some((row) => row.fromZone === zone || row.toZone === zone),
  );
  const cell = (from: string, to: string): string => {
    const rows = result.rows.filter((row) => row.fromZone === from && row.toZone === to);
    if (from === to)
      return rows.length === 0 ? "-" : [...new Set(rows.map((r) => r.via))].join(",");
    return rows.length === 0 ? "." : [...new Set(rows.map((row) => row.via))].join(",");
  };
  const rows = zones.map((from) => [from, ...zones.map((to) => cell(from, to))]);
  return table([["from \\ to", ...zones], ...rows]);
}

/** RFC 4180. One line a row, addresses and ports as ranges. */
export function matrixCsv(legs: Legs, result: Matrix, names: Names = new Map()): string {
  const words = new Words(legs, names);
  const rows = result.rows.map((row) => [row.fromZone, row.toZone, ...lineOf(row, words)]);
  const head = ["from zone", "to zone", ...MATRIX_COLUMNS];
  return [head, ...rows].map((row) => `${row.map(quoted).join(",")}\r\n`).join("");
}

function quoted(field: string): string {
  return /[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field;
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  return rows.map((row) =>
    row
      .map((field, column) => field.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}
