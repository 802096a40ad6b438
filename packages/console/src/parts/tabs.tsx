/** Parts of a page, each with an address of its own. */
import { Link } from "@tanstack/react-router";

export function Tabs({
  to,
  now,
  tabs,
}: {
  readonly to: string;
  readonly now: string;
  readonly tabs: readonly { readonly id: string; readonly title: string }[];
}) {
  return (
    <nav className="tabs" aria-label={tabs.map(({ title }) => title).join(", ")}>
      {tabs.map(({ id, title }) => (
        <Link
          key={id}
          to={to}
          search={{ tab: id }}
          activeOptions={{ includeSearch: true, exact: true }}
          activeProps={{}}
          aria-current={id === now ? "page" : undefined}
        >
          {title}
        </Link>
      ))}
    </nav>
  );
}
