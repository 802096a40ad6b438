/** Zone by zone: how many conduits; and of one cell, the rules in plain words. */
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useMemo } from "react";
import type { AnswerOf } from "../../api/client.ts";
import { Problem } from "../../api/problem.ts";
import { conduitsQuery, draftQuery, matrixOf, runningQuery } from "../../api/queries.ts";
import { useWords } from "../../app/surroundings.tsx";
import { useFilters } from "../../app/use-search.ts";
import { AsCli, Empty, Loading, Section, Tag } from "../../parts/basics.tsx";
import { Sheet } from "../../parts/sheet.tsx";
import { cellOf, matrixView } from "./matrix.ts";
import { type ConduitText, readPolicy } from "./policy-text.ts";
import { ruleInWords } from "./words.ts";

export function RulesTab() {
  const { t } = useWords();
  const [filters, filter] = useFilters();
  const matrix = useQuery(matrixOf("running"));
  const rules = useRules();
  if (matrix.error instanceof Problem && matrix.error.told.code === "no-policy-in-force") {
    return (
      <Empty what={t("rules.none")} why={t("plant.empty.why")}>
        <Link to="/conduits" search={{ tab: "edit" }} className="button">
          {t("rules.none.do")}
        </Link>
      </Empty>
    );
  }
  const cell =
    matrix.data === undefined || filters.from === undefined || filters.to === undefined
      ? undefined
      : cellOf(matrix.data, filters.from, filters.to);
  const single = filters.conduit === undefined ? [] : [filters.conduit];
  const names = cell?.conduits.map(({ name }) => name) ?? single;
  return (
    <>
      <Loading query={matrix} />
      {matrix.data === undefined ? null : <Matrix matrix={matrix.data} />}
      <Section title={t("rules.all")}>
        <RuleList names={undefined} rules={rules} />
      </Section>
      <AsCli line="sallyport policy matrix" />
      {names.length === 0 ? null : (
        <Sheet
          isSide
          title={cell === undefined ? (names[0] ?? "") : `${cell.from} → ${cell.to}`}
          onClose={() => filter({ from: "", to: "", conduit: "" })}
        >
          <RuleList names={[...new Set(names)]} rules={rules} />
        </Sheet>
      )}
    </>
  );
}

function Matrix({ matrix }: { readonly matrix: AnswerOf<"GET /v1/policy/matrix"> }) {
  const { t, tn } = useWords();
  const view = useMemo(() => matrixView(matrix), [matrix]);
  return (
    <Section title={t("matrix.title")}>
      <div className="table-wrap" role="region" tabIndex={0} aria-label={t("matrix.title")}>
        <table className="matrix">
          <thead>
            <tr>
              <th scope="col">{t("matrix.corner")}</th>
              {view.to.map((zone) => (
                <th key={zone} scope="col">
                  {zone}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {view.from.map((from) => (
              <tr key={from}>
                <th scope="row">{from}</th>
                {view.to.map((to) => {
                  const conduits = new Set(
                    cellOf(matrix, from, to)?.conduits.map(({ name }) => name),
                  );
                  return (
                    <td key={to}>
                      {conduits.size === 0 ? (
                        <span className="dim" aria-label={t("matrix.nothing")}>
                          ·
                        </span>
                      ) : (
                        <Link
                          to="/conduits"
                          search={{ from, to }}
                          aria-label={`${conduits.size}: ${from} → ${to}`}
                          title={tn("map.conduits", conduits.size)}
                        >
                          {conduits.size}
                        </Link>
                      )}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p className="small dim">{t("matrix.legend")}</p>
    </Section>
  );
}

/** The text in force when the gateway has it; a policy that came by the command line has none here. */
function useRules(): ReadonlyMap<string, ConduitText> {
  const running = useQuery(runningQuery);
  const draft = useQuery(draftQuery);
  const files = running.data?.files ?? draft.data?.files;
  return useMemo(() => {
    const found = (files ?? []).flatMap(({ text }) => readPolicy(text).conduits);
    return new Map(found.map((conduit) => [conduit.name, conduit]));
  }, [files]);
}

function RuleList({
  names,
  rules,
}: {
  readonly names: readonly string[] | undefined;
  readonly rules: ReadonlyMap<string, ConduitText>;
}) {
  const words = useWords();
  const { t } = words;
  const conduits = useQuery(conduitsQuery);
  const live = new Map(conduits.data?.items.map((conduit) => [conduit.name, conduit]));
  const shown = names ?? [...live.keys()];
  return (
    <ul className="rules">
      {shown.map((name) => {
        const rule = rules.get(name);
        const state = live.get(name);
        const [head, ...rest] = rule === undefined ? [] : ruleInWords(rule.value, words);
        return (
          <li key={name}>
            <h3>
              {name}{" "}
              {state === undefined ? null : (
                <Tag>
                  {state.open ? t("edge.open") : t("edge.closed", { reason: state.reason ?? "?" })}
                </Tag>
              )}
            </h3>
            <p>{head ?? t("rules.no-text", { from: state?.from ?? "?", to: state?.to ?? "?" })}</p>
            {rest.length === 0 ? null : (
              <ul className="dim">
                {rest.map((line) => (
                  <li key={line}>{line}</li>
                ))}
              </ul>
            )}
            <Link to="/conduits" search={{ tab: "edit", conduit: name }}>
              {t("rules.edit")}
            </Link>
          </li>
        );
      })}
    </ul>
  );
}
