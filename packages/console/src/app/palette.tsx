/** Ctrl-K: go anywhere, find a zone or conduit, by typing a part of its name. */
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { type KeyboardEvent, useState } from "react";
import { conduitsQuery, zonesQuery } from "../api/queries.ts";
import { Sheet } from "../parts/sheet.tsx";
import { PLACES } from "./navigation.ts";
import { useWords } from "./surroundings.tsx";

/** As many as fit without scrolling. */
const FOUND_MAX = 12;

interface Found {
  readonly label: string;
  readonly kind: string;
  readonly to: string;
  readonly search: Readonly<Record<string, string>>;
}

function useFound(text: string): readonly Found[] {
  const { t } = useWords();
  const zones = useQuery(zonesQuery);
  const conduits = useQuery(conduitsQuery);
  const everything: readonly Found[] = [
    ...PLACES.map(({ to, title }) => ({
      label: t(title),
      kind: t("palette.page"),
      to,
      search: {},
    })),
    ...(zones.data ?? []).map(({ name }) => ({
      ...{ label: name, kind: t("palette.zone"), to: "/", search: { zone: name } },
    })),
    ...(conduits.data?.items ?? []).map(({ name }) => ({
      ...{ label: name, kind: t("palette.conduit"), to: "/", search: { conduit: name } },
    })),
  ];
  const wanted = text.trim().toLowerCase();
  return everything.filter(({ label }) => label.toLowerCase().includes(wanted)).slice(0, FOUND_MAX);
}

export function Palette({ onClose }: { readonly onClose: () => void }) {
  const { t } = useWords();
  const navigate = useNavigate();
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const found = useFound(text);
  const go = (one: Found | undefined): void => {
    if (one === undefined) return;
    onClose();
    void navigate({ to: one.to, search: one.search });
  };
  const press = (event: KeyboardEvent): void => {
    if (event.key === "ArrowDown") setAt(Math.min(found.length - 1, at + 1));
    else if (event.key === "ArrowUp") setAt(Math.max(0, at - 1));
    else if (event.key === "Enter") go(found[at]);
    else return;
    event.preventDefault();
  };
  return (
    <Sheet title={t("palette.title")} onClose={onClose}>
      <input
        className="palette-input"
        aria-label={t("palette.title")}
        aria-controls="palette-list"
        role="combobox"
        aria-expanded="true"
        aria-activedescendant={found.length === 0 ? undefined : `palette-${at}`}
        data-autofocus
        value={text}
        onKeyDown={press}
        onChange={(event) => {
          setText(event.currentTarget.value);
          setAt(0);
        }}
      />
      <div
        id="palette-list"
        role="listbox"
        aria-label={t("palette.title")}
        className="palette-list"
      >
        {found.map((one, index) => (
          <div
            key={`${one.kind} ${one.label}`}
            id={`palette-${index}`}
            role="option"
            tabIndex={-1}
            aria-selected={index === at}
            onClick={() => go(one)}
            onKeyDown={press}
          >
            <span>{one.label}</span> <span className="dim">{one.kind}</span>
          </div>
        ))}
      </div>
      {found.length === 0 ? <p className="dim">{t("palette.nothing")}</p> : null}
    </Sheet>
  );
}

const KEYS = [
  ["Ctrl K", "keys.palette"],
  ["g …", "keys.go"],
  ["j k ↓ ↑", "keys.rows"],
  ["Enter", "keys.open"],
  ["Esc", "keys.close"],
  ["?", "keys.help"],
] as const;

export function KeyHelp({ onClose }: { readonly onClose: () => void }) {
  const { t } = useWords();
  return (
    <Sheet title={t("keys.title")} onClose={onClose}>
      <dl className="facts">
        {KEYS.map(([keys, text]) => (
          <div key={keys}>
            <dt>
              <kbd>{keys}</kbd>
            </dt>
            <dd>{t(text)}</dd>
          </div>
        ))}
        {PLACES.map(({ letter, title }) => (
          <div key={letter}>
            <dt>
              <kbd>g {letter}</kbd>
            </dt>
            <dd>{t(title)}</dd>
          </div>
        ))}
      </dl>
    </Sheet>
  );
}
