/** One change: its differences, who signed, and the one step that is next. */
import { Button, NumberInput, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type SyntheticEvent, useState } from "react";
import { call } from "../../api/client.ts";
import { approversQuery, type Change, sessionQuery } from "../../api/queries.ts";
import { approveWithPasskey } from "../../api/web-authn.ts";
import { type Act, useAct } from "../../app/act.tsx";
import { useNowMs, useWords } from "../../app/surroundings.tsx";
import { AsCli, Mark, ProblemBox, Section, Tag, Time } from "../../parts/basics.tsx";
import { nextStep } from "./change-steps.ts";

const CONFIRM_SECONDS = 90;
const CONFIRM_SECONDS_MIN = 10;
const CONFIRM_SECONDS_MAX = 3600;

export function ChangeView({ change }: { readonly change: Change }) {
  const { t } = useWords();
  const act = useAct("changes", "status", "policy", "zones", "conduits");
  return (
    <Section title={`${t("change.title")} ${change.baseGeneration} → ${change.nextGeneration}`}>
      <p>
        <Tag>{t(`change.${change.state}`)}</Tag> <span dir="auto">{change.reason}</span>{" "}
        <span className="dim">
          {change.author}, <Time iso={change.createdAt} />
          {change.ticket === undefined ? "" : ` · ${change.ticket}`}
        </span>
      </p>
      <Diffs change={change} />
      <Signatures change={change} />
      <ProblemBox problem={act.problem} />
      <Next change={change} act={act} />
      <AsCli
        line={`sallyport api GET /v1/changes/${change.id}\nsallyport api POST /v1/changes/${change.id}/apply '{ "sha256": "${change.signable.sha256}", "confirmWithinSeconds": ${CONFIRM_SECONDS} }'\nsallyport api POST /v1/changes/${change.id}/confirm '{}'`}
      />
    </Section>
  );
}

function Diffs({ change: { diff } }: { readonly change: Change }) {
  const { t } = useWords();
  const parts = [
    ["+", "diff.opens", diff.opens],
    ["−", "diff.closes", diff.closes],
    ["~", "diff.changes", diff.changes],
  ] as const;
  return (
    <div className="diffs">
      <div>
        <h3>{t("diff.meaning")}</h3>
        <p className="dim">{t(diff.isOpening ? "diff.opening" : "diff.closing")}</p>
        {parts.map(([sign, title, lines]) =>
          lines.length === 0 ? null : (
            <div key={sign}>
              <h4>{t(title)}</h4>
              <ul className="diff">
                {lines.map((line) => (
                  <li key={line}>
                    <span aria-hidden="true">{sign}</span> {line}
                  </li>
                ))}
              </ul>
            </div>
          ),
        )}
        {parts.every(([, , lines]) => lines.length === 0) ? <p>{t("diff.none")}</p> : null}
      </div>
      <div>
        <h3>{t("diff.kernel")}</h3>
        <p className="dim">{t("diff.kernel.unknown")}</p>
        <h3>{t("diff.effect")}</h3>
        <p className="dim">{t("diff.effect.unknown")}</p>
        <code className="cli">sallyport plan POLICY --replay</code>
      </div>
    </div>
  );
}

function Signatures({ change: { signable } }: { readonly change: Change }) {
  const { t, tn, number } = useWords();
  const { approvals, needed, keyNeeded, sha256 } = signable;
  return (
    <div>
      <h3>{t("sign.title")}</h3>
      <p>
        {t("sign.count", { given: number(approvals.length), needed: number(needed) })}{" "}
        {keyNeeded ? t("sign.key-needed") : null}
      </p>
      <ul className="plain">
        {approvals.map(({ person, kind, at }) => (
          <li key={`${person} ${at}`}>
            {person} · {kind} · <Time iso={at} />
          </li>
        ))}
      </ul>
      <p className="small dim">
        {tn("sign.bytes", signable.bytes.length)} SHA-256 <code>{sha256}</code>
      </p>
    </div>
  );
}

function Next({ change, act }: { readonly change: Change; readonly act: Act }) {
  const { t } = useWords();
  const session = useQuery(sessionQuery).data;
  const step = nextStep(change, session?.person ?? "");
  switch (step) {
    case "wait-for-others":
      return <p className="note">{t("change.wait-for-others")}</p>;
    case "sign":
      return <Sign change={change} act={act} />;
    case "apply":
      return <Apply change={change} act={act} />;
    case "confirm":
      return <Confirm change={change} act={act} />;
    case "rolled-back":
      return (
        <p className="note">
          <Mark priority="medium" /> {t("change.rolled-back.said")}
        </p>
      );
    case "nothing":
      return null;
    default:
      return step satisfies never;
  }
}

