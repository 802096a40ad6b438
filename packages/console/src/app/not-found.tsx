import { Empty, Page } from "../parts/basics.tsx";
import { useWords } from "./surroundings.tsx";

export function NotFound() {
  const { t } = useWords();
  return (
    <Page title={t("not-found")}>
      <Empty what={t("not-found.what")} why={t("not-found.why")}>
        <a href="/">{t("nav.plant")}</a>
      </Empty>
    </Page>
  );
}
