import { Page } from "../../parts/basics.tsx";

export function SettingsPage() {
  return <Page title="Settings">…</Page>;
}
