/** The ledger: what happened, and a proof for each record that the browser checks itself. */
import { Button, NativeSelect, TextInput } from "@mantine/core";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { call, type ItemOf } from "../../api/client.ts";
import { useWords } from "../../app/surroundings.tsx";
import { useFilters } from "../../app/use-search.ts";
import { AsCli, Empty, Loading, Page, Section, Time } from "../../parts/basics.tsx";
import { type Column, Table } from "../../parts/table.tsx";
import { ExportForm } from "./export-form.tsx";
import { HeadView } from "./head-view.tsx";
import { RecordSheet } from "./record-sheet.tsx";
import { summaryOf } from "./summary.ts";

type LedgerRecord = ItemOf<"GET /v1/ledger/records">;

const PAGE = 100;
const HOUR_MS = 3600 * 1000;
const SPANS = { hour: HOUR_MS, day: 24 * HOUR_MS, week: 7 * 24 * HOUR_MS } as const;
type Span = keyof typeof SPANS;

export function EvidencePage() {
  const { t } = useWords();
  const [filters, filter] = useFilters();
  return (
    <Page title={t("nav.evidence")} lead={t("evidence.lead")}>
      <HeadView />
      <Records />
      <Witnesses />
      <ExportForm />
      {filters.record === undefined ? null : (
        <RecordSheet index={Number(filters.record)} onClose={() => filter({ record: "" })} />
      )}
    </Page>
  );
}

function Records() {
  const { t } = useWords();
  const [filters, filter] = useFilters();
  const span = Object.keys(SPANS).find((one): one is Span => one === filters.since);
  const records = useInfiniteQuery({
    queryKey: ["records", filters.type, span],
    initialPageParam: "",
    queryFn: async ({ pageParam }) => {
      const since =
        span === undefined ? {} : { since: new Date(Date.now() - SPANS[span]).toISOString() };
      const query = {
        ...{ limit: PAGE, ...since },
        ...(filters.type === undefined ? {} : { type: filters.type }),
        ...(pageParam === "" ? {} : { cursor: pageParam }),
      };
      return (await call("GET /v1/ledger/records", { query })).value;
    },
    getNextPageParam: ({ next }) => next,
  });
  const rows = records.data?.pages.flatMap(({ items }) => items) ?? [];
  const columns = useColumns();
  return (
    <Section title={t("records.title")}>
      <RecordFilter key={filters.type ?? ""} span={span} />
      <Loading query={records} />
      {records.isSuccess && rows.length === 0 ? (
        <Empty what={t("records.none")} why={t("records.none.why")}>
          <button type="button" className="button" onClick={() => filter({ type: "", since: "" })}>
            {t("records.none.do")}
          </button>
        </Empty>
      ) : null}
      {rows.length === 0 ? null : (
        <Table
          label={t("records.title")}
          rows={rows}
          columns={columns}
          keyOf={({ index }) => String(index)}
          onOpen={({ index }) => filter({ record: String(index) })}
        />
      )}
      {records.hasNextPage ? (
        <Button
          variant="default"
          loading={records.isFetchingNextPage}
          onClick={() => void records.fetchNextPage()}
        >
          {t("more")}
        </Button>
      ) : null}
      <AsCli
        line={`sallyport ledger list${filters.type === undefined ? "" : ` --type ${filters.type}`}`}
      />
    </Section>
  );
}

function useColumns(): readonly Column<LedgerRecord>[] {
  const { t } = useWords();
  return [
    { id: "index", title: t("record.index"), cell: ({ index }) => index },
    { id: "at", title: t("record.at"), cell: ({ at }) => <Time iso={at} /> },
    { id: "type", title: t("record.type"), cell: ({ type: word }) => <code>{word}</code> },
    { id: "person", title: t("record.person"), cell: ({ person }) => person ?? "" },
    {
      id: "what",
      title: t("record.what"),
      cell: ({ fields }) => <span dir="auto">{summaryOf(fields)}</span>,
    },
  ];
}

function RecordFilter({ span }: { readonly span: Span | undefined }) {
  const { t } = useWords();
  const [filters, filter] = useFilters();
  const [type, setType] = useState(filters.type ?? "");
  return (
    <form
      className="row"
      onSubmit={(event) => {
        event.preventDefault();
        filter({ type });
      }}
    >
      <TextInput
        label={t("record.type")}
        placeholder="control.change-planned"
        value={type}
        onChange={(event) => setType(event.currentTarget.value)}
      />
      <NativeSelect
        label={t("records.since")}
        value={span ?? ""}
        data={[
          { value: "", label: t("records.all") },
          { value: "hour", label: t("records.hour") },
          { value: "day", label: t("records.day") },
          { value: "week", label: t("records.week") },
        ]}
        onChange={(event) => filter({ since: event.currentTarget.value })}
      />
      <Button type="submit" variant="default">
        {t("filter")}
      </Button>
    </form>
  );
}

function Witnesses() {
  const { t, number } = useWords();
  const witnesses = useQuery({
    queryKey: ["witnesses"],
    queryFn: async () => (await call("GET /v1/ledger/witnesses")).value.items,
  });
  return (
    <Section title={t("witnesses.title")}>
      <Loading query={witnesses} />
      {witnesses.data?.length === 0 ? (
        <Empty what={t("witnesses.none")} why={t("witnesses.none.why")}>
          <code>sallyport ledger witness</code>
        </Empty>
      ) : null}
      <ul className="plain">
        {witnesses.data?.map(({ name, seenSize, seenAt }) => (
          <li key={name}>
            {name}: {t("witnesses.seen", { size: number(seenSize) })} <Time iso={seenAt} />
          </li>
        ))}
      </ul>
    </Section>
  );
}
