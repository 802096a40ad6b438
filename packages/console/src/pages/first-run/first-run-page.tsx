import { Page } from "../../parts/basics.tsx";

export function FirstRunPage() {
  return <Page title="FirstRun">…</Page>;
}