type StepProps = { readonly change: Change; readonly act: Act };

function Sign({ change, act }: StepProps) {
  const { t } = useWords();
  const person = useQuery(sessionQuery).data?.person;
  const approvers = useQuery(approversQuery);
  const key = approvers.data?.find((one) => one.person === person && one.kind === "passkey");
  const sign = (): void => {
    if (key === undefined) return;
    void act.run(async () => {
      const { bytes, sha256 } = change.signable;
      const signed = await approveWithPasskey(bytes, sha256);
      await call("POST /v1/changes/{change}/approvals", {
        params: { change: change.id },
        body: { kind: "passkey", key: key.id, ...signed },
      });
    });
  };
  return (
    <>
      {approvers.isSuccess && key === undefined ? <p className="note">{t("sign.no-key")}</p> : null}
      <div className="row">
        <Button onClick={sign} loading={act.isBusy} disabled={key === undefined}>
          {t("sign.do")}
        </Button>
        <Withdraw change={change} act={act} />
      </div>
    </>
  );
}

function Withdraw({ change, act }: StepProps) {
  const { t } = useWords();
  const person = useQuery(sessionQuery).data?.person;
  if (change.author !== person) return null;
  const reason = t("change.withdraw.reason");
  return (
    <Button
      variant="default"
      onClick={() =>
        void act.run(
          async () =>
            await call("POST /v1/changes/{change}/withdraw", {
              params: { change: change.id },
              body: { reason },
            }),
        )
      }
    >
      {t("change.withdraw")}
    </Button>
  );
}

function Apply({ change, act }: StepProps) {
  const { t } = useWords();
  const [seconds, setSeconds] = useState<number>(CONFIRM_SECONDS);
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    void act.run(
      async () =>
        await call("POST /v1/changes/{change}/apply", {
          params: { change: change.id },
          body: { sha256: change.signable.sha256, confirmWithinSeconds: seconds },
        }),
    );
  };
  return (
    <form onSubmit={submit} className="stack">
      <p>{t("apply.what")}</p>
      <NumberInput
        label={t("apply.seconds")}
        value={seconds}
        min={CONFIRM_SECONDS_MIN}
        max={CONFIRM_SECONDS_MAX}
        hideControls
        onChange={(value) => setSeconds(Number(value))}
      />
      <div className="row">
        <Button type="submit" loading={act.isBusy}>
          {t("apply.do")}
        </Button>
        <Withdraw change={change} act={act} />
      </div>
      {act.isBusy ? <p role="status">{t("apply.busy")}</p> : null}
    </form>
  );
}

function Confirm({ change, act }: StepProps) {
  const { t } = useWords();
  const nowMs = useNowMs();
  const [reason, setReason] = useState("");
  const endMs = Date.parse(change.confirmBy ?? "");
  const seconds = Math.max(0, Math.ceil((endMs - nowMs) / 1000));
  const params = { change: change.id };
  if (seconds === 0) {
    return <p role="status">{t("confirm.over")}</p>;
  }
  return (
    <div className="confirm" role="group" aria-label={t("confirm.title")}>
      <p>
        <Mark priority="high" /> <b>{t("confirm.left", { seconds })}</b>
      </p>
      <p>{t("confirm.what")}</p>
      <div className="row">
        <Button
          loading={act.isBusy}
          onClick={() =>
            void act.run(
              async () => await call("POST /v1/changes/{change}/confirm", { params, body: {} }),
            )
          }
        >
          {t("confirm.do")}
        </Button>
        <TextInput
          aria-label={t("confirm.back-reason")}
          placeholder={t("confirm.back-reason")}
          value={reason}
          onChange={(event) => setReason(event.currentTarget.value)}
        />
        <Button
          variant="default"
          disabled={reason.trim() === ""}
          onClick={() =>
            void act.run(
              async () =>
                await call("POST /v1/changes/{change}/roll-back", { params, body: { reason } }),
            )
          }
        >
          {t("confirm.back")}
        </Button>
      </div>
    </div>
  );
}
