/** Every page of the console in Chromium: WCAG by axe in both themes, 360 px, and the content security policy. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { CONSOLE_FILES } from "@sallyport/console";
import type { Page } from "playwright-core";
import { newVisitor, openBrowser, whyNoBrowser } from "./browser.test-kit.ts";
import { demoFlows, openConsolePlant, SITE_TEXT } from "./console.test-kit.ts";

const isBuilt = fs.existsSync(`${fileURLToPath(CONSOLE_FILES)}index.html`);
const skip = whyNoBrowser ?? (isBuilt ? false : "the console is not built: npm test builds it");
const AXE = fs.readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const WIDE = { width: 1440, height: 900 };
const NARROW = { width: 360, height: 740 };
const PAGES = [
  "/",
  "/?conduit=engineering-tunes-tank",
  "/?zone=cell-a",
  "/conduits",
  "/conduits?tab=edit&conduit=erp-reads-tank",
  "/conduits?tab=changes",
  "/conduits?tab=explain",
  "/evidence",
  "/evidence?record=0",
  "/people",
  "/people?tab=approvers",
  "/people?tab=access",
  "/people?tab=keys",
  "/people?tab=mine",
  "/settings",
  "/settings?tab=forwarding",
  "/settings?tab=backups",
  "/settings?tab=look",
  "/settings?tab=about",
  "/first-run",
];

test("every page: nothing serious for axe in both themes, no sideways scrolling at 360 px, nothing that its policy refuses", {
  skip,
}, async () => {
  const plant = await openConsolePlant(SITE_TEXT);
  plant.flows.push(...demoFlows(Date.now()));
  const browser = await openBrowser();
  try {
    const { page, complaints } = await newVisitor(browser, { viewport: WIDE });
    await page.goto(`${plant.url}/link#${plant.secret}`);
    await page.getByLabel("Short name").fill("anna");
    await page.getByLabel("Full name").fill("Anna Berg");
    await page.getByRole("button", { name: "Open the link and make a passkey" }).click();
    await page.waitForURL("**/first-run");
    const faults: string[] = [];
    for (const address of PAGES) faults.push(...(await faultsOf(page, plant.url, address)));
    assert.deepEqual(faults, []);
    assert.deepEqual([...new Set(complaints)], []);
  } finally {
    await browser.close();
    await plant.close();
  }
});

async function faultsOf(page: Page, url: string, address: string): Promise<readonly string[]> {
  const faults: string[] = [];
  await page.setViewportSize(WIDE);
  await page.goto(url + address);
  await page.getByRole("heading", { level: 1 }).waitFor();
  // What is read at the start is there in a moment; live streams never let the network be idle.
  await page.waitForTimeout(300);
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    for (const fault of await axe(page)) faults.push(`${colorScheme} ${address}: ${fault}`);
  }
  await page.setViewportSize(NARROW);
  const over = Number(await page.evaluate("document.documentElement.scrollWidth - innerWidth"));
  if (over > 0) faults.push(`360 px ${address}: ${over} px too wide`);
  return faults;
}

interface AxeFault {
  readonly id: string;
  readonly impact: string;
  readonly nodes: readonly { readonly html: string }[];
}

/** Given to the page by the debugger: its own policy would refuse it. */
async function axe(page: Page): Promise<readonly string[]> {
  await page.evaluate(AXE);
  const found = (await page.evaluate(
    "axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations)",
  )) as readonly AxeFault[];
  return found
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id} (${nodes.length}): ${nodes[0]?.html.slice(0, 160) ?? ""}`);
}
