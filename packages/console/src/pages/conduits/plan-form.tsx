/** The saved draft becomes a change that can be looked at and signed. */
import { Button, TextInput } from "@mantine/core";
import { Link, useNavigate } from "@tanstack/react-router";
import { type SyntheticEvent, useState } from "react";
import { call } from "../../api/client.ts";
import { useAct } from "../../app/act.tsx";
import { useWords } from "../../app/surroundings.tsx";
import { ProblemBox, Section } from "../../parts/basics.tsx";

export function PlanForm({
  sha256,
  isReady,
}: {
  readonly sha256: string;
  readonly isReady: boolean;
}) {
  const { t } = useWords();
  const navigate = useNavigate();
  const [reason, setReason] = useState("");
  const [ticket, setTicket] = useState("");
  const [key] = useState(() => crypto.randomUUID());
  const act = useAct("changes");
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    void act.run(async () => {
      const { value } = await call("POST /v1/changes", {
        body: { reason, draftSha256: sha256, ...(ticket === "" ? {} : { ticket }) },
        idempotencyKey: `${key}-${sha256.slice(0, 16)}`,
      });
      await navigate({ to: "/conduits", search: { tab: "changes", change: value.id } });
    });
  };
  return (
    <Section title={t("plan.title")}>
      <p className="dim">{t("plan.what")}</p>
      <ProblemBox problem={act.problem} />
      <form onSubmit={submit} className="stack">
        <TextInput
          label={t("reason")}
          description={t("reason.hint")}
          value={reason}
          required
          onChange={(event) => setReason(event.currentTarget.value)}
        />
        <TextInput
          label={t("plan.ticket")}
          value={ticket}
          onChange={(event) => setTicket(event.currentTarget.value)}
        />
        <div className="row">
          <Button type="submit" disabled={!isReady} loading={act.isBusy}>
            {t("plan.do")}
          </Button>
          {isReady ? null : <span className="dim">{t("plan.not-ready")}</span>}
          <Link to="/conduits" search={{ tab: "changes" }}>
            {t("conduits.tab.changes")}
          </Link>
        </div>
      </form>
    </Section>
  );
}
