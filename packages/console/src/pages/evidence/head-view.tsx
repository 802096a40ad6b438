/** The signed head; and whether the ledger that this browser saw last time is still the begin of today's. */
import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { type AnswerOf, call } from "../../api/client.ts";
import { asProblem, type Problem } from "../../api/problem.ts";
import { useWords } from "../../app/surroundings.tsx";
import { AsCli, Loading, Mark, ProblemBox, Section } from "../../parts/basics.tsx";
import { isConsistent } from "./merkle.ts";
import { type SeenHead, readSeen } from "./seen-head.ts";

const KEY = "sallyport-seen-head";

export const headQuery = {
  queryKey: ["head"],
  queryFn: async () => (await call("GET /v1/ledger/head")).value,
  refetchInterval: 30_000,
};

export function HeadView() {
  const { t, number } = useWords();
  const head = useQuery(headQuery);
  return (
    <Section title={t("head.title")}>
      <Loading query={head} />
      {head.data === undefined ? null : (
        <>
          <dl className="facts">
            <div>
              <dt>{t("head.origin")}</dt>
              <dd>{head.data.origin}</dd>
            </div>
            <div>
              <dt>{t("head.size")}</dt>
              <dd>{number(head.data.size)}</dd>
            </div>
            <div>
              <dt>{t("head.root")}</dt>
              <dd>
                <code>{head.data.root}</code>
              </dd>
            </div>
          </dl>
          <Growth head={head.data} />
          <details>
            <summary className="dim">{t("head.checkpoint")}</summary>
            <code className="cli">{head.data.checkpoint}</code>
          </details>
        </>
      )}
      <AsCli line="sallyport ledger status" />
    </Section>
  );
}

type Verdict = "first" | "same" | "grew" | "rewritten" | "checking";

function Growth({ head }: { readonly head: AnswerOf<"GET /v1/ledger/head"> }) {
  const { t, number } = useWords();
  const [before] = useState(() => readSeen(localStorage.getItem(KEY), head.origin));
  const [verdict, setVerdict] = useState<Verdict>("checking");
  const [problem, setProblem] = useState<Problem>();
  const { origin, size, root } = head;
  useEffect(() => {
    const keep = (found: Verdict): void => {
      setVerdict(found);
      // What was once seen stays the measure when it does not fit any more.
      if (found === "rewritten") return;
      localStorage.setItem(KEY, JSON.stringify({ origin, size, root } satisfies SeenHead));
    };
    compare(before, { origin, size, root }).then(keep, (error: unknown) =>
      setProblem(asProblem(error)),
    );
  }, [before, origin, size, root]);
  const seen = number(before?.size ?? 0);
  if (problem !== undefined) return <ProblemBox problem={problem} />;
  return verdict === "rewritten" ? (
    <p role="alert">
      <Mark priority="urgent" /> {t("head.rewritten", { size: seen })}
    </p>
  ) : (
    <p className="dim">{t(`head.${verdict}`, { size: seen })}</p>
  );
}

async function compare(before: SeenHead | undefined, now: SeenHead): Promise<Verdict> {
  if (before === undefined) return "first";
  if (before.size === now.size) return before.root === now.root ? "same" : "rewritten";
  if (before.size > now.size) return "rewritten";
  const query = { from: before.size, to: now.size };
  const { value } = await call("GET /v1/ledger/consistency", { query });
  const proof = { ...query, fromRoot: before.root, toRoot: now.root, hashes: value.hashes };
  return (await isConsistent(proof)) ? "grew" : "rewritten";
}
