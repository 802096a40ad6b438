/** Who may do what, with which keys, and who was here when. */
import { useWords } from "../../app/surroundings.tsx";
import { useFilters } from "../../app/use-search.ts";
import { Page } from "../../parts/basics.tsx";
import { Tabs } from "../../parts/tabs.tsx";
import { AccessTab } from "./access.tsx";
import { ApproversTab } from "./approvers.tsx";
import { KeysTab } from "./api-keys.tsx";
import { MineTab } from "./mine.tsx";
import { PeopleTab } from "./people.tsx";

const TABS = ["people", "approvers", "access", "keys", "mine"] as const;

export function PeoplePage() {
  const { t } = useWords();
  const [{ tab }] = useFilters();
  const now = TABS.find((one) => one === tab) ?? "people";
  return (
    <Page title={t("nav.people")} lead={t("people.lead")}>
      <Tabs
        to="/people"
        now={now}
        tabs={TABS.map((id) => ({ id, title: t(`people.tab.${id}`) }))}
      />
      {now === "people" ? <PeopleTab /> : null}
      {now === "approvers" ? <ApproversTab /> : null}
      {now === "access" ? <AccessTab /> : null}
      {now === "keys" ? <KeysTab /> : null}
      {now === "mine" ? <MineTab /> : null}
    </Page>
  );
}
