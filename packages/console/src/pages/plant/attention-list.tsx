import { Link } from "@tanstack/react-router";
import { useWords } from "../../app/surroundings.tsx";
import type { Words } from "../../i18n/i18n.ts";
import { Mark, Section, Time } from "../../parts/basics.tsx";
import type { Card } from "./attention.ts";
import { reasonKey } from "./reasons.ts";

export function AttentionList({
  cards,
  isKnown,
}: {
  readonly cards: readonly Card[];
  readonly isKnown: boolean;
}) {
  const words = useWords();
  const { t, tn } = words;
  return (
    <Section title={t("attention.title")}>
      {cards.length === 0 ? (
        <p className="dim">{t(isKnown ? "attention.none" : "attention.unknown")}</p>
      ) : (
        <p className="dim small">{tn("attention.count", cards.length)}</p>
      )}
      <ul className="cards">
        {cards.map((card) => (
          <li key={card.id} className="card">
            <Mark priority={card.priority} />
            <p>{textOf(card, words)}</p>
            {card.atMs === undefined ? null : (
              <p className="small dim">
                <Time iso={new Date(card.atMs).toISOString()} />
              </p>
            )}
            <Link to={card.to} search={card.search} className="button">
              {t(`attention.do.${card.kind}`)}
            </Link>
          </li>
        ))}
      </ul>
    </Section>
  );
}

export function textOf(card: Card, { t, tn, time }: Words): string {
  switch (card.kind) {
    case "degraded":
      return card.text;
    case "drift":
      return `${tn("attention.drift", card.count)} ${card.text}`;
    case "time":
      return t("attention.time");
    case "island":
      return t("attention.island", { zone: card.zone });
    case "approve":
    case "apply":
      return t(`attention.${card.kind}`, { reason: card.reason, author: card.author });
    case "request":
      return t("attention.request", { person: card.person, asset: card.asset });
    case "ends":
      return t("attention.ends", { conduit: card.conduit, until: time(card.until) });
    case "denied": {
      const why = t(reasonKey(card.reason), { reason: card.reason });
      const port = card.port === 0 ? "" : ` ${card.protocol}/${card.port}`;
      const what = card.what === "" ? "" : `, ${card.what}`;
      const zones = `${card.fromZone || "?"} → ${card.toZone || "?"}`;
      if (card.source === "") return `${tn("attention.denied", card.refused)} ${zones}. ${why}`;
      const way = `${card.source} (${card.fromZone || "?"}) → ${card.destination} (${card.toZone || "?"})${port}${what}`;
      return `${tn("attention.denied", card.refused)} ${way}. ${why}`;
    }
    default:
      return card satisfies never;
  }
}
