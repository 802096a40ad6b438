/** A rule in plain words, from what its file says; what has no word yet is shown as it is written. */
import { stringify } from "yaml";
import type { Key, Words } from "../../i18n/i18n.ts";

type Value = Readonly<Record<string, unknown>>;

const VIAS = new Set(["proxy", "inspect", "session", "direct", "diode"]);

export function ruleInWords(value: Value, words: Words): readonly string[] {
  const { t } = words;
  const via = endOf(value["via"]);
  const head = t("rule.head", {
    ...{ from: endOf(value["from"]), to: endOf(value["to"]), service: endOf(value["service"]) },
    via: VIAS.has(via) ? t(`via.${via}` as Key) : via,
  });
  return [head, ...limits(value["l7"], words), ...terms(value, words)];
}

function endOf(value: unknown): string {
  if (value === undefined || value === null) return "?";
  if (typeof value === "string") return value;
  return stringify(value, { collectionStyle: "flow" }).trim();
}

function limits(l7: unknown, { t }: Words): readonly string[] {
  if (typeof l7 !== "object" || l7 === null) return [];
  return Object.entries(l7 as Value).flatMap(([protocol, limit]) => {
    if (typeof limit !== "object" || limit === null) return [];
    const { functions, ...rest } = limit as Value;
    const only = Array.isArray(functions)
      ? [t("rule.functions", { protocol, functions: functions.map(plain).join(", ") })]
      : [];
    const others = Object.entries(rest).map(([name, value]) =>
      t("rule.limit", { name: plain(name), value: endOf(value) }),
    );
    return [...only, ...others];
  });
}

function plain(name: unknown): string {
  return String(name).replaceAll("-", " ");
}

function terms(value: Value, { t }: Words): readonly string[] {
  const told = (key: Key, name: string): readonly string[] =>
    value[name] === undefined ? [] : [t(key, { value: endOf(value[name]) })];
  return [
    ...told("rule.through", "through"),
    ...told("rule.window", "window"),
    ...told("rule.session", "session"),
    ...told("rule.island", "island"),
    ...told("rule.why", "why"),
    ...told("rule.owner", "owner"),
    ...told("rule.expires", "expires"),
  ];
}
