import { Button, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { call } from "../../api/client.ts";
import { useAct } from "../../app/act.tsx";
import { useWords } from "../../app/surroundings.tsx";
import { Loading, ProblemBox, Tag, Time } from "../../parts/basics.tsx";
import { Sheet } from "../../parts/sheet.tsx";
import { InviteLink, type Person, RolePicker } from "./person-parts.tsx";

export function PersonSheet({
  person,
  onClose,
}: {
  readonly person: Person;
  readonly onClose: () => void;
}) {
  const { t } = useWords();
  const params = { person: person.id };
  const [roles, setRoles] = useState<readonly string[]>(person.roles);
  const [secret, setSecret] = useState("");
  const act = useAct("people", "credentials");
  return (
    <Sheet title={`${person.name} (${person.id})`} isSide onClose={onClose}>
      <p>
        <Tag>{t(`person.${person.state}`)}</Tag> {t("person.since")} <Time iso={person.createdAt} />
        {" · "}
        {t("person.last")} <Time iso={person.lastSignInAt} />
      </p>
      <ProblemBox problem={act.problem} />
      <RolePicker roles={roles} onRoles={setRoles} />
      <p>
        <Button
          variant="default"
          loading={act.isBusy}
          onClick={() =>
            void act.run(
              async () =>
                await call("PUT /v1/people/{person}/roles", {
                  params,
                  body: { roles: [...roles] },
                }),
            )
          }
        >
          {t("person.set-roles")}
        </Button>
      </p>
      <Credentials person={person.id} />
      <Sessions person={person.id} />
      <h3>{t("person.way-in")}</h3>
      <Button
        variant="default"
        onClick={() =>
          void act.run(async () => {
            const { value } = await call("POST /v1/people/{person}/invitation", {
              params,
              body: {},
            });
            setSecret(value.secret);
          })
        }
      >
        {t("person.new-link")}
      </Button>
      {secret === "" ? null : <InviteLink secret={secret} />}
      <Disable person={person} />
    </Sheet>
  );
}

function Disable({ person }: { readonly person: Person }) {
  const { t } = useWords();
  const params = { person: person.id };
  const [reason, setReason] = useState("");
  const act = useAct("people");
  const isDisabled = person.state === "disabled";
  const setState = async (): Promise<void> => {
    const body = { reason };
    if (isDisabled) await call("POST /v1/people/{person}/enable", { params, body });
    else await call("POST /v1/people/{person}/disable", { params, body });
  };
  return (
    <>
      <ProblemBox problem={act.problem} />
      <h3>{t(isDisabled ? "person.enable" : "person.disable")}</h3>
      <div className="row">
        <TextInput
          label={t("reason")}
          value={reason}
          onChange={(event) => setReason(event.currentTarget.value)}
        />
        <Button
          variant="default"
          disabled={reason.trim() === ""}
          onClick={() => void act.run(setState)}
        >
          {t(isDisabled ? "person.enable" : "person.disable")}
        </Button>
      </div>
    </>
  );
}

function Credentials({ person }: { readonly person: string }) {
  const { t } = useWords();
  const act = useAct("credentials");
  const credentials = useQuery({
    queryKey: ["credentials", person],
    queryFn: async () =>
      (await call("GET /v1/people/{person}/credentials", { params: { person } })).value.items,
  });
  return (
    <>
      <h3>{t("credentials.title")}</h3>
      <Loading query={credentials} />
      <ProblemBox problem={act.problem} />
      <ul className="plain">
        {credentials.data?.map(({ id, kind, name, lastUsedAt }) => (
          <li key={id}>
            <Tag>{t(`credential.${kind}`)}</Tag> <span dir="auto">{name}</span>{" "}
            <span className="dim">
              {t("credential.used")} <Time iso={lastUsedAt} />
            </span>{" "}
            <button
              type="button"
              className="link"
              onClick={() =>
                void act.run(
                  async () =>
                    await call("DELETE /v1/people/{person}/credentials/{credential}", {
                      params: { person, credential: id },
                    }),
                )
              }
            >
              {t("remove")}
            </button>
          </li>
        ))}
      </ul>
    </>
  );
}

export function Sessions({ person }: { readonly person: string | undefined }) {
  const { t } = useWords();
  const act = useAct("sessions", "session");
  const sessions = useQuery({
    queryKey: ["sessions", person],
    queryFn: async () => {
      const query = { limit: 50, ...(person === undefined ? {} : { person }) };
      return (await call("GET /v1/sessions", { query })).value.items;
    },
  });
  return (
    <>
      <h3>{t("sessions.title")}</h3>
      <Loading query={sessions} />
      <ProblemBox problem={act.problem} />
      <ul className="plain">
        {sessions.data?.map(({ id, kind, peer, startedAt, endsAt, current }) => (
          <li key={id}>
            <Tag>{kind}</Tag> {peer} · <Time iso={startedAt} /> → <Time iso={endsAt} />{" "}
            {current ? (
              <span className="dim">{t("sessions.this")}</span>
            ) : (
              <button
                type="button"
                className="link"
                onClick={() =>
                  void act.run(
                    async () =>
                      await call("DELETE /v1/sessions/{session}", { params: { session: id } }),
                  )
                }
              >
                {t("sessions.end")}
              </button>
            )}
          </li>
        ))}
      </ul>
    </>
  );
}
