import { Page } from "../../parts/basics.tsx";

export function PeoplePage() {
  return <Page title="People">…</Page>;
}
