/** What may cross, and how that is changed. */
import { useQuery } from "@tanstack/react-query";
import { driftQuery } from "../../api/queries.ts";
import { useWords } from "../../app/surroundings.tsx";
import { useFilters } from "../../app/use-search.ts";
import { Mark, Page } from "../../parts/basics.tsx";
import { Tabs } from "../../parts/tabs.tsx";
import { ChangesTab } from "./changes.tsx";
import { EditTab } from "./edit.tsx";
import { ExplainTab } from "./explain.tsx";
import { RulesTab } from "./rules.tsx";

const TABS = ["rules", "edit", "changes", "explain"] as const;

export function ConduitsPage() {
  const { t } = useWords();
  const [{ tab }] = useFilters();
  const now = TABS.find((one) => one === tab) ?? "rules";
  return (
    <Page title={t("nav.conduits")} lead={t("conduits.lead")}>
      <DriftBanner />
      <Tabs
        to="/conduits"
        now={now}
        tabs={TABS.map((id) => ({ id, title: t(`conduits.tab.${id}`) }))}
      />
      {now === "rules" ? <RulesTab /> : null}
      {now === "edit" ? <EditTab /> : null}
      {now === "changes" ? <ChangesTab /> : null}
      {now === "explain" ? <ExplainTab /> : null}
    </Page>
  );
}

function DriftBanner() {
  const { t, tn } = useWords();
  const differences = useQuery(driftQuery).data?.differences ?? [];
  if (differences.length === 0) return null;
  return (
    <div className="problem" role="alert">
      <p>
        <Mark priority="urgent" /> {tn("attention.drift", differences.length)}
      </p>
      <ul>
        {differences.map((one) => (
          <li key={one}>
            <code>{one}</code>
          </li>
        ))}
      </ul>
      <p className="dim">
        {t("problem.next")} <code>sallyport drift</code>
      </p>
    </div>
  );
}
