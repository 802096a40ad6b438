/** A change that nobody confirmed yet, on every page: its end is near, and it is somebody's to decide. */
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { statusQuery } from "../api/queries.ts";
import { Mark } from "../parts/basics.tsx";
import { useNowMs, useWords } from "./surroundings.tsx";

export function PendingBanner() {
  const { t } = useWords();
  const pending = useQuery(statusQuery).data?.pending;
  const nowMs = useNowMs();
  if (pending === undefined) return null;
  const seconds = Math.max(0, Math.ceil((Date.parse(pending.confirmBy) - nowMs) / 1000));
  return (
    <div className="banner" role="status">
      <Mark priority="high" /> {t("pending", { generation: pending.generation, seconds })}{" "}
      <Link to="/conduits" search={{ tab: "changes" }}>
        {t("pending.go")}
      </Link>
    </div>
  );
}
