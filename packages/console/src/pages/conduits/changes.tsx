/** Plan, approvals, apply, confirm or roll back; and what was done before. */
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { changesQuery, type Change } from "../../api/queries.ts";
import { useWords } from "../../app/surroundings.tsx";
import { useFilters } from "../../app/use-search.ts";
import { AsCli, Empty, Loading, Section, Tag, Time } from "../../parts/basics.tsx";
import { type Column, Table } from "../../parts/table.tsx";
import { ChangeView } from "./change-view.tsx";

export function ChangesTab() {
  const { t } = useWords();
  const [filters, filter] = useFilters();
  const changes = useQuery(changesQuery);
  const columns: readonly Column<Change>[] = [
    { id: "at", title: t("change.at"), cell: ({ createdAt }) => <Time iso={createdAt} /> },
    {
      id: "state",
      title: t("change.state"),
      cell: ({ state }) => <Tag>{t(`change.${state}`)}</Tag>,
    },
    { id: "reason", title: t("reason"), cell: ({ reason }) => <span dir="auto">{reason}</span> },
    { id: "author", title: t("change.author"), cell: ({ author }) => author },
    {
      id: "generation",
      title: t("change.generation"),
      isNumber: true,
      cell: ({ baseGeneration, nextGeneration }) => `${baseGeneration} → ${nextGeneration}`,
    },
  ];
  const open = changes.data?.find(({ id }) => id === filters.change) ?? changes.data?.find(isOpen);
  return (
    <>
      {open === undefined ? null : <ChangeView key={open.id} change={open} />}
      <Section title={t("changes.history")}>
        <Loading query={changes} />
        {changes.data?.length === 0 ? (
          <Empty what={t("changes.none")} why={t("changes.none.why")}>
            <Link to="/conduits" search={{ tab: "edit" }} className="button">
              {t("changes.none.do")}
            </Link>
          </Empty>
        ) : null}
        {changes.data === undefined || changes.data.length === 0 ? null : (
          <Table
            label={t("changes.history")}
            rows={changes.data}
            columns={columns}
            keyOf={({ id }) => id}
            onOpen={({ id }) => filter({ change: id })}
          />
        )}
      </Section>
      <AsCli line="sallyport api GET /v1/changes" />
    </>
  );
}

function isOpen({ state }: Change): boolean {
  return state === "planned" || state === "approved" || state === "applied";
}
