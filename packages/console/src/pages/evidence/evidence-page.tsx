import { Page } from "../../parts/basics.tsx";

export function EvidencePage() {
  return <Page title="Evidence">…</Page>;
}
