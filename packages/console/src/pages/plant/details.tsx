/** What stands behind a zone and behind a line of the map. */
import { Button, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type SyntheticEvent, useState } from "react";
import { call } from "../../api/client.ts";
import {
  denialsQuery,
  liveDenialsQuery,
  flowsOf,
  type Flow,
  type Zone,
} from "../../api/queries.ts";
import { useAct } from "../../app/act.tsx";
import { useWords } from "../../app/surroundings.tsx";
import { AsCli, Empty, Loading, Mark, ProblemBox, Tag, Time } from "../../parts/basics.tsx";
import { keyOf } from "../../parts/key-of.ts";
import { Sheet } from "../../parts/sheet.tsx";
import { type Column, Table } from "../../parts/table.tsx";
import { withLive } from "./live-denials.ts";
import type { MapEdge, PlantMap } from "./model.ts";
import { reasonKey } from "./reasons.ts";

export function ZoneSheet({
  name,
  zone,
  map,
  onClose,
}: {
  readonly name: string;
  readonly zone: Zone | undefined;
  readonly map: PlantMap;
  readonly onClose: () => void;
}) {
  const { t, number } = useWords();
  const edges = map.edges.filter(({ from, to }) => from === name || to === name);
  return (
    <Sheet title={t("zone.title", { name })} isSide onClose={onClose}>
      <dl className="facts">
        <div>
          <dt>{t("zone.side")}</dt>
          <dd>{zone?.side ?? t("unknown")}</dd>
        </div>
        <div>
          <dt>{t("zone.approvals")}</dt>
          <dd>{zone === undefined ? t("unknown") : number(zone.approvals)}</dd>
        </div>
        <div>
          <dt>{t("zone.assets")}</dt>
          <dd className="dim">{t("zone.assets.unknown")}</dd>
        </div>
      </dl>
      <h3>{t("zone.conduits")}</h3>
      {edges.length === 0 ? (
        <Empty what={t("zone.no-conduits")} why={t("zone.no-conduits.why")} />
      ) : (
        <ul>
          {edges.map((edge) => (
            <li key={edge.id}>
              {edge.from} → {edge.to}:{" "}
              {edge.conduits.map((conduit) => (
                <Link key={conduit.name} to="/" search={{ conduit: conduit.name }}>
                  {conduit.name}{" "}
                </Link>
              ))}
              {edge.refused > 0 ? <Mark priority="low" /> : null}
            </li>
          ))}
        </ul>
      )}
      {zone === undefined || zone.side === "it" ? null : <Island zone={zone} />}
    </Sheet>
  );
}

function Island({ zone }: { readonly zone: Zone }) {
  const { t } = useWords();
  const act = useAct("zones", "status", "conduits");
  const [reason, setReason] = useState("");
  if (zone.island) {
    return (
      <p>
        <Mark priority="medium" /> {t("island.on")}{" "}
        <code>sallyport api POST /v1/zones/{zone.name}/reconnections</code>
      </p>
    );
  }
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    void act.run(
      async () =>
        await call("POST /v1/zones/{zone}/island", {
          params: { zone: zone.name },
          body: { reason },
        }),
    );
  };
  return (
    <form onSubmit={submit} className="stack">
      <h3>{t("island.title")}</h3>
      <p className="dim">{t("island.what")}</p>
      <ProblemBox problem={act.problem} />
      <TextInput
        label={t("reason")}
        value={reason}
        required
        onChange={(event) => setReason(event.currentTarget.value)}
      />
      <Button type="submit" variant="default" loading={act.isBusy}>
        {t("island.do")}
      </Button>
      <AsCli line={`sallyport island on ${zone.name}`} />
    </form>
  );
}

