import { Button, Checkbox, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type SyntheticEvent, useState } from "react";
import { call, pathOf } from "../../api/client.ts";
import { useAct } from "../../app/act.tsx";
import { useWords } from "../../app/surroundings.tsx";
import { AsCli, ProblemBox, Section, Tag } from "../../parts/basics.tsx";

const LOOK_EVERY_MS = 1000;

export function ExportForm() {
  const { t } = useWords();
  const [reason, setReason] = useState("");
  const [people, setPeople] = useState(false);
  const [id, setId] = useState("");
  const [key, setKey] = useState(() => crypto.randomUUID());
  const act = useAct();
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    void act.run(async () => {
      const { value } = await call("POST /v1/ledger/exports", {
        body: { people, reason },
        idempotencyKey: key,
      });
      setId(value.id);
      setKey(crypto.randomUUID());
    });
  };
  return (
    <Section title={t("export.title")}>
      <p className="dim">{t("export.what")}</p>
      <ProblemBox problem={act.problem} />
      <form onSubmit={submit} className="stack">
        <TextInput
          label={t("reason")}
          description={t("reason.hint")}
          value={reason}
          required
          onChange={(event) => setReason(event.currentTarget.value)}
        />
        <Checkbox
          label={t("export.people")}
          checked={people}
          onChange={(event) => setPeople(event.currentTarget.checked)}
        />
        <div>
          <Button type="submit" variant="default" loading={act.isBusy}>
            {t("export.do")}
          </Button>
        </div>
      </form>
      <Made id={id} />
      <AsCli line="sallyport ledger export DIRECTORY" />
    </Section>
  );
}

function Made({ id }: { readonly id: string }) {
  const { t, number, bytes } = useWords();
  const made = useQuery({
    queryKey: ["export", id],
    enabled: id !== "",
    queryFn: async () =>
      (await call("GET /v1/ledger/exports/{export}", { params: { export: id } })).value,
    refetchInterval: ({ state }) => (state.data?.state === "running" ? LOOK_EVERY_MS : false),
  });
  const found = made.data;
  if (found === undefined) return null;
  return (
    <p role="status">
      <Tag>{t(`export.${found.state}`)}</Tag>{" "}
      {t("export.records", { count: number(found.records) })}{" "}
      {found.bytes === undefined ? null : bytes(found.bytes)} {found.why}{" "}
      {found.state === "ready" ? (
        <a
          href={pathOf("GET /v1/ledger/exports/{export}/file", {
            params: { export: found.id },
          })}
          download
        >
          {t("export.file")}
        </a>
      ) : null}
      {found.sha256 === undefined ? null : <code>{found.sha256}</code>}
    </p>
  );
}
