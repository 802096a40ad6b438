/** Whose signatures the enforcer counts; and new keys, which those before must sign for. */
import { Button, NativeSelect, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type SyntheticEvent, useState } from "react";
import { type AnswerOf, call } from "../../api/client.ts";
import { approversQuery, sessionQuery } from "../../api/queries.ts";
import { approveWithPasskey } from "../../api/web-authn.ts";
import { useAct } from "../../app/act.tsx";
import { useWords } from "../../app/surroundings.tsx";
import { AsCli, Empty, Loading, ProblemBox, Section, Tag, Time } from "../../parts/basics.tsx";

export function ApproversTab() {
  const { t } = useWords();
  const approvers = useQuery(approversQuery);
  return (
    <>
      <Section title={t("people.tab.approvers")}>
        <p className="dim">{t("approvers.what")}</p>
        <Loading query={approvers} />
        {approvers.data?.length === 0 ? (
          <Empty what={t("approvers.none")} why={t("approvers.none.why")}>
            <code>sallyport admin link</code>
          </Empty>
        ) : null}
        <ul className="plain">
          {approvers.data?.map(({ id, person, kind, enrolledAt }) => (
            <li key={id}>
              <b>{id}</b> · {person} · <Tag>{kind}</Tag> <Time iso={enrolledAt} />
            </li>
          ))}
        </ul>
        <AsCli line="sallyport approver list" />
      </Section>
      <Enrol />
      <SignEnrolment />
    </>
  );
}

function Enrol() {
  const { t } = useWords();
  const session = useQuery(sessionQuery).data;
  const own = useQuery({
    queryKey: ["own-credentials"],
    queryFn: async () => (await call("GET /v1/session/credentials")).value.items,
  });
  const passkeys = own.data?.filter(({ kind }) => kind === "passkey") ?? [];
  const [name, setName] = useState("");
  const [credential, setCredential] = useState("");
  const [made, setMade] = useState("");
  const act = useAct("approvers");
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    if (session === undefined) return;
    const key = { kind: "passkey", credential: credential || (passkeys[0]?.id ?? "") } as const;
    void act.run(async () => {
      const { value } = await call("POST /v1/approver-enrolments", {
        body: { person: session.person, name, key },
        idempotencyKey: crypto.randomUUID(),
      });
      setMade(value.id);
    });
  };
  return (
    <Section title={t("enrol.title")}>
      <p className="dim">{t("enrol.what")}</p>
      <ProblemBox problem={act.problem} />
      <form onSubmit={submit} className="row">
        <TextInput
          label={t("enrol.name")}
          value={name}
          required
          onChange={(event) => setName(event.currentTarget.value)}
        />
        <NativeSelect
          label={t("enrol.passkey")}
          value={credential}
          data={passkeys.map(({ id, name: label }) => ({ value: id, label }))}
          onChange={(event) => setCredential(event.currentTarget.value)}
        />
        <Button type="submit" loading={act.isBusy} disabled={passkeys.length === 0}>
          {t("enrol.do")}
        </Button>
      </form>
      {made === "" ? null : (
        <p role="status">
          {t("enrol.made")} <code>{made}</code>
        </p>
      )}
    </Section>
  );
}

type Enrolment = AnswerOf<"GET /v1/approver-enrolments/{enrolment}">;

function SignEnrolment() {
  const { t } = useWords();
  const [id, setId] = useState("");
  const [found, setFound] = useState<Enrolment>();
  const person = useQuery(sessionQuery).data?.person;
  const key = useQuery(approversQuery).data?.find(
    (one) => one.person === person && one.kind === "passkey",
  );
  const act = useAct("approvers");
  const params = { enrolment: id };
  const look = (event: SyntheticEvent): void => {
    event.preventDefault();
    void act.run(async () =>
      setFound((await call("GET /v1/approver-enrolments/{enrolment}", { params })).value),
    );
  };
  const sign = async ({ signable }: Enrolment): Promise<void> => {
    if (key === undefined) return;
    const body = {
      ...({ kind: "passkey", key: key.id } as const),
      ...(await approveWithPasskey(signable.bytes, signable.sha256)),
    };
    setFound(
      (await call("POST /v1/approver-enrolments/{enrolment}/approvals", { params, body })).value,
    );
  };
  const finish = async (): Promise<void> => {
    setFound(
      (await call("POST /v1/approver-enrolments/{enrolment}/finish", { params, body: {} })).value,
    );
  };
  return (
    <Section title={t("enrolment.title")}>
      <p className="dim">{t("enrolment.what")}</p>
      <ProblemBox problem={act.problem} />
      <form onSubmit={look} className="row">
        <TextInput
          label={t("enrolment.id")}
          value={id}
          required
          onChange={(event) => setId(event.currentTarget.value)}
        />
        <Button type="submit" variant="default" loading={act.isBusy}>
          {t("enrolment.look")}
        </Button>
      </form>
      {found === undefined ? null : (
        <EnrolmentView
          enrolment={found}
          canSign={key !== undefined}
          onSign={() => void act.run(() => sign(found))}
          onFinish={() => void act.run(finish)}
        />
      )}
    </Section>
  );
}

function EnrolmentView({
  enrolment,
  canSign,
  onSign,
  onFinish,
}: {
  readonly enrolment: Enrolment;
  readonly canSign: boolean;
  readonly onSign: () => void;
  readonly onFinish: () => void;
}) {
  const { t } = useWords();
  return (
    <div className="part">
      <p>
        <Tag>{t(`enrolment.${enrolment.state}`)}</Tag> {enrolment.person} · {enrolment.name} ·{" "}
        {t("sign.count", {
          given: enrolment.signable.approvals.length,
          needed: enrolment.signable.needed,
        })}
      </p>
      <code className="cli">{enrolment.signable.bytes}</code>
      <div className="row">
        {enrolment.state === "waiting" ? (
          <Button disabled={!canSign} onClick={onSign}>
            {t("sign.do")}
          </Button>
        ) : null}
        {enrolment.state === "approved" ? (
          <Button onClick={onFinish}>{t("enrolment.finish")}</Button>
        ) : null}
      </div>
    </div>
  );
}
