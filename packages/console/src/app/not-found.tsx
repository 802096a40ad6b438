import { asProblem } from "../api/problem.ts";
import { Empty, Page, ProblemBox } from "../parts/basics.tsx";
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

/** A page that failed says so, and what to do; the rest of the console goes on. */
export function Failed({ error }: { readonly error: unknown }) {
  const { t } = useWords();
  return (
    <Page title={t("failed")}>
      <ProblemBox problem={asProblem(error)} />
      <button type="button" className="quiet" onClick={() => location.reload()}>
        {t("try-again")}
      </button>
    </Page>
  );
}
