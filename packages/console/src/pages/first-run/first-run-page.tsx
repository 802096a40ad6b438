/** From an empty gateway to one that judges: what is done, what is next, and what still needs the command line. */
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { call } from "../../api/client.ts";
import { approversQuery, draftQuery, statusQuery } from "../../api/queries.ts";
import { useWords } from "../../app/surroundings.tsx";
import { AsCli, Page, Section, Tag } from "../../parts/basics.tsx";
import { LookTab } from "../settings/look.tsx";
import { peopleQuery } from "../people/people.tsx";

export function FirstRunPage() {
  const { t } = useWords();
  const status = useQuery(statusQuery).data;
  const approvers = useQuery(approversQuery).data;
  const people = useQuery(peopleQuery).data;
  const draft = useQuery(draftQuery).data;
  const backups = useQuery({
    queryKey: ["backups"],
    queryFn: async () => (await call("GET /v1/backups", { query: { limit: 1 } })).value.items,
    retry: false,
  }).data;
  const isNamed = !/^\d+(\.\d+){3}$/.test(location.hostname);
  return (
    <Page title={t("first.title")} lead={t("first.lead")}>
      <ol className="steps">
        <Step title={t("first.key")} isDone={known(approvers, (all) => all.length > 0)}>
          <p>{t("first.key.what")}</p>
          <Link to="/people" search={{ tab: "mine" }}>
            {t("first.key.do")}
          </Link>
        </Step>
        <Step title={t("first.site")} isDone={isNamed}>
          <p>{t("first.site.what", { host: location.host })}</p>
          <LookTab />
          <AsCli
            line={`/var/lib/sallyport/main/control/settings.json: { "names": ["gateway.plant.example"], "port": 8443 }`}
          />
        </Step>
        <Step title={t("first.nics")} isDone={undefined}>
          <p>{t("first.nics.what")}</p>
          <AsCli line="ip -s link" />
        </Step>
        <Step
          title={t("first.policy")}
          isDone={known(status, (one) => one.generation !== undefined)}
        >
          <p>{t("first.policy.what")}</p>
          <Link to="/conduits" search={{ tab: "edit" }}>
            {t((draft?.files.length ?? 0) > 0 ? "first.policy.go-on" : "first.policy.do")}
          </Link>
          <p className="dim">{t("first.listen")}</p>
        </Step>
        <Step title={t("first.people")} isDone={known(people, (all) => all.length > 1)}>
          <p>{t("first.people.what")}</p>
          <Link to="/people">{t("first.people.do")}</Link>
        </Step>
        <Step title={t("first.backup")} isDone={known(backups, (all) => all.length > 0)}>
          <p>{t("first.backup.what")}</p>
          <Link to="/settings" search={{ tab: "backups" }}>
            {t("first.backup.do")}
          </Link>
        </Step>
      </ol>
      <Link to="/" className="button">
        {t("first.to-plant")}
      </Link>
    </Page>
  );
}

function known<Value>(
  value: Value | undefined,
  isDone: (value: Value) => boolean,
): boolean | undefined {
  return value === undefined ? undefined : isDone(value);
}

function Step({
  title,
  isDone,
  children,
}: {
  readonly title: string;
  readonly isDone: boolean | undefined;
  readonly children: ReactNode;
}) {
  const { t } = useWords();
  const word = isDone === undefined ? "first.unknown" : isDone ? "first.done" : "first.open";
  return (
    <li>
      <Section title={title} actions={<Tag>{t(word)}</Tag>}>
        {children}
      </Section>
    </li>
  );
}
