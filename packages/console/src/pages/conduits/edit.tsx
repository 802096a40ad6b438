/** The draft: a form for what most rules need, and the text for all of it. Both are the same text. */
import { Button, Textarea, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type SyntheticEvent, useMemo, useState } from "react";
import { type AnswerOf, call } from "../../api/client.ts";
import { draftQuery, queryClient } from "../../api/queries.ts";
import { useAct } from "../../app/act.tsx";
import { useWords } from "../../app/surroundings.tsx";
import { useFilters } from "../../app/use-search.ts";
import { AsCli, Loading, ProblemBox, Section, Time } from "../../parts/basics.tsx";
import { ConduitForm } from "./conduit-form.tsx";
import { addConduit, conduitAtLine, type PolicyText, readPolicy } from "./policy-text.ts";
import { PlanForm } from "./plan-form.tsx";
import { useKeptText } from "./kept-text.ts";
import { useValidation, type Validation } from "./validation.ts";

type Draft = AnswerOf<"GET /v1/policy/draft">;
const FIRST_FILE = "site.yaml";

export function EditTab() {
  const draft = useQuery({ ...draftQuery, refetchOnWindowFocus: false });
  if (draft.data === undefined) return <Loading query={draft} />;
  // The draft that was opened stays the one that is edited; another's is told, not put in its place.
  return <Editor draft={draft.data} />;
}

function Editor({ draft }: { readonly draft: Draft }) {
  const { t } = useWords();
  const [filters] = useFilters();
  const [base, setBase] = useState(draft);
  const [file = { name: FIRST_FILE, text: "" }, ...others] = base.files;
  const [text, setText, isRestored] = useKeptText(base.sha256, file.text);
  const policy = useMemo(() => readPolicy(text), [text]);
  const files = useMemo(() => [{ name: file.name, text }, ...others], [file.name, text, others]);
  const validation = useValidation(files);
  const save = useAct("policy");
  const isChanged = text !== file.text;
  const isForeign = draft.sha256 !== base.sha256;
  const put = async (sha256: string): Promise<void> => {
    const { value } = await call("PUT /v1/policy/draft", { ifMatch: sha256, body: { files } });
    queryClient.setQueryData(draftQuery.queryKey, value);
    setBase(value);
  };
  const conduit = policy.conduits.find(({ name }) => name === filters.conduit);
  return (
    <div className="edit">
      <ConduitList
        policy={policy}
        diagnostics={validation.diagnostics}
        onAdd={(name) => setText(addConduit(text, name, {}))}
      />
      <div>
        {conduit === undefined ? null : (
          <ConduitForm
            {...{ conduit, text, policy, diagnostics: validation.diagnostics }}
            onText={setText}
          />
        )}
        <Section title={`${t("edit.text")} · ${file.name}`}>
          {isRestored ? <p className="note">{t("edit.restored")}</p> : null}
          {isForeign ? (
            <Foreign
              draft={draft}
              onTake={() => (setBase(draft), setText(draft.files[0]?.text ?? ""))}
              onKeep={() => void save.run(() => put(draft.sha256))}
            />
          ) : null}
          <ProblemBox problem={save.problem} />
          <Textarea
            aria-label={t("edit.text")}
            className="yaml"
            spellCheck={false}
            rows={26}
            value={text}
            onChange={(event) => setText(event.currentTarget.value)}
          />
          <Diagnostics validation={validation} />
          <SaveRow
            {...{ isChanged, isBusy: save.isBusy, editedBy: base.editedBy }}
            onSave={() => void save.run(() => put(base.sha256))}
            onUndo={() => setText(file.text)}
          />
        </Section>
        <PlanForm sha256={base.sha256} isReady={!isChanged && validation.isValid === true} />
        <AsCli line={`sallyport policy validate ${file.name}\nsallyport plan ${file.name}`} />
      </div>
    </div>
  );
}

