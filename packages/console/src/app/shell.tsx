/** What is around every page: where one is, how old the data is, who one is, and the one red act. */
import { useQuery } from "@tanstack/react-query";
import { Link, Outlet, useNavigate } from "@tanstack/react-router";
import { useEffect, useMemo, useState } from "react";
import { call } from "../api/client.ts";
import { Problem } from "../api/problem.ts";
import { queryClient, sessionQuery, statusQuery } from "../api/queries.ts";
import { SignInAgain } from "../pages/sign-in/sign-in-again.tsx";
import { SignInPage } from "../pages/sign-in/sign-in-page.tsx";
import { ProblemBox } from "../parts/basics.tsx";
import { ActProvider } from "./act.tsx";
import { freshnessOf, isLost, useLiveEvents } from "./live.ts";
import { keyFollower, PLACES } from "./navigation.ts";
import { KeyHelp, Palette } from "./palette.tsx";
import { PendingBanner } from "./pending-banner.tsx";
import { StopAll } from "./stop-all.tsx";
import { useNowMs, useWords } from "./surroundings.tsx";

export function Shell() {
  const { t } = useWords();
  const session = useQuery(sessionQuery);
  const isOut = session.error instanceof Problem && session.error.told.status === 401;
  useLiveEvents(session.data !== undefined && !isOut);
  if (session.data === undefined) {
    if (isOut) return <SignInPage />;
    if (session.error === null) return <p className="door dim">{t("loading")}</p>;
    return (
      <main className="door">
        <div className="door-card">
          <h1>Sallyport</h1>
          <ProblemBox problem={session.error as Problem} />
          <button type="button" className="quiet" onClick={() => void session.refetch()}>
            {t("try-again")}
          </button>
        </div>
      </main>
    );
  }
  return (
    <ActProvider>
      <a className="skip" href="#main">
        {t("skip")}
      </a>
      <Header name={session.data.name} isOut={isOut} />
      <div className="frame">
        <Navigation />
        <div className="content">
          <PendingBanner />
          <Outlet />
        </div>
      </div>
    </ActProvider>
  );
}

function Navigation() {
  const { t } = useWords();
  return (
    <nav className="nav" aria-label={t("nav")}>
      {PLACES.map(({ to, title }) => (
        <Link key={to} to={to} activeOptions={{ exact: to === "/" }}>
          {t(title)}
        </Link>
      ))}
    </nav>
  );
}

type Open = "palette" | "help" | "stop" | "sign-in" | undefined;

function Header({ name, isOut }: { readonly name: string; readonly isOut: boolean }) {
  const { t } = useWords();
  const status = useQuery(statusQuery);
  const [open, setOpen] = useState<Open>();
  useKeys(setOpen);
  const close = (): void => setOpen(undefined);
  const { site, generation, grants } = status.data ?? {};
  return (
    <header className="header">
      <Link to="/" className="brand" aria-label="Sallyport">
        <img src="/icon.svg" alt="" width="22" height="22" />
      </Link>
      <span className="site" dir="auto" title={site}>
        {site ?? t("header.no-site")}
      </span>
      <span className="tag">
        {generation === undefined
          ? t("header.no-generation")
          : t("header.generation", { generation })}
      </span>
      <FreshnessChip
        updatedAtMs={status.dataUpdatedAt}
        isFailing={isLost(status.error ?? status.failureReason)}
        isOut={isOut}
      />
      {isOut ? (
        <button type="button" className="quiet again" onClick={() => setOpen("sign-in")}>
          {t("sign-in.again")}
        </button>
      ) : null}
      <span className="spacer" />
      <button type="button" className="quiet" onClick={() => setOpen("palette")}>
        <span className="wide">{t("palette.title")} </span>
        <kbd>Ctrl K</kbd>
      </button>
      <button type="button" className="stop" onClick={() => setOpen("stop")}>
        <span aria-hidden="true">▲ </span>
        {t("stop-all.title")}
      </button>
      <Person name={name} />
      {open === "sign-in" ? <SignInAgain onDone={close} /> : null}
      {open === "palette" ? <Palette onClose={close} /> : null}
      {open === "help" ? <KeyHelp onClose={close} /> : null}
      {open === "stop" ? <StopAll grants={grants} onClose={close} /> : null}
    </header>
  );
}

function Person({ name }: { readonly name: string }) {
  const { t } = useWords();
  const signOut = (): void => {
    void call("DELETE /v1/session")
      .catch(() => undefined)
      .then(async () => {
        queryClient.clear();
        await queryClient.resetQueries();
        location.assign("/");
      });
  };
  return (
    <details className="person">
      <summary dir="auto">{name}</summary>
      <div className="person-menu">
        <Link to="/people" search={{ tab: "mine" }}>
          {t("person.mine")}
        </Link>
        <button type="button" className="link" onClick={signOut}>
          {t("person.sign-out")}
        </button>
      </div>
    </details>
  );
}

function FreshnessChip({
  updatedAtMs,
  isFailing,
  isOut,
}: {
  readonly updatedAtMs: number;
  readonly isFailing: boolean;
  readonly isOut: boolean;
}) {
  const { t, ago } = useWords();
  const nowMs = useNowMs();
  if (isOut) {
    return <span className="tag mark-medium">■ {t("fresh.signed-out")}</span>;
  }
  const fresh = freshnessOf(updatedAtMs, isFailing, nowMs);
  if (fresh.kind === "lost" && !isFailing) return null;
  const age = fresh.kind === "live" || fresh.ageMs === undefined ? "" : ago(fresh.ageMs);
  const text = {
    live: t("fresh.live"),
    old: t("fresh.old", { age }),
    lost: age === "" ? t("fresh.never") : t("fresh.lost", { age }),
  }[fresh.kind];
  const title = updatedAtMs === 0 ? undefined : new Date(updatedAtMs).toISOString();
  return (
    <span className={fresh.kind === "live" ? "tag" : "tag mark-medium"} role="status" title={title}>
      {fresh.kind === "live" ? "" : "■ "}
      {text}
    </span>
  );
}

function useKeys(setOpen: (open: Open) => void): void {
  const navigate = useNavigate();
  const follow = useMemo(() => keyFollower(Date.now), []);
  useEffect(() => {
    const press = (event: KeyboardEvent): void => {
      const { target } = event;
      const isTyping =
        target instanceof HTMLElement && target.closest("input, textarea, select") !== null;
      const isControl = event.ctrlKey || event.metaKey;
      const command = follow({ key: event.key, isControl, isTyping });
      if (command === undefined) return;
      event.preventDefault();
      if (command.kind === "go") void navigate({ to: command.to });
      else setOpen(command.kind);
    };
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  }, [follow, navigate, setOpen]);
}
