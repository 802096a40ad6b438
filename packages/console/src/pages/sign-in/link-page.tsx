/** The page behind a one-time link: a name, a passkey, and for the first administrator the first approver's key. */
import { Button, TextInput } from "@mantine/core";
import { type SyntheticEvent, type ReactNode, useState } from "react";
import { queryClient } from "../../api/queries.ts";
import { asProblem, type Problem } from "../../api/problem.ts";
import { useWords } from "../../app/surroundings.tsx";
import { Empty, ProblemBox } from "../../parts/basics.tsx";
import { passkeySignIn } from "./ways.tsx";
import { ForRoot } from "./for-root.tsx";
import { addPasskey, enrolFirstApprover, openFirstLink, openInvitation } from "./link.ts";

const PERSON = "[a-z0-9][a-z0-9._\\-]{0,62}";

/** How far it got, so that a passkey that failed can be tried again after the link was used up. */
type Stage = "closed" | "open" | "keyed" | "enrolled" | "in";

export function LinkPage({ isFirst }: { readonly isFirst: boolean }) {
  const { t } = useWords();
  // Read once; what stays in the address bar would be in the history.
  const [secret] = useState(() => location.hash.slice(1));
  const [stage, setStage] = useState<Stage>("closed");
  const [id, setId] = useState("");
  const [name, setName] = useState("");
  const [made, setMade] = useState<Awaited<ReturnType<typeof addPasskey>>>();
  const [problem, setProblem] = useState<Problem>();
  const [isBusy, setBusy] = useState(false);
  if (secret === "") {
    return (
      <Door title={t(isFirst ? "link.first" : "link.invitation")}>
        <Empty what={t("link.none")} why={t("link.none.why")}>
          <a href="/">{t("link.to-sign-in")}</a>
        </Empty>
      </Door>
    );
  }
  const enter = async (): Promise<void> => {
    if (stage === "closed") {
      if (isFirst) await openFirstLink(secret, id, name);
      else setId(await openInvitation(secret));
      history.replaceState(null, "", location.pathname);
      setStage("open");
    }
    const key = made ?? (await addPasskey(t("link.passkey-name")));
    setMade(key);
    setStage("keyed");
    if (isFirst && stage !== "enrolled") await enrolFirstApprover(secret, id, key);
    setStage("enrolled");
    // What a link opens may only add factors; the new one is shown at once.
    await passkeySignIn();
    queryClient.clear();
    if (isFirst) location.assign("/first-run");
    else setStage("in");
  };
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    setBusy(true);
    setProblem(undefined);
    enter()
      .catch((error: unknown) => setProblem(asProblem(error)))
      .finally(() => setBusy(false));
  };
  if (stage === "in" && made !== undefined) {
    return (
      <Door title={t("link.in")}>
        <p>{t("link.in.what")}</p>
        <a href="/" className="button">
          {t("link.to-console")}
        </a>
        <ForRoot person={id} made={made} />
      </Door>
    );
  }
  return (
    <Door title={t(isFirst ? "link.first" : "link.invitation")}>
      <p className="dim">{t(isFirst ? "link.first.lead" : "link.invitation.lead")}</p>
      <ProblemBox problem={problem} />
      <form onSubmit={submit} className="stack">
        {isFirst ? <Names {...{ id, name, setId, setName }} isClosed={stage === "closed"} /> : null}
        <Button type="submit" loading={isBusy}>
          {t(stage === "closed" ? "link.make" : stage === "open" ? "link.again" : "link.enter")}
        </Button>
      </form>
      <p className="small dim">{t("link.after")}</p>
    </Door>
  );
}

function Names({
  id,
  name,
  setId,
  setName,
  isClosed,
}: {
  readonly id: string;
  readonly name: string;
  readonly setId: (id: string) => void;
  readonly setName: (name: string) => void;
  readonly isClosed: boolean;
}) {
  const { t } = useWords();
  return (
    <>
      <TextInput
        label={t("link.id")}
        description={t("link.id.hint")}
        pattern={PERSON}
        value={id}
        required
        disabled={!isClosed}
        autoComplete="username"
        onChange={(event) => setId(event.currentTarget.value)}
      />
      <TextInput
        label={t("link.name")}
        value={name}
        required
        disabled={!isClosed}
        autoComplete="name"
        onChange={(event) => setName(event.currentTarget.value)}
      />
    </>
  );
}

function Door({ title, children }: { readonly title: string; readonly children: ReactNode }) {
  return (
    <main className="door" id="main">
      <div className="door-card">
        <h1>{title}</h1>
        {children}
      </div>
    </main>
  );
}
