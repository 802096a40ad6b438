import { useQuery } from "@tanstack/react-query";
import { conduitsQuery, denialsQuery, grantsQuery, zonesQuery } from "../../api/queries.ts";
import { useWords } from "../../app/surroundings.tsx";
import { Section } from "../../parts/basics.tsx";

/** What can be measured so far; the rest is said to be unknown. */
export function Kpis() {
  const { t, number } = useWords();
  const zones = useQuery(zonesQuery);
  const conduits = useQuery(conduitsQuery);
  const denials = useQuery(denialsQuery);
  const grants = useQuery(grantsQuery);
  const items = conduits.data?.items;
  const proxied = items?.filter(({ via }) => via !== "direct").length;
  const refused = denials.data?.items.reduce((sum, flow) => sum + flow.refused, 0);
  const shown = (value: number | undefined): string =>
    value === undefined ? t("unknown") : number(value);
  const facts = [
    [t("kpi.zones"), shown(zones.data?.length)],
    [
      t("kpi.conduits"),
      items === undefined
        ? t("unknown")
        : `${number(items.filter(({ open }) => open).length)} / ${number(items.length)}`,
    ],
    [
      t("kpi.proxied"),
      items === undefined ? t("unknown") : `${number(proxied ?? 0)} / ${number(items.length)}`,
    ],
    [t("kpi.refused"), shown(refused)],
    [t("kpi.grants"), shown(grants.data?.length)],
    [t("kpi.assets"), t("unknown")],
    [t("kpi.mttd"), t("unknown")],
  ] as const;
  return (
    <Section title={t("kpi.title")}>
      <dl className="kpis">
        {facts.map(([title, value]) => (
          <div key={title}>
            <dt>{title}</dt>
            <dd className={value === t("unknown") ? "dim" : undefined}>{value}</dd>
          </div>
        ))}
      </dl>
    </Section>
  );
}
