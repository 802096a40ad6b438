/** Small things that all pages are made of. */
import type { ReactNode } from "react";
import type { Problem } from "../api/problem.ts";
import { UNREACHABLE } from "../api/problem.ts";
import { useWords } from "../app/surroundings.tsx";

/** Four priorities as in alarm practice: shape, word and color together, never one alone. */
export type Priority = "urgent" | "high" | "medium" | "low";
export const SHAPES: Readonly<Record<Priority, string>> = {
  urgent: "▲",
  high: "●",
  medium: "■",
  low: "◆",
};

export function Mark({ priority }: { readonly priority: Priority }) {
  const { t } = useWords();
  return (
    <span className={`mark mark-${priority}`}>
      <span aria-hidden="true">{SHAPES[priority]}</span> {t(`priority.${priority}`)}
    </span>
  );
}

/** A state that is normal: grey, with a word. */
export function Tag({ children }: { readonly children: ReactNode }) {
  return <span className="tag">{children}</span>;
}

export function ProblemBox({ problem }: { readonly problem: Problem | undefined | null }) {
  const { t } = useWords();
  if (problem === undefined || problem === null) return null;
  const { code, detail, hint, errors, requestId } = problem.told;
  const isLost = code === UNREACHABLE;
  const isLater = code === "not-built-yet";
  return (
    <div className={isLater ? "note" : "problem"} role={isLater ? "note" : "alert"}>
      <p>
        {isLater ? null : <span className="mark mark-high">● </span>}
        {isLost ? t("problem.unreachable") : detail}
      </p>
      {errors.length === 0 ? null : (
        <ul>
          {errors.map(({ field, message }) => (
            <li key={`${field} ${message}`}>
              <b>{field}</b>: {message}
            </li>
          ))}
        </ul>
      )}
      <p className="dim">
        {isLost ? t("problem.unreachable.hint") : null}
        {hint === undefined ? null : (
          <>
            {t("problem.next")} <code>{hint}</code>{" "}
          </>
        )}
        <span className="small">
          {code}
          {requestId === undefined ? "" : ` · ${requestId}`}
        </span>
      </p>
    </div>
  );
}

/** Why there is nothing here, what will be, and one thing to do. */
export function Empty({
  what,
  why,
  children,
}: {
  readonly what: string;
  readonly why: string;
  readonly children?: ReactNode;
}) {
  return (
    <div className="empty">
      <p className="empty-what">{what}</p>
      <p className="dim">{why}</p>
      {children}
    </div>
  );
}

export function AsCli({ line }: { readonly line: string }) {
  const { t } = useWords();
  return (
    <details className="as-cli">
      <summary>{t("as-cli")}</summary>
      <code className="cli">{line}</code>
    </details>
  );
}

export function Page({
  title,
  lead,
  actions,
  children,
}: {
  readonly title: string;
  readonly lead?: string;
  readonly actions?: ReactNode;
  readonly children: ReactNode;
}) {
  return (
    <main className="page" id="main">
      <div className="page-head">
        <h1>{title}</h1>
        {actions}
      </div>
      {lead === undefined ? null : <p className="dim lead">{lead}</p>}
      {children}
    </main>
  );
}

export function Section({
  title,
  actions,
  children,
}: {
  readonly title: string;
  readonly actions?: ReactNode;
  readonly children: ReactNode;
}) {
  return (
    <section className="section" aria-label={title}>
      <div className="section-head">
        <h2>{title}</h2>
        {actions}
      </div>
      {children}
    </section>
  );
}

/** A time in the person's words; UTC when one points at it. */
export function Time({ iso }: { readonly iso: string | undefined }) {
  const { t, time } = useWords();
  if (iso === undefined) return <span className="dim">{t("never")}</span>;
  return (
    <time dateTime={iso} title={iso}>
      {time(iso)}
    </time>
  );
}

/** What a query waits for or failed with; nothing once there is data. */
export function Loading({
  query,
}: {
  readonly query: { readonly isPending: boolean; readonly error: Error | null };
}) {
  const { t } = useWords();
  if (query.error !== null) return <ProblemBox problem={problemIn(query.error)} />;
  return query.isPending ? <p className="dim">{t("loading")}</p> : null;
}

function problemIn(error: Error): Problem {
  // Queries ask through the client, which throws nothing else.
  return error as Problem;
}
