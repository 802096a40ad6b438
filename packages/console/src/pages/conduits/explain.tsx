/** What would happen to a packet, and by which line of the policy. */
import { Button, NativeSelect, TextInput } from "@mantine/core";
import { type SyntheticEvent, useState } from "react";
import { type AnswerOf, call } from "../../api/client.ts";
import { useAct } from "../../app/act.tsx";
import { useWords } from "../../app/surroundings.tsx";
import { AsCli, ProblemBox, Section, Tag } from "../../parts/basics.tsx";
import { reasonKey } from "../plant/reasons.ts";

type Protocol = "tcp" | "udp" | "icmp";
type Which = "running" | "draft";

export function ExplainTab() {
  const { t } = useWords();
  const [source, setSource] = useState("");
  const [destination, setDestination] = useState("");
  const [protocol, setProtocol] = useState<Protocol>("tcp");
  const [port, setPort] = useState("");
  const [of, setOf] = useState<Which>("running");
  const [answer, setAnswer] = useState<AnswerOf<"POST /v1/policy/explain">>();
  const act = useAct();
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    setAnswer(undefined);
    const body = {
      source,
      destination,
      protocol,
      of,
      ...(port === "" ? {} : { port: Number(port) }),
    };
    void act.run(async () => setAnswer((await call("POST /v1/policy/explain", { body })).value));
  };
  return (
    <>
      <Section title={t("explain.title")}>
        <p className="dim">{t("explain.what")}</p>
        <form onSubmit={submit} className="fields">
          <Addresses {...{ source, setSource, destination, setDestination }} />
          <NativeSelect
            label={t("explain.protocol")}
            value={protocol}
            data={["tcp", "udp", "icmp"]}
            // The list holds nothing else.
            onChange={(event) => setProtocol(event.currentTarget.value as Protocol)}
          />
          <TextInput
            label={t("explain.port")}
            inputMode="numeric"
            pattern="[0-9]{0,5}"
            value={port}
            onChange={(event) => setPort(event.currentTarget.value)}
          />
          <NativeSelect
            label={t("explain.of")}
            value={of}
            data={[
              { value: "running", label: t("explain.running") },
              { value: "draft", label: t("explain.draft") },
            ]}
            onChange={(event) => setOf(event.currentTarget.value as Which)}
          />
          <div className="row">
            <Button type="submit" loading={act.isBusy}>
              {t("explain.do")}
            </Button>
          </div>
        </form>
        <ProblemBox problem={act.problem} />
        {answer === undefined ? null : <AnswerView answer={answer} />}
      </Section>
      <AsCli line={cliOf(source, destination, protocol, port)} />
    </>
  );
}

function Addresses(props: {
  readonly source: string;
  readonly setSource: (source: string) => void;
  readonly destination: string;
  readonly setDestination: (destination: string) => void;
}) {
  const { t } = useWords();
  const { source, setSource, destination, setDestination } = props;
  return (
    <>
      <TextInput
        label={t("explain.source")}
        placeholder="10.10.0.10"
        value={source}
        required
        onChange={(event) => setSource(event.currentTarget.value)}
      />
      <TextInput
        label={t("explain.destination")}
        placeholder="10.41.0.10"
        value={destination}
        required
        onChange={(event) => setDestination(event.currentTarget.value)}
      />
    </>
  );
}

function cliOf(source: string, destination: string, protocol: Protocol, port: string): string {
  const way = `--from ${source || "ADDRESS"} --to ${destination || "ADDRESS"}`;
  return `sallyport policy explain ${way} --${protocol}${protocol === "icmp" ? "" : ` ${port || "PORT"}`}`;
}

function AnswerView({ answer }: { readonly answer: AnswerOf<"POST /v1/policy/explain"> }) {
  const { t } = useWords();
  const { verdict, reason, conduit, policyLine, steps, nearest } = answer;
  return (
    <div role="status" className="part">
      <h3>
        <Tag>{t(`explain.${verdict}`)}</Tag>{" "}
        {reason === "" ? null : t(reasonKey(reason), { reason })}
      </h3>
      {conduit === undefined ? null : (
        <p>
          {conduit} {policyLine === undefined ? null : <code>{policyLine}</code>}
        </p>
      )}
      <ol>
        {steps.map((step) => (
          <li key={step}>{step}</li>
        ))}
      </ol>
      {nearest.map((line) => (
        <p key={line} className="dim">
          {t("explain.nearest")} {line}
        </p>
      ))}
    </div>
  );
}
