import { useQuery } from "@tanstack/react-query";
import { useWords } from "../../app/surroundings.tsx";
import { AsCli, Loading, Section } from "../../parts/basics.tsx";

interface Notice {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly text: string;
}

export function AboutTab() {
  const { t } = useWords();
  const notices = useQuery({
    queryKey: ["notices"],
    // Made by the build from what the bundle holds.
    queryFn: async () => (await (await fetch("/notices.json")).json()) as readonly Notice[],
    staleTime: Number.POSITIVE_INFINITY,
  });
  return (
    <Section title={t("about.title")}>
      <p>{t("about.what")}</p>
      <p>
        <a href="/v1/openapi.json">{t("about.api")}</a>
      </p>
      <h3>{t("about.notices")}</h3>
      <Loading query={notices} />
      {notices.data?.map(({ name, version, license, text }) => (
        <details key={name}>
          <summary>
            {name} {version} · {license}
          </summary>
          <code className="cli">{text === "" ? t("about.no-text") : text}</code>
        </details>
      ))}
      <AsCli line="sallyport version" />
    </Section>
  );
}
