import { NativeSelect, useMantineColorScheme } from "@mantine/core";
import { useSetLanguage, useWords } from "../../app/surroundings.tsx";
import { LANGUAGES } from "../../i18n/i18n.ts";
import { Section } from "../../parts/basics.tsx";

const NAMES = { en: "English", de: "Deutsch" } as const;
const SCHEMES = ["auto", "light", "dark"] as const;

export function LookTab() {
  const { t, language } = useWords();
  const setLanguage = useSetLanguage();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  return (
    <Section title={t("settings.tab.look")}>
      <div className="fields">
        <NativeSelect
          label={t("look.language")}
          value={language}
          data={LANGUAGES.map((value) => ({ value, label: NAMES[value] }))}
          // The list holds nothing else.
          onChange={(event) => setLanguage(event.currentTarget.value as (typeof LANGUAGES)[number])}
        />
        <NativeSelect
          label={t("look.theme")}
          value={colorScheme}
          data={SCHEMES.map((value) => ({ value, label: t(`look.${value}`) }))}
          onChange={(event) =>
            setColorScheme(event.currentTarget.value as (typeof SCHEMES)[number])
          }
        />
      </div>
      <p className="dim">{t("look.here")}</p>
    </Section>
  );
}
