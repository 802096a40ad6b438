import { queryClient } from "../../api/queries.ts";
import { useWords } from "../../app/surroundings.tsx";
import { SignInWays } from "./ways.tsx";

export function SignInPage() {
  const { t } = useWords();
  return (
    <main className="door" id="main">
      <div className="door-card">
        <h1>
          <img src="/icon.svg" alt="" width="28" height="28" /> Sallyport
        </h1>
        <p className="dim">{t("sign-in.lead", { host: location.host })}</p>
        <SignInWays onSignedIn={() => void queryClient.resetQueries()} />
        <p className="small dim">{t("sign-in.first")}</p>
      </div>
    </main>
  );
}
