/** Requests for access that wait, and the grants that live. */
import { Button, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { call, type ItemOf } from "../../api/client.ts";
import { approversQuery, grantsQuery, requestsQuery, sessionQuery } from "../../api/queries.ts";
import { approveWithPasskey } from "../../api/web-authn.ts";
import { useAct } from "../../app/act.tsx";
import { useNowMs, useWords } from "../../app/surroundings.tsx";
import { AsCli, Empty, Loading, ProblemBox, Section, Time } from "../../parts/basics.tsx";

export function AccessTab() {
  const { t, number } = useWords();
  const nowMs = useNowMs();
  const requests = useQuery(requestsQuery);
  const grants = useQuery(grantsQuery);
  const act = useAct("grants", "status");
  return (
    <>
      <Section title={t("requests.title")}>
        <Loading query={requests} />
        {requests.data?.length === 0 ? (
          <Empty what={t("requests.none")} why={t("requests.none.why")} />
        ) : null}
        {requests.data?.map((request) => (
          <Request key={request.id} request={request} />
        ))}
        <AsCli line="sallyport api GET '/v1/grant-requests?state=waiting'" />
      </Section>
      <Section title={t("grants.title")}>
        <Loading query={grants} />
        <ProblemBox problem={act.problem} />
        {grants.data?.length === 0 ? (
          <Empty what={t("grants.none")} why={t("grants.none.why")} />
        ) : null}
        <ul className="plain">
          {grants.data?.map(({ id, person, conduit, asset, source, until, packets }) => (
            <li key={id}>
              <b>{person}</b> → {asset} ({conduit}, {source}) ·{" "}
              {t("grants.left", {
                minutes: number(Math.max(0, Math.ceil((Date.parse(until) - nowMs) / 60_000))),
              })}{" "}
              <Time iso={until} /> · {t("grants.packets", { packets: number(packets) })}{" "}
              <button
                type="button"
                className="link"
                onClick={() =>
                  void act.run(
                    async () =>
                      await call("POST /v1/grants/{grant}/revoke", {
                        params: { grant: id },
                        body: { reason: t("grants.revoke.reason") },
                      }),
                  )
                }
              >
                {t("grants.revoke")}
              </button>
            </li>
          ))}
        </ul>
        <AsCli line="sallyport grant list" />
      </Section>
    </>
  );
}

function Request({ request }: { readonly request: ItemOf<"GET /v1/grant-requests"> }) {
  const { t, number } = useWords();
  const act = useAct("grant-requests", "grants", "status");
  const [reason, setReason] = useState("");
  const person = useQuery(sessionQuery).data?.person;
  const key = useQuery(approversQuery).data?.find(
    (one) => one.person === person && one.kind === "passkey",
  );
  const params = { request: request.id };
  const approve = async (): Promise<void> => {
    if (key === undefined) return;
    const signed = await approveWithPasskey(request.signable.bytes, request.signable.sha256);
    const body = { ...({ kind: "passkey", key: key.id } as const), ...signed };
    await call("POST /v1/grant-requests/{request}/approvals", { params, body });
  };
  return (
    <article className="card">
      <p>
        <b>{request.person}</b> → {request.asset} · {request.conduit} ·{" "}
        {t("requests.minutes", { minutes: number(Math.round(request.seconds / 60)) })}
      </p>
      <p dir="auto">{request.reason}</p>
      <p className="dim small">
        {request.source} · <Time iso={request.createdAt} /> {request.ticket}
      </p>
      <ProblemBox problem={act.problem} />
      <div className="row">
        <Button
          loading={act.isBusy}
          disabled={key === undefined || request.person === person}
          onClick={() => void act.run(approve)}
        >
          {t("sign.do")}
        </Button>
        <TextInput
          label={t("reason")}
          value={reason}
          onChange={(event) => setReason(event.currentTarget.value)}
        />
        <Button
          variant="default"
          disabled={reason.trim() === ""}
          onClick={() =>
            void act.run(
              async () =>
                await call("POST /v1/grant-requests/{request}/deny", { params, body: { reason } }),
            )
          }
        >
          {t("requests.deny")}
        </Button>
      </div>
    </article>
  );
}
