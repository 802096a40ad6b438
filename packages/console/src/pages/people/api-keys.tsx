import { Button, NumberInput, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type SyntheticEvent, useState } from "react";
import { call } from "../../api/client.ts";
import { useAct } from "../../app/act.tsx";
import { useWords } from "../../app/surroundings.tsx";
import { AsCli, Empty, Loading, ProblemBox, Section, Time } from "../../parts/basics.tsx";

const DAYS = 90;
const DAYS_MAX = 366;

export function KeysTab() {
  const { t } = useWords();
  const keys = useQuery({
    queryKey: ["keys"],
    queryFn: async () => (await call("GET /v1/keys", { query: { limit: 200 } })).value.items,
  });
  const act = useAct("keys");
  return (
    <>
      <Section title={t("people.tab.keys")}>
        <Loading query={keys} />
        <ProblemBox problem={act.problem} />
        {keys.data?.length === 0 ? <Empty what={t("keys.none")} why={t("keys.none.why")} /> : null}
        <ul className="plain">
          {keys.data?.map(({ id, name: label, owner, scopes: may, endsAt, lastUsedAt }) => (
            <li key={id}>
              <b dir="auto">{label}</b> · {owner} · {may.join(", ")} · {t("keys.ends")}{" "}
              <Time iso={endsAt} /> · {t("credential.used")} <Time iso={lastUsedAt} />{" "}
              <button
                type="button"
                className="link"
                onClick={() =>
                  void act.run(
                    async () => await call("DELETE /v1/keys/{key}", { params: { key: id } }),
                  )
                }
              >
                {t("remove")}
              </button>
            </li>
          ))}
        </ul>
      </Section>
      <NewKey />
    </>
  );
}

function NewKey() {
  const { t } = useWords();
  const [name, setName] = useState("");
  const [scopes, setScopes] = useState("plant.read");
  const [days, setDays] = useState(DAYS);
  const [secret, setSecret] = useState("");
  const act = useAct("keys");
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    const list = scopes.split(/[\s,]+/).filter((scope) => scope !== "");
    void act.run(async () => {
      setSecret((await call("POST /v1/keys", { body: { name, scopes: list, days } })).value.secret);
    });
  };
  return (
    <Section title={t("keys.new")}>
      <ProblemBox problem={act.problem} />
      <form onSubmit={submit} className="fields">
        <TextInput
          label={t("keys.name")}
          value={name}
          required
          onChange={(event) => setName(event.currentTarget.value)}
        />
        <TextInput
          label={t("keys.scopes")}
          value={scopes}
          required
          onChange={(event) => setScopes(event.currentTarget.value)}
        />
        <NumberInput
          label={t("keys.days")}
          value={days}
          min={1}
          max={DAYS_MAX}
          hideControls
          onChange={(value) => setDays(Number(value))}
        />
        <Button type="submit" loading={act.isBusy}>
          {t("keys.do")}
        </Button>
      </form>
      {secret === "" ? null : (
        <div className="note" role="status">
          <p>{t("keys.once")}</p>
          <code className="cli">{secret}</code>
        </div>
      )}
      <AsCli
        line={`sallyport api POST /v1/keys '{ "name": "…", "scopes": ["plant.read"], "days": ${days} }'`}
      />
    </Section>
  );
}
