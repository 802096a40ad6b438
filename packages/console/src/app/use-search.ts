/** The address's filters, and a way to change them that the back button takes back. */
import { useNavigate, useSearch } from "@tanstack/react-router";
import type { Search } from "./search.ts";

export function useFilters(): readonly [Search, (change: Search) => void] {
  // Every page of the shell reads its address by `searchOf`.
  const search = useSearch({ strict: false }) as Search;
  const navigate = useNavigate();
  const change = (next: Search): void => {
    const given = Object.entries({ ...search, ...next }).filter(([, value]) => value !== "");
    void navigate({ to: ".", search: Object.fromEntries(given) });
  };
  return [search, change];
}
