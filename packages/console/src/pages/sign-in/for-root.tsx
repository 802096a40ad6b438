/** Before anybody else can sign for a key, root enrolls it; the browser says what it read from the authenticator. */
import type { NewPasskey } from "../../api/web-authn.ts";
import { useWords } from "../../app/surroundings.tsx";

export function ForRoot({ person, made }: { readonly person: string; readonly made: NewPasskey }) {
  const { t } = useWords();
  const { spki, credential } = made;
  const key = `--key ${spki} --passkey ${credential.id} --origin ${location.origin}`;
  return (
    <details className="as-cli">
      <summary>{t("for-root")}</summary>
      <p>{t("for-root.what")}</p>
      <code className="cli">{`sallyport approver add ${person} --person ${person} ${key}`}</code>
    </details>
  );
}
