import { Page } from "../../parts/basics.tsx";

export function ConduitsPage() {
  return <Page title="Conduits">…</Page>;
}
