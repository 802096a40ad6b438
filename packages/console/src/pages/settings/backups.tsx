import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { call } from "../../api/client.ts";
import { useAct } from "../../app/act.tsx";
import { useWords } from "../../app/surroundings.tsx";
import {
  AsCli,
  Empty,
  Loading,
  Mark,
  ProblemBox,
  Section,
  Tag,
  Time,
} from "../../parts/basics.tsx";

export function BackupsTab() {
  const { t, bytes } = useWords();
  const act = useAct("backups");
  const backups = useQuery({
    queryKey: ["backups"],
    queryFn: async () => (await call("GET /v1/backups", { query: { limit: 50 } })).value.items,
  });
  const make = async (): Promise<unknown> =>
    await call("POST /v1/backups", { body: {}, idempotencyKey: crypto.randomUUID() });
  return (
    <Section title={t("settings.tab.backups")}>
      <Loading query={backups} />
      <ProblemBox problem={act.problem} />
      {backups.data?.length === 0 ? (
        <Empty what={t("backups.none")} why={t("backups.none.why")} />
      ) : null}
      {backups.data === undefined ? null : (
        <p>
          <Button loading={act.isBusy} onClick={() => void act.run(make)}>
            {t("backups.do")}
          </Button>
        </p>
      )}
      <ul className="plain">
        {backups.data?.map(({ id, createdAt, bytes: size, verified, verifiedAt, why }) => (
          <li key={id}>
            {verified === "failed" ? (
              <Mark priority="urgent" />
            ) : (
              <Tag>{t(`backup.${verified}`)}</Tag>
            )}{" "}
            <b>{id}</b> · <Time iso={createdAt} /> · {bytes(size)} · {t("backups.verified")}{" "}
            <Time iso={verifiedAt} /> {why}{" "}
            <button
              type="button"
              className="link"
              onClick={() =>
                void act.run(
                  async () =>
                    await call("POST /v1/backups/{backup}/verify", {
                      params: { backup: id },
                      body: {},
                    }),
                )
              }
            >
              {t("backups.verify")}
            </button>
          </li>
        ))}
      </ul>
      <AsCli line="sallyport api POST /v1/backups {}" />
    </Section>
  );
}
