/** Where records are sent: the list as JSON, since a target has a dozen members; and how far each is. */
import { Button, Textarea } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { type AnswerOf, call } from "../../api/client.ts";
import { asProblem } from "../../api/problem.ts";
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

type Forwarding = AnswerOf<"GET /v1/forwarding">;
const EVERY_MS = 10_000;
const EXAMPLE = `[
  { "name": "siem", "to": "siem.example:6514", "transport": "tls", "format": "rfc5424", "people": false }
]`;

export function ForwardingTab() {
  const { t, number } = useWords();
  const forwarding = useQuery({
    queryKey: ["forwarding"],
    queryFn: async () => (await call("GET /v1/forwarding")).value,
    refetchOnWindowFocus: false,
  });
  const state = useQuery({
    queryKey: ["forwarding-state"],
    queryFn: async () => (await call("GET /v1/forwarding/state")).value.items,
    refetchInterval: EVERY_MS,
  });
  return (
    <>
      <Section title={t("forwarding.state")}>
        <Loading query={state} />
        {state.data?.length === 0 ? (
          <Empty what={t("forwarding.none")} why={t("forwarding.none.why")} />
        ) : null}
        <ul className="plain">
          {state.data?.map(({ name, state: word, behind, sentThrough, lastSentAt, why }) => (
            <li key={name}>
              {word === "connected" ? (
                <Tag>{t("forwarding.connected")}</Tag>
              ) : (
                <Mark priority="high" />
              )}{" "}
              <b>{name}</b>{" "}
              {t("forwarding.sent", { index: number(sentThrough), behind: number(behind) })}{" "}
              <Time iso={lastSentAt} /> {why}
            </li>
          ))}
        </ul>
      </Section>
      <Section title={t("forwarding.targets")}>
        <Loading query={forwarding} />
        {forwarding.data === undefined ? null : (
          <Editor key={forwarding.data.sha256} forwarding={forwarding.data} />
        )}
        <AsCli line="sallyport api GET /v1/forwarding" />
      </Section>
    </>
  );
}

function Editor({ forwarding }: { readonly forwarding: Forwarding }) {
  const { t } = useWords();
  const [text, setText] = useState(() => JSON.stringify(forwarding.targets, null, 2));
  const act = useAct("forwarding", "forwarding-state");
  const save = async (): Promise<void> => {
    let targets: Forwarding["targets"];
    try {
      // The API checks each member and names those that are wrong.
      targets = JSON.parse(text) as Forwarding["targets"];
    } catch (error) {
      throw asProblem(error);
    }
    await call("PUT /v1/forwarding", { ifMatch: forwarding.sha256, body: { targets } });
  };
  return (
    <div className="stack">
      <ProblemBox problem={act.problem} />
      <Textarea
        label={t("forwarding.json")}
        description={EXAMPLE}
        className="yaml"
        rows={10}
        spellCheck={false}
        value={text}
        onChange={(event) => setText(event.currentTarget.value)}
      />
      <div>
        <Button loading={act.isBusy} onClick={() => void act.run(save)}>
          {t("edit.save")}
        </Button>
      </div>
    </div>
  );
}
