import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { type AnswerOf, call } from "../../api/client.ts";
import { useAct } from "../../app/act.tsx";
import { useWords } from "../../app/surroundings.tsx";
import { AsCli, Loading, Mark, ProblemBox, Tag, Time } from "../../parts/basics.tsx";
import { Sheet } from "../../parts/sheet.tsx";
import { rootFromInclusion } from "./merkle.ts";

export function RecordSheet({
  index,
  onClose,
}: {
  readonly index: number;
  readonly onClose: () => void;
}) {
  const { t } = useWords();
  const record = useQuery({
    queryKey: ["record", index],
    queryFn: async () =>
      (await call("GET /v1/ledger/records/{index}", { params: { index: String(index) } })).value,
  });
  return (
    <Sheet title={t("record.title", { index })} isSide onClose={onClose}>
      <Loading query={record} />
      {record.data === undefined ? null : (
        <>
          <p>
            <code>{record.data.type}</code> · <Time iso={record.data.at} />
          </p>
          <dl className="facts">
            {record.data.person === undefined ? null : (
              <div>
                <dt>{t("record.person")}</dt>
                <dd>{record.data.person}</dd>
              </div>
            )}
            {Object.entries(record.data.fields).map(([name, value]) => (
              <div key={name}>
                <dt>{name}</dt>
                <dd dir="auto">{typeof value === "string" ? value : JSON.stringify(value)}</dd>
              </div>
            ))}
            {Object.entries(record.data.commitments).map(([name, value]) => (
              <div key={name}>
                <dt>{t("record.commitment", { name })}</dt>
                <dd>
                  <code>{value}</code>
                </dd>
              </div>
            ))}
            <div>
              <dt>{t("record.leaf")}</dt>
              <dd>
                <code>{record.data.leaf}</code>
              </dd>
            </div>
          </dl>
          <Proof record={record.data} />
        </>
      )}
      <AsCli line={`sallyport ledger prove ${index}`} />
    </Sheet>
  );
}

interface Verdict {
  readonly isGood: boolean;
  readonly size: number;
  readonly root: string;
}

/** The gateway only hands out hashes; whether they fit is computed here, against the head that it signed. */
function Proof({ record }: { readonly record: AnswerOf<"GET /v1/ledger/records/{index}"> }) {
  const { t, number } = useWords();
  const [verdict, setVerdict] = useState<Verdict>();
  const act = useAct();
  const verify = (): void => {
    void act.run(async () => {
      const { value: head } = await call("GET /v1/ledger/head");
      const { value: proof } = await call("GET /v1/ledger/records/{index}/proof", {
        params: { index: String(record.index) },
        query: { size: head.size },
      });
      const { index, size, hashes } = proof;
      const isAsked = index === record.index && size === head.size;
      const root = await rootFromInclusion({ index, size, leaf: record.leaf, hashes });
      setVerdict({ isGood: isAsked && root === head.root, size: head.size, root: head.root });
    });
  };
  return (
    <section className="part" aria-label={t("proof.title")}>
      <h3>{t("proof.title")}</h3>
      <p className="dim">{t("proof.what")}</p>
      <ProblemBox problem={act.problem} />
      <Button onClick={verify} loading={act.isBusy} variant="default">
        {t("proof.do")}
      </Button>
      {verdict === undefined ? null : (
        <p role="status">
          {verdict.isGood ? <Tag>{t("proof.good")}</Tag> : <Mark priority="urgent" />}{" "}
          {t(verdict.isGood ? "proof.good.text" : "proof.bad.text", { size: number(verdict.size) })}{" "}
          <code>{verdict.root}</code>
        </p>
      )}
    </section>
  );
}
