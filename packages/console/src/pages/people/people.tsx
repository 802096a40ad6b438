import { Button, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type SyntheticEvent, useState } from "react";
import { call } from "../../api/client.ts";
import { useAct } from "../../app/act.tsx";
import { useWords } from "../../app/surroundings.tsx";
import { useFilters } from "../../app/use-search.ts";
import { AsCli, Loading, ProblemBox, Section, Tag, Time } from "../../parts/basics.tsx";
import { type Column, Table } from "../../parts/table.tsx";
import { InviteLink, type Person, RolePicker } from "./person-parts.tsx";
import { PersonSheet } from "./person-sheet.tsx";

export const peopleQuery = {
  queryKey: ["people"],
  queryFn: async () => (await call("GET /v1/people", { query: { limit: 200 } })).value.items,
};

export function PeopleTab() {
  const { t } = useWords();
  const [filters, filter] = useFilters();
  const people = useQuery(peopleQuery);
  const columns: readonly Column<Person>[] = [
    { id: "id", title: t("person.id"), cell: ({ id }) => id },
    { id: "name", title: t("person.name"), cell: ({ name }) => <span dir="auto">{name}</span> },
    { id: "roles", title: t("person.roles"), cell: ({ roles }) => roles.join(", ") },
    {
      id: "state",
      title: t("person.state"),
      cell: ({ state }) => <Tag>{t(`person.${state}`)}</Tag>,
    },
    {
      id: "last",
      title: t("person.last"),
      cell: ({ lastSignInAt }) => <Time iso={lastSignInAt} />,
    },
  ];
  const open = people.data?.find(({ id }) => id === filters.person);
  return (
    <>
      <Section title={t("people.tab.people")}>
        <Loading query={people} />
        {people.data === undefined ? null : (
          <Table
            label={t("people.tab.people")}
            rows={people.data}
            columns={columns}
            keyOf={({ id }) => id}
            onOpen={({ id }) => filter({ person: id })}
          />
        )}
        <AsCli line="sallyport api GET /v1/people" />
      </Section>
      <Invite />
      {open === undefined ? null : (
        <PersonSheet key={open.id} person={open} onClose={() => filter({ person: "" })} />
      )}
    </>
  );
}

function Invite() {
  const { t } = useWords();
  const [id, setId] = useState("");
  const [name, setName] = useState("");
  const [roles, setRoles] = useState<readonly string[]>([]);
  const [secret, setSecret] = useState("");
  const act = useAct("people");
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    void act.run(async () => {
      const { value } = await call("POST /v1/people", { body: { id, name, roles: [...roles] } });
      setSecret(value.secret);
    });
  };
  return (
    <Section title={t("invite.title")}>
      <p className="dim">{t("invite.what")}</p>
      <ProblemBox problem={act.problem} />
      <form onSubmit={submit} className="stack">
        <div className="fields">
          <TextInput
            label={t("link.id")}
            value={id}
            required
            onChange={(event) => setId(event.currentTarget.value)}
          />
          <TextInput
            label={t("link.name")}
            value={name}
            dir="auto"
            required
            onChange={(event) => setName(event.currentTarget.value)}
          />
        </div>
        <RolePicker roles={roles} onRoles={setRoles} />
        <div>
          <Button type="submit" loading={act.isBusy} disabled={roles.length === 0}>
            {t("invite.do")}
          </Button>
        </div>
      </form>
      {secret === "" ? null : <InviteLink secret={secret} />}
      <AsCli
        line={`sallyport api POST /v1/people '{ "id": "${id || "…"}", "name": "…", "roles": ["${roles.join('", "')}"] }'`}
      />
    </Section>
  );
}