function SaveRow(props: {
  readonly isChanged: boolean;
  readonly isBusy: boolean;
  readonly editedBy: string | undefined;
  readonly onSave: () => void;
  readonly onUndo: () => void;
}) {
  const { t } = useWords();
  const { isChanged, isBusy, editedBy, onSave, onUndo } = props;
  return (
    <div className="row">
      <Button disabled={!isChanged} loading={isBusy} onClick={onSave}>
        {t("edit.save")}
      </Button>
      <Button variant="default" disabled={!isChanged} onClick={onUndo}>
        {t("edit.undo")}
      </Button>
      <span className="dim">
        {isChanged ? t("edit.unsaved") : t("edit.saved")}{" "}
        {editedBy === undefined ? null : t("edit.by", { person: editedBy })}
      </span>
    </div>
  );
}

function Foreign({
  draft,
  onTake,
  onKeep,
}: {
  readonly draft: Draft;
  readonly onTake: () => void;
  readonly onKeep: () => void;
}) {
  const { t } = useWords();
  return (
    <div className="problem" role="alert">
      <p>
        {t("edit.foreign", { person: draft.editedBy ?? "?" })} <Time iso={draft.editedAt} />
      </p>
      <div className="row">
        <Button variant="default" onClick={onTake}>
          {t("edit.take-theirs")}
        </Button>
        <Button variant="default" onClick={onKeep}>
          {t("edit.keep-mine")}
        </Button>
      </div>
    </div>
  );
}

function ConduitList({
  policy,
  diagnostics,
  onAdd,
}: {
  readonly policy: PolicyText;
  readonly diagnostics: Validation["diagnostics"];
  readonly onAdd: (name: string) => void;
}) {
  const { t } = useWords();
  const [filters, filter] = useFilters();
  const errors = diagnostics.filter(({ severity }) => severity === "error");
  const bad = new Set(errors.map(({ line }) => conduitAtLine(policy, line)));
  return (
    <Section
      title={t("edit.conduits")}
      actions={<AddConduit onAdd={(name) => (onAdd(name), filter({ conduit: name }))} />}
    >
      <ul className="plain">
        {policy.conduits.map(({ name }) => (
          <li key={name}>
            <button
              type="button"
              className="link"
              aria-current={name === filters.conduit}
              onClick={() => filter({ conduit: name })}
            >
              {name}
            </button>
            {bad.has(name) ? <span className="mark mark-high"> ● {t("edit.bad")}</span> : null}
          </li>
        ))}
      </ul>
    </Section>
  );
}

function AddConduit({ onAdd }: { readonly onAdd: (name: string) => void }) {
  const { t } = useWords();
  const [name, setName] = useState("");
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    onAdd(name);
    setName("");
  };
  return (
    <form onSubmit={submit} className="row">
      <TextInput
        aria-label={t("edit.new-name")}
        placeholder={t("edit.new-name")}
        value={name}
        pattern="[a-z0-9][a-z0-9\-]*"
        required
        onChange={(event) => setName(event.currentTarget.value)}
      />
      <Button type="submit" variant="default">
        {t("edit.add")}
      </Button>
    </form>
  );
}

function Diagnostics({ validation }: { readonly validation: Validation }) {
  const { t, tn } = useWords();
  const { diagnostics, isValid, problem, conduits } = validation;
  return (
    <div aria-live="polite">
      <ProblemBox problem={problem} />
      {isValid === true ? (
        <p className="dim">{tn("edit.valid", conduits)}</p>
      ) : isValid === undefined ? (
        <p className="dim">{t("edit.checking")}</p>
      ) : null}
      <ul className="diagnostics">
        {diagnostics.map(({ line, column, code, severity, message, hint, file }) => (
          <li key={`${file} ${line} ${column} ${code} ${message}`}>
            <span className={severity === "error" ? "mark mark-high" : "mark mark-low"}>
              {severity === "error" ? "●" : "◆"} {t(`severity.${severity}`)}
            </span>{" "}
            <code>
              {file}:{line}:{column}
            </code>{" "}
            {message} <span className="small dim">{code}</span>
            {hint === undefined ? null : <p className="dim">→ {hint}</p>}
          </li>
        ))}
      </ul>
    </div>
  );
}
