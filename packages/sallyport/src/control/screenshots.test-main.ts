/**
 * `npm run screenshots [folder]`: every page in both themes and at 360 px, on the demo plant's policy, to be looked at. Flows are those of
 * a made-up day; nothing else is.
 */
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import type { Page } from "playwright-core";
import { newVisitor, openBrowser } from "./browser.test-kit.ts";
import { demoFlows, openConsolePlant, SITE_TEXT } from "./console.test-kit.ts";

const folder = path.resolve(process.argv[2] ?? "coverage/screenshots");
const only = process.argv[3];
const PAGES = [
  ["plant", "/"],
  ["plant-conduit", "/?conduit=engineering-tunes-tank"],
  ["plant-zone", "/?zone=cell-a"],
  ["conduits", "/conduits"],
  ["conduits-edit", "/conduits?tab=edit"],
  ["conduits-explain", "/conduits?tab=explain"],
  ["conduits-changes", "/conduits?tab=changes"],
  ["evidence", "/evidence"],
  ["evidence-record", "/evidence?record=0"],
  ["people", "/people"],
  ["people-mine", "/people?tab=mine"],
  ["people-approvers", "/people?tab=approvers"],
  ["settings", "/settings"],
  ["settings-about", "/settings?tab=about"],
  ["first-run", "/first-run"],
] as const;

fs.mkdirSync(folder, { recursive: true });
const plant = await openConsolePlant(SITE_TEXT);
plant.flows.push(...demoFlows(Date.now()));
const browser = await openBrowser();
try {
  const { page, complaints } = await newVisitor(browser, {
    viewport: { width: 1440, height: 900 },
  });
  await page.goto(`${plant.url}/`);
  await shot(page, "sign-in");
  await page.goto(`${plant.url}/link#${plant.secret}`);
  await page.getByLabel("Short name").fill("anna");
  await page.getByLabel("Full name").fill("Anna Berg");
  await shot(page, "link");
  await page.getByRole("button", { name: /passkey/i }).click();
  await page.waitForURL("**/first-run", { timeout: 15_000 });
  for (const theme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme: theme });
    for (const [name, address] of PAGES) {
      if (only !== undefined && !name.startsWith(only)) continue;
      await page.goto(plant.url + address);
      await shot(page, `${name}-${theme}`);
    }
  }
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 360, height: 740 });
  for (const [name, address] of PAGES) {
    if (only !== undefined && !name.startsWith(only)) continue;
    await page.goto(plant.url + address);
    await shot(page, `${name}-360`);
  }
  for (const complaint of new Set(complaints)) console.log(`the browser says: ${complaint}`);
  console.log(`screenshots are in ${folder}`);
} finally {
  await browser.close();
  await plant.close();
}

async function shot(page: Page, name: string): Promise<void> {
  await page.waitForLoadState("load");
  // Live streams never let the network be idle; what is read at the start is there in a second.
  await page.waitForTimeout(900);
  await page.screenshot({ path: path.join(folder, `${name}.png`), fullPage: true });
}
