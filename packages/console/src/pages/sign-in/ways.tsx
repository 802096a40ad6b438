/** The ways to sign in: a passkey, or a password with a code from an app, or with a recovery code. */
import { Button, PasswordInput, TextInput } from "@mantine/core";
import { type SyntheticEvent, useState } from "react";
import { call } from "../../api/client.ts";
import { asProblem, type Problem } from "../../api/problem.ts";
import { signWithPasskey } from "../../api/web-authn.ts";
import { useWords } from "../../app/surroundings.tsx";
import { ProblemBox } from "../../parts/basics.tsx";

export function SignInWays({ onSignedIn }: { readonly onSignedIn: () => void }) {
  const { t } = useWords();
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem>();
  const [person, setPerson] = useState("");
  const [password, setPassword] = useState("");
  const [code, setCode] = useState("");
  const attempt = (act: () => Promise<unknown>): void => {
    setBusy(true);
    setProblem(undefined);
    act()
      .then(onSignedIn, (error: unknown) => setProblem(asProblem(error)))
      .finally(() => setBusy(false));
  };
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    const plain = code.replaceAll(/\s/g, "");
    const isTotp = /^\d{6,8}$/.test(plain);
    attempt(() =>
      isTotp
        ? call("POST /v1/sign-in/password", { body: { person, password, totp: plain } })
        : call("POST /v1/sign-in/recovery-code", { body: { person, password, code: plain } }),
    );
  };
  return (
    <>
      <ProblemBox problem={problem} />
      <Button fullWidth loading={isBusy} onClick={() => attempt(passkeySignIn)}>
        {t("sign-in.passkey")}
      </Button>
      <p className="divider">{t("sign-in.or")}</p>
      <form onSubmit={submit} className="stack">
        <TextInput
          label={t("sign-in.person")}
          value={person}
          autoComplete="username"
          required
          onChange={(event) => setPerson(event.currentTarget.value)}
        />
        <PasswordInput
          label={t("sign-in.password")}
          value={password}
          autoComplete="current-password"
          required
          onChange={(event) => setPassword(event.currentTarget.value)}
        />
        <TextInput
          label={t("sign-in.code")}
          description={t("sign-in.code.hint")}
          value={code}
          autoComplete="one-time-code"
          required
          onChange={(event) => setCode(event.currentTarget.value)}
        />
        <Button type="submit" variant="default" loading={isBusy}>
          {t("sign-in.submit")}
        </Button>
      </form>
    </>
  );
}

export async function passkeySignIn(): Promise<void> {
  const { value } = await call("POST /v1/sign-in/passkey/options", { body: {} });
  const credential = await signWithPasskey(value.publicKey);
  await call("POST /v1/sign-in/passkey/finish", {
    // The browser's own form of an assertion; the API checks each member.
    body: { flow: value.flow, credential: credential as never },
  });
}
