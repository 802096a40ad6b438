/** A second factor of the last minutes, asked for over the page when an act needs it. */
import { Button, TextInput } from "@mantine/core";
import { type SyntheticEvent, useState } from "react";
import { call } from "../../api/client.ts";
import { asProblem, type Problem } from "../../api/problem.ts";
import { signWithPasskey } from "../../api/web-authn.ts";
import { useWords } from "../../app/surroundings.tsx";
import { ProblemBox } from "../../parts/basics.tsx";
import { Sheet } from "../../parts/sheet.tsx";

export function StepUp({ onDone }: { readonly onDone: (isGiven: boolean) => void }) {
  const { t } = useWords();
  const [problem, setProblem] = useState<Problem>();
  const [totp, setTotp] = useState("");
  const attempt = (act: () => Promise<unknown>): void => {
    setProblem(undefined);
    act().then(
      () => onDone(true),
      (error: unknown) => setProblem(asProblem(error)),
    );
  };
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    const body = { kind: "totp", totp: totp.replaceAll(/\s/g, "") } as const;
    attempt(() => call("POST /v1/session/step-up/finish", { body }));
  };
  return (
    <Sheet title={t("step-up.title")} onClose={() => onDone(false)}>
      <p className="dim">{t("step-up.why")}</p>
      <ProblemBox problem={problem} />
      <Button fullWidth onClick={() => attempt(passkeyStepUp)}>
        {t("step-up.passkey")}
      </Button>
      <p className="divider">{t("sign-in.or")}</p>
      <form onSubmit={submit} className="stack">
        <TextInput
          label={t("step-up.code")}
          value={totp}
          inputMode="numeric"
          autoComplete="one-time-code"
          required
          onChange={(event) => setTotp(event.currentTarget.value)}
        />
        <Button type="submit" variant="default">
          {t("step-up.submit")}
        </Button>
      </form>
    </Sheet>
  );
}

async function passkeyStepUp(): Promise<void> {
  const { value } = await call("POST /v1/session/step-up/options", { body: {} });
  const credential = await signWithPasskey(value.publicKey);
  await call("POST /v1/session/step-up/finish", {
    body: { kind: "passkey", flow: value.flow, credential: credential as never },
  });
}
