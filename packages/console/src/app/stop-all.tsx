/** Stop all remote access: a closing act, so one confirmation and a reason, no signature. */
import { Button, TextInput } from "@mantine/core";
import { type SyntheticEvent, useState } from "react";
import { call } from "../api/client.ts";
import { AsCli, ProblemBox } from "../parts/basics.tsx";
import { Sheet } from "../parts/sheet.tsx";
import { useAct } from "./act.tsx";
import { useWords } from "./surroundings.tsx";

export function StopAll({
  grants,
  onClose,
}: {
  readonly grants: number | undefined;
  readonly onClose: () => void;
}) {
  const { t, tn } = useWords();
  const [reason, setReason] = useState("");
  const [revoked, setRevoked] = useState<number>();
  const act = useAct("grants", "grant-requests", "status", "conduits");
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    void act.run(async () => {
      const { value } = await call("POST /v1/grants/revoke-all", { body: { reason } });
      setRevoked(value.revoked);
    });
  };
  return (
    <Sheet title={t("stop-all.title")} onClose={onClose}>
      {revoked === undefined ? (
        <form onSubmit={submit} className="stack">
          <p>
            {grants === undefined ? t("stop-all.unknown") : tn("stop-all.effect", grants)}{" "}
            {t("stop-all.stays")}
          </p>
          <ProblemBox problem={act.problem} />
          <TextInput
            label={t("reason")}
            description={t("reason.hint")}
            value={reason}
            required
            data-autofocus
            onChange={(event) => setReason(event.currentTarget.value)}
          />
          <Button type="submit" loading={act.isBusy} className="stop">
            ▲ {t("stop-all.title")}
          </Button>
        </form>
      ) : (
        <p role="status">{tn("stop-all.done", revoked)}</p>
      )}
      <AsCli line={`sallyport api POST /v1/grants/revoke-all '{ "reason": "…" }'`} />
    </Sheet>
  );
}
