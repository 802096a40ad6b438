/** Home: what is connected, what was refused and why, what to do next. */
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useEffect, useMemo, useState } from "react";
import {
  changesQuery,
  conduitsQuery,
  denialsQuery,
  draftQuery,
  driftQuery,
  liveDenialsQuery,
  requestsQuery,
  runningQuery,
  sessionQuery,
  statusQuery,
  zonesQuery,
} from "../../api/queries.ts";
import { useWords } from "../../app/surroundings.tsx";
import { useFilters } from "../../app/use-search.ts";
import { Problem } from "../../api/problem.ts";
import { AsCli, Empty, Loading, Page } from "../../parts/basics.tsx";
import { attention } from "./attention.ts";
import { AttentionList } from "./attention-list.tsx";
import { EdgeSheet, ZoneSheet } from "./details.tsx";
import { Kpis } from "./kpis.tsx";
import { withLive } from "./live-denials.ts";
import { PlantDrawing } from "./map.tsx";
import { type Counted, countedOf, plantMap, zoneFacts } from "./model.ts";
import { Strip } from "./strip-view.tsx";

export function PlantPage() {
  const { t } = useWords();
  return (
    <Page title={t("nav.plant")}>
      <div className="plant">
        <div>
          <PlantMapPart />
          <Strip />
          <Kpis />
        </div>
        <Attention />
      </div>
      <AsCli line="sallyport status" />
    </Page>
  );
}

function PlantMapPart() {
  const { t } = useWords();
  const [filters, filter] = useFilters();
  const zones = useQuery(zonesQuery);
  const conduits = useQuery(conduitsQuery);
  const denials = useDenials();
  const texts = usePolicyTexts();
  const before = useCountersBefore(conduits.data?.items, conduits.dataUpdatedAt);
  const facts = useMemo(() => zoneFacts(texts), [texts]);
  const map = useMemo(
    () =>
      plantMap({
        zones: zones.data ?? [],
        conduits: conduits.data?.items ?? [],
        denials: denials.items,
        ...{ facts, before, atMs: conduits.dataUpdatedAt },
      }),
    [zones.data, conduits.data, conduits.dataUpdatedAt, denials.items, facts, before],
  );
  const code = zones.error instanceof Problem ? zones.error.told.code : "";
  if (code === "no-policy-in-force" || (zones.data !== undefined && map.nodes.length === 0)) {
    return (
      <Empty what={t("plant.empty")} why={t("plant.empty.why")}>
        <Link to="/first-run" className="button">
          {t("plant.empty.do")}
        </Link>
      </Empty>
    );
  }
  // Without the zones nobody knows which side is which, so there is no map to draw.
  if (zones.data === undefined) return <Loading query={zones} />;
  const edge = map.edges.find(
    ({ from, to, conduits: own }) =>
      own.some(({ name }) => name === filters.conduit) ||
      (from === filters.from && to === filters.to),
  );
  return (
    <>
      {denials.query.error === null ? null : <Loading query={denials.query} />}
      <PlantDrawing
        map={map}
        onZone={(zone) => filter({ zone })}
        onEdge={({ from, to }) => filter({ from, to })}
      />
      <p className="legend small dim">{t("map.legend")}</p>
      {filters.zone === undefined ? null : (
        <ZoneSheet
          name={filters.zone}
          zone={zones.data.find(({ name }) => name === filters.zone)}
          map={map}
          onClose={() => filter({ zone: "" })}
        />
      )}
      {edge === undefined ? null : (
        <EdgeSheet edge={edge} onClose={() => filter({ conduit: "", from: "", to: "" })} />
      )}
    </>
  );
}

/** Those of the list, and those told since. */
function useDenials() {
  const query = useQuery(denialsQuery);
  const live = useQuery(liveDenialsQuery).data;
  const items = useMemo(() => withLive(query.data?.items ?? [], live ?? []), [query.data, live]);
  return { query, items };
}

/** The running text when the gateway has it, else the draft's: only kinds and levels are read from it. */
function usePolicyTexts(): readonly string[] {
  const running = useQuery(runningQuery);
  const draft = useQuery(draftQuery);
  const files = running.data?.files ?? draft.data?.files;
  return useMemo(() => (files ?? []).map(({ text }) => text), [files]);
}

/** The reading before the last, of which a rate is made. */
function useCountersBefore(
  conduits: Parameters<typeof countedOf>[0] | undefined,
  atMs: number,
): Counted | undefined {
  const [kept, setKept] = useState<{ readonly last?: Counted; readonly before?: Counted }>({});
  useEffect(() => {
    if (conduits === undefined) return;
    setKept(({ last }) => {
      const now = countedOf(conduits, atMs);
      return last === undefined || last.atMs === atMs ? { last: now } : { last: now, before: last };
    });
  }, [conduits, atMs]);
  return kept.before;
}

function Attention() {
  const status = useQuery(statusQuery);
  const drift = useQuery(driftQuery);
  const changes = useQuery(changesQuery);
  const requests = useQuery(requestsQuery);
  const conduits = useQuery(conduitsQuery);
  const denials = useDenials();
  const session = useQuery(sessionQuery);
  const cards = useMemo(
    () =>
      attention({
        ...{ status: status.data, drift: drift.data },
        changes: changes.data ?? [],
        requests: requests.data ?? [],
        conduits: conduits.data?.items ?? [],
        denials: denials.items,
        person: session.data?.person ?? "",
        nowMs: Math.max(status.dataUpdatedAt, denials.query.dataUpdatedAt),
      }),
    [
      ...[status.data, drift.data, changes.data, requests.data, conduits.data, denials.items],
      ...[session.data, denials.query.dataUpdatedAt, status.dataUpdatedAt],
    ],
  );
  const isKnown = [status, drift, changes, denials.query].every(({ isSuccess }) => isSuccess);
  return <AttentionList cards={cards} isKnown={isKnown} />;
}
