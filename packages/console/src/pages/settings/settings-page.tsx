import { useWords } from "../../app/surroundings.tsx";
import { useFilters } from "../../app/use-search.ts";
import { Page } from "../../parts/basics.tsx";
import { Tabs } from "../../parts/tabs.tsx";
import { AboutTab } from "./about.tsx";
import { BackupsTab } from "./backups.tsx";
import { ForwardingTab } from "./forwarding.tsx";
import { HealthTab } from "./health.tsx";
import { LookTab } from "./look.tsx";

const TABS = ["health", "forwarding", "backups", "look", "about"] as const;

export function SettingsPage() {
  const { t } = useWords();
  const [{ tab }] = useFilters();
  const now = TABS.find((one) => one === tab) ?? "health";
  return (
    <Page title={t("nav.settings")}>
      <Tabs
        to="/settings"
        now={now}
        tabs={TABS.map((id) => ({ id, title: t(`settings.tab.${id}`) }))}
      />
      {now === "health" ? <HealthTab /> : null}
      {now === "forwarding" ? <ForwardingTab /> : null}
      {now === "backups" ? <BackupsTab /> : null}
      {now === "look" ? <LookTab /> : null}
      {now === "about" ? <AboutTab /> : null}
    </Page>
  );
}
