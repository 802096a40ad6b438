/** One's own factors: passkeys, a password with an app's codes, recovery codes. */
import { Button, PasswordInput, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type SyntheticEvent, useState } from "react";
import { call } from "../../api/client.ts";
import { useAct } from "../../app/act.tsx";
import { useWords } from "../../app/surroundings.tsx";
import { AsCli, Loading, ProblemBox, Section, Tag, Time } from "../../parts/basics.tsx";
import type { NewPasskey as NewPasskeyMade } from "../../api/web-authn.ts";
import { sessionQuery } from "../../api/queries.ts";
import { ForRoot } from "../sign-in/for-root.tsx";
import { addPasskey } from "../sign-in/link.ts";
import { Sessions } from "./person-sheet.tsx";

export function MineTab() {
  const { t } = useWords();
  const own = useQuery({
    queryKey: ["own-credentials"],
    queryFn: async () => (await call("GET /v1/session/credentials")).value.items,
  });
  return (
    <>
      <Section title={t("credentials.title")}>
        <Loading query={own} />
        <ul className="plain">
          {own.data?.map(({ id, kind, name, lastUsedAt }) => (
            <li key={id}>
              <Tag>{t(`credential.${kind}`)}</Tag> <span dir="auto">{name}</span>{" "}
              <span className="dim">
                {t("credential.used")} <Time iso={lastUsedAt} />
              </span>
            </li>
          ))}
        </ul>
        <AsCli line="sallyport api GET /v1/session/credentials" />
      </Section>
      <NewPasskey />
      <NewPassword />
      <NewTotp />
      <Codes />
      <Section title={t("sessions.title")}>
        <Sessions person={undefined} />
      </Section>
    </>
  );
}

function NewPasskey() {
  const { t } = useWords();
  const [name, setName] = useState("");
  const [made, setMade] = useState<NewPasskeyMade>();
  const person = useQuery(sessionQuery).data?.person;
  const act = useAct("own-credentials");
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    void act
      .run(async () => setMade(await addPasskey(name)))
      .then((isDone) => (isDone ? setName("") : undefined));
  };
  return (
    <Section title={t("passkey.title")}>
      <ProblemBox problem={act.problem} />
      <form onSubmit={submit} className="row">
        <TextInput
          label={t("passkey.name")}
          value={name}
          required
          onChange={(event) => setName(event.currentTarget.value)}
        />
        <Button type="submit" loading={act.isBusy}>
          {t("passkey.do")}
        </Button>
      </form>
      {made === undefined || person === undefined ? null : <ForRoot person={person} made={made} />}
    </Section>
  );
}

function NewPassword() {
  const { t } = useWords();
  const [password, setPassword] = useState("");
  const [isDone, setDone] = useState(false);
  const act = useAct("own-credentials");
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    void act
      .run(async () => await call("PUT /v1/session/password", { body: { password } }))
      .then((done) => {
        setDone(done);
        if (done) setPassword("");
      });
  };
  return (
    <Section title={t("password.title")}>
      <ProblemBox problem={act.problem} />
      <form onSubmit={submit} className="row">
        <PasswordInput
          label={t("password.new")}
          description={t("password.hint")}
          value={password}
          autoComplete="new-password"
          minLength={12}
          required
          onChange={(event) => setPassword(event.currentTarget.value)}
        />
        <Button type="submit" variant="default" loading={act.isBusy}>
          {t("password.do")}
        </Button>
      </form>
      {isDone ? <p role="status">{t("password.done")}</p> : null}
    </Section>
  );
}

function NewTotp() {
  const { t } = useWords();
  const [seed, setSeed] = useState<{ readonly flow: string; readonly uri: string }>();
  const [totp, setTotp] = useState("");
  const act = useAct("own-credentials");
  const secret = seed === undefined ? "" : (new URL(seed.uri).searchParams.get("secret") ?? "");
  const finish = (event: SyntheticEvent): void => {
    event.preventDefault();
    if (seed === undefined) return;
    void act
      .run(async () => await call("POST /v1/session/totp", { body: { flow: seed.flow, totp } }))
      .then((isDone) => (isDone ? setSeed(undefined) : undefined));
  };
  return (
    <Section title={t("totp.title")}>
      <ProblemBox problem={act.problem} />
      {seed === undefined ? (
        <Button
          variant="default"
          loading={act.isBusy}
          onClick={() =>
            void act.run(async () =>
              setSeed((await call("POST /v1/session/totp/begin", { body: {} })).value),
            )
          }
        >
          {t("totp.do")}
        </Button>
      ) : (
        <form onSubmit={finish} className="stack">
          <p>
            {t("totp.type")} <code>{secret}</code>
          </p>
          <p>
            <a href={seed.uri}>{t("totp.open")}</a>
          </p>
          <TextInput
            label={t("step-up.code")}
            value={totp}
            inputMode="numeric"
            required
            onChange={(event) => setTotp(event.currentTarget.value)}
          />
          <div>
            <Button type="submit">{t("totp.finish")}</Button>
          </div>
        </form>
      )}
    </Section>
  );
}

function Codes() {
  const { t } = useWords();
  const [codes, setCodes] = useState<readonly string[]>([]);
  const act = useAct("own-credentials");
  return (
    <Section title={t("codes.title")}>
      <p className="dim">{t("codes.what")}</p>
      <ProblemBox problem={act.problem} />
      {codes.length === 0 ? (
        <Button
          variant="default"
          loading={act.isBusy}
          onClick={() =>
            void act.run(async () =>
              setCodes((await call("POST /v1/session/recovery-codes", { body: {} })).value.codes),
            )
          }
        >
          {t("codes.do")}
        </Button>
      ) : (
        <div role="status">
          <p>{t("codes.once")}</p>
          <code className="cli">{codes.join("\n")}</code>
        </div>
      )}
    </Section>
  );
}
