import { queryClient } from "../../api/queries.ts";
import { useWords } from "../../app/surroundings.tsx";
import { Sheet } from "../../parts/sheet.tsx";
import { SignInWays } from "./ways.tsx";

/** Over the page, which stays as it is: what was typed is still there afterwards. */
export function SignInAgain({ onDone }: { readonly onDone: (isGiven: boolean) => void }) {
  const { t } = useWords();
  const signedIn = (): void => {
    void queryClient.invalidateQueries();
    onDone(true);
  };
  return (
    <Sheet title={t("sign-in.again")} onClose={() => onDone(false)}>
      <p className="dim">{t("sign-in.again.why")}</p>
      <SignInWays onSignedIn={signedIn} />
    </Sheet>
  );
}
