/** One conduit's fields; each writes into the text where it stands, and shows the compiler's word on it. */
import { Button, NativeSelect, TextInput } from "@mantine/core";
import { useWords } from "../../app/surroundings.tsx";
import { Section } from "../../parts/basics.tsx";
import type { Validation } from "./validation.ts";
import {
  type ConduitText,
  type Field,
  FIELDS,
  type PolicyText,
  removeConduit,
  setField,
} from "./policy-text.ts";
import { ruleInWords } from "./words.ts";

const VIAS = ["proxy", "inspect", "session", "direct", "diode"];

export function ConduitForm({
  conduit,
  text,
  policy,
  diagnostics,
  onText,
}: {
  readonly conduit: ConduitText;
  readonly text: string;
  readonly policy: PolicyText;
  readonly diagnostics: Validation["diagnostics"];
  readonly onText: (text: string) => void;
}) {
  const words = useWords();
  const { t } = words;
  const own = diagnostics.filter(
    ({ line }) => line >= conduit.lines[0] && line <= conduit.lines[1],
  );
  const set = (field: Field, value: string): void =>
    onText(setField(text, conduit.name, field, value));
  const faultOf = (field: Field): string | undefined =>
    own.find(({ line, message }) => lineHas(text, line, field) || message.includes(`"${field}"`))
      ?.message;
  return (
    <Section
      title={t("edit.conduit", { name: conduit.name })}
      actions={
        <Button variant="default" onClick={() => onText(removeConduit(text, conduit.name))}>
          {t("edit.remove")}
        </Button>
      }
    >
      <p className="dim">
        {policy.faults.length > 0 ? null : ruleInWords(conduit.value, words)[0]}
      </p>
      <div className="fields">
        {FIELDS.map((field) => {
          const { text: value, isPlain } = conduit.fields[field];
          const shared = {
            label: t(`field.${field}`),
            error: faultOf(field),
            ...(isPlain ? {} : { description: t("field.in-text") }),
          };
          return field === "via" ? (
            <NativeSelect
              key={field}
              {...shared}
              value={value}
              data={["", ...VIAS]}
              onChange={(event) => set(field, event.currentTarget.value)}
            />
          ) : (
            <TextInput
              key={field}
              {...shared}
              value={value}
              dir="auto"
              disabled={!isPlain}
              onChange={(event) => set(field, event.currentTarget.value)}
            />
          );
        })}
      </div>
    </Section>
  );
}

function lineHas(text: string, line: number, field: Field): boolean {
  return new RegExp(`(^|[\\s{,])${field}:`).test(text.split("\n")[line - 1] ?? "");
}
