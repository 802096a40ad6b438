/** What doctor says, what each process says, and how the kernel differs from the policy. */
import { useQuery } from "@tanstack/react-query";
import { call } from "../../api/client.ts";
import { driftQuery, statusQuery } from "../../api/queries.ts";
import { useWords } from "../../app/surroundings.tsx";
import { AsCli, Loading, Mark, Section, Tag, Time } from "../../parts/basics.tsx";

const EVERY_MS = 15_000;

export function HealthTab() {
  const { t } = useWords();
  const status = useQuery(statusQuery);
  const drift = useQuery(driftQuery);
  return (
    <>
      <Section title={t("health.promises")}>
        <Loading query={status} />
        {status.data?.degraded.length === 0 ? <p>{t("health.all")}</p> : null}
        <ul className="plain">
          {status.data?.degraded.map((sentence) => (
            <li key={sentence}>
              <Mark priority="high" /> {sentence}
            </li>
          ))}
        </ul>
        {status.data === undefined ? null : (
          <p className="dim">
            {t(status.data.timeTrusted ? "health.time-trusted" : "attention.time")}
          </p>
        )}
        <AsCli line="sallyport status" />
      </Section>
      <Section title={t("health.drift")}>
        <Loading query={drift} />
        {drift.data?.differences.length === 0 ? <p>{t("health.no-drift")}</p> : null}
        <ul className="plain">
          {drift.data?.differences.map((one) => (
            <li key={one}>
              <Mark priority="urgent" /> <code>{one}</code>
            </li>
          ))}
        </ul>
        {drift.data === undefined ? null : (
          <p className="small dim">
            <Time iso={drift.data.at} />
          </p>
        )}
        <AsCli line="sallyport drift" />
      </Section>
      <Processes />
      <Doctor />
      <Section title={t("health.certificates")}>
        <p className="dim">{t("health.certificates.unknown")}</p>
        <AsCli line="sallyport admin ca" />
      </Section>
    </>
  );
}

function Processes() {
  const { t } = useWords();
  const ready = useQuery({
    queryKey: ["readiness"],
    queryFn: async () => (await call("GET /readyz")).value,
    refetchInterval: EVERY_MS,
  });
  const processes = useQuery({
    queryKey: ["processes"],
    queryFn: async () => (await call("GET /v1/processes")).value.items,
    refetchInterval: EVERY_MS,
  });
  return (
    <Section title={t("health.processes")}>
      <Loading query={ready} />
      <ul className="plain">
        {ready.data?.processes.map(({ name, ready: isReady }) => (
          <li key={name}>
            {isReady ? <Tag>{t("health.answers")}</Tag> : <Mark priority="urgent" />} {name}
            {isReady ? "" : `: ${t("health.silent")}`}
          </li>
        ))}
      </ul>
      <Loading query={processes} />
      <ul className="plain">
        {processes.data?.map(({ name, state, since, restarts, why }) => (
          <li key={name}>
            <Tag>{t(`process.${state}`)}</Tag> {name} · <Time iso={since} /> ·{" "}
            {t("health.restarts", { restarts })} {why}
          </li>
        ))}
      </ul>
    </Section>
  );
}

function Doctor() {
  const { t } = useWords();
  const doctor = useQuery({
    queryKey: ["doctor"],
    queryFn: async () => (await call("GET /v1/doctor")).value.items,
  });
  return (
    <Section title={t("health.doctor")}>
      <Loading query={doctor} />
      <ul className="plain">
        {doctor.data?.map(({ check, state, why, hint }) => (
          <li key={check}>
            {state === "good" ? (
              <Tag>{t("health.good")}</Tag>
            ) : state === "unknown" ? (
              <Tag>{t("unknown")}</Tag>
            ) : (
              <Mark priority={state === "failed" ? "urgent" : "high"} />
            )}{" "}
            <b>{check}</b>: {why}
            {hint === undefined ? null : <code className="cli">{hint}</code>}
          </li>
        ))}
      </ul>
      <AsCli line="sallyport doctor" />
    </Section>
  );
}
