/** A table that keeps its rows few: what is read comes in pages, and the keyboard walks through them. */
import { type KeyboardEvent, type ReactNode, useState } from "react";
import { useWords } from "../app/surroundings.tsx";

export interface Column<Row> {
  readonly id: string;
  readonly title: string;
  readonly cell: (row: Row) => ReactNode;
  /** Numbers stand to the right. */
  readonly isNumber?: boolean;
}

/** More rows than this are never in the document at once. */
export const ROWS_MAX = 200;

export function Table<Row>({
  label,
  rows,
  columns,
  keyOf,
  onOpen,
}: {
  readonly label: string;
  readonly rows: readonly Row[];
  readonly columns: readonly Column<Row>[];
  readonly keyOf: (row: Row) => string;
  readonly onOpen?: (row: Row) => void;
}) {
  const { tn } = useWords();
  const [shown, setShown] = useState(ROWS_MAX);
  const part = rows.slice(Math.max(0, shown - ROWS_MAX), shown);
  return (
    <div className="table-wrap" role="region" aria-label={label} tabIndex={0} onKeyDown={walk}>
      <table>
        <thead>
          <tr>
            {columns.map(({ id, title, isNumber }) => (
              <th key={id} scope="col" className={isNumber === true ? "number" : undefined}>
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {part.map((row) => (
            <tr key={keyOf(row)} data-row>
              {columns.map(({ id, cell, isNumber }, index) => (
                <td key={id} className={isNumber === true ? "number" : undefined}>
                  {index === 0 && onOpen !== undefined ? (
                    <button type="button" className="link" onClick={() => onOpen(row)}>
                      {cell(row)}
                    </button>
                  ) : (
                    cell(row)
                  )}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > shown || shown > ROWS_MAX ? (
        <p className="pager">
          <button
            type="button"
            className="link"
            disabled={shown <= ROWS_MAX}
            onClick={() => setShown(shown - ROWS_MAX)}
          >
            ←
          </button>{" "}
          {tn("rows", rows.length)}{" "}
          <button
            type="button"
            className="link"
            disabled={rows.length <= shown}
            onClick={() => setShown(shown + ROWS_MAX)}
          >
            →
          </button>
        </p>
      ) : null}
    </div>
  );
}

/** j and k go down and up through what can be opened; Enter opens it, being a button. */
function walk(event: KeyboardEvent<HTMLElement>): void {
  const step = { j: 1, k: -1, ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
  const buttons = [...event.currentTarget.querySelectorAll<HTMLElement>("tr[data-row] button")];
  if (buttons.length === 0) return;
  const at = buttons.findIndex((button) => button === document.activeElement);
  const next = at < 0 ? 0 : Math.min(buttons.length - 1, Math.max(0, at + step));
  event.preventDefault();
  buttons[next]?.focus();
}