export function EdgeSheet({
  edge,
  onClose,
}: {
  readonly edge: MapEdge;
  readonly onClose: () => void;
}) {
  const { t, number, bytes, rate } = useWords();
  const speed = edge.bytesPerSecond;
  return (
    <Sheet title={`${edge.from} → ${edge.to}`} isSide onClose={onClose}>
      <p className="dim">
        {t("edge.rate")}: {speed === undefined ? t("unknown") : rate(speed)}
      </p>
      {edge.conduits.length === 0 ? <p>{t("edge.no-conduit")}</p> : null}
      {edge.conduits.map(({ name, via, open, until, reason, packets, bytes: size }) => (
        <section key={name} className="part">
          <h3>{name}</h3>
          <p>
            <Tag>{t(keyOf("via", via, VIAS), { via })}</Tag>{" "}
            <Tag>{open ? t("edge.open") : t("edge.closed", { reason: reason ?? "?" })}</Tag>{" "}
            {until === undefined ? null : (
              <span className="dim">
                {t("edge.until")} <Time iso={until} />
              </span>
            )}
          </p>
          <p className="dim">
            {t("edge.counted", { packets: number(packets), bytes: bytes(size) })}
          </p>
          <Link to="/conduits" search={{ conduit: name }}>
            {t("edge.rule")}
          </Link>
          <Decisions conduit={name} />
        </section>
      ))}
      <Refusals edge={edge} />
    </Sheet>
  );
}

const VIAS = ["proxy", "inspect", "session", "direct", "diode"];

function Decisions({ conduit }: { readonly conduit: string }) {
  const { t } = useWords();
  const flows = useQuery(flowsOf(conduit));
  const columns = useFlowColumns();
  return (
    <>
      <h4>{t("edge.decisions")}</h4>
      <Loading query={flows} />
      {flows.data === undefined ? null : flows.data.length === 0 ? (
        <p className="dim">{t("edge.no-decisions")}</p>
      ) : (
        <Table label={t("edge.decisions")} rows={flows.data} columns={columns} keyOf={flowKey} />
      )}
    </>
  );
}

function Refusals({ edge }: { readonly edge: MapEdge }) {
  const { t } = useWords();
  const columns = useFlowColumns();
  const names = new Set(edge.conduits.map(({ name }) => name));
  const listed = useQuery(denialsQuery).data?.items ?? [];
  const live = useQuery(liveDenialsQuery).data ?? [];
  const denials = withLive(listed, live).filter(
    ({ sourceZone, destinationZone, conduit }) =>
      names.has(conduit) || (sourceZone === edge.from && destinationZone === edge.to),
  );
  if (denials.length === 0) return null;
  const reasons = [...new Set(denials.map(({ reason }) => reason))];
  return (
    <section className="part">
      <h3>{t("edge.refused")}</h3>
      {reasons.map((reason) => (
        <p key={reason}>
          <code>{reason}</code> {t(reasonKey(reason), { reason })}
        </p>
      ))}
      <Table label={t("edge.refused")} rows={denials} columns={columns} keyOf={flowKey} />
      <p className="dim small">{t("edge.pcap")}</p>
      <AsCli line={`sallyport denials`} />
    </section>
  );
}

function flowKey({
  start,
  point,
  source,
  destination,
  port,
  function: what,
  reason,
}: Flow): string {
  return [start, point, source, destination, port, what, reason].join(" ");
}

function useFlowColumns(): readonly Column<Flow>[] {
  const { t, number } = useWords();
  return [
    { id: "at", title: t("flow.at"), cell: ({ start }) => <Time iso={start} /> },
    {
      id: "way",
      title: t("flow.way"),
      cell: ({ source, destination, protocol, port }) =>
        `${source} → ${destination} ${protocol}${port === 0 ? "" : `/${port}`}`,
    },
    {
      id: "what",
      title: t("flow.what"),
      cell: ({ function: what, reason }) => [what, reason].filter((one) => one !== "").join(" · "),
    },
    {
      id: "accepted",
      title: t("flow.accepted"),
      isNumber: true,
      cell: ({ accepted }) => number(accepted),
    },
    {
      id: "refused",
      title: t("flow.refused"),
      isNumber: true,
      cell: ({ refused }) => (refused === 0 ? "0" : `▲ ${number(refused)}`),
    },
  ];
}
