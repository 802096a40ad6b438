/** The console in Debian's Chromium, on real services: the ways of people through its pages, and its size. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { CONSOLE_FILES } from "@sallyport/console";
import type { Browser, Page } from "playwright-core";
import { newVisitor, openBrowser, type Visitor, whyNoBrowser } from "./browser.test-kit.ts";
import { type ConsolePlant, demoFlows, openConsolePlant, SITE_TEXT } from "./console.test-kit.ts";

const dist = fileURLToPath(CONSOLE_FILES);
const isBuilt = fs.existsSync(`${dist}index.html`);
const skip = whyNoBrowser ?? (isBuilt ? false : "the console is not built: npm test builds it");
const FIRST_LOAD_MAX = 300 * 1000;
let plant: ConsolePlant;
let browser: Browser;
let anna: Visitor;
let erin: Visitor;
let olga: Visitor;

before(async () => {
  if (skip !== false) return;
  plant = await openConsolePlant(SITE_TEXT);
  plant.flows.push(...demoFlows(Date.now()));
  browser = await openBrowser();
  anna = await newVisitor(browser, { viewport: { width: 1440, height: 900 } });
  erin = await newVisitor(browser, { viewport: { width: 1440, height: 900 } });
  olga = await newVisitor(browser, { viewport: { width: 360, height: 740 } });
});
after(async () => {
  if (skip !== false) return;
  await browser.close();
  await plant.close();
});

const press = (page: Page, name: string | RegExp): Promise<void> =>
  page.getByRole("button", { name }).first().click();

test("what a first visit loads is small", { skip: isBuilt ? false : "not built" }, () => {
  const files = JSON.parse(fs.readFileSync(`${dist}first-load.json`, "utf8")) as string[];
  assert.ok(files.length > 1);
  const bytes = files.reduce(
    (sum, file) => sum + gzipSync(fs.readFileSync(`${dist}assets/${file}`)).length,
    0,
  );
  assert.ok(bytes <= FIRST_LOAD_MAX, `${bytes} bytes of JavaScript and CSS`);
});

test("the first administrator opens the link, makes a passkey, and is in", { skip }, async () => {
  const { page } = anna;
  await page.goto(`${plant.url}/link#${plant.secret}`);
  await page.getByLabel("Short name").fill("anna");
  await page.getByLabel("Full name").fill("Anna Berg");
  await press(page, "Open the link and make a passkey");
  await page.waitForURL("**/first-run");
  assert.ok(!page.url().includes(plant.secret), "the secret is in no history");
  await page.goto(plant.url);
  await page.getByText("brewery-7").waitFor();
  await page.getByText("generation 1").waitFor();
  await page.getByText("live", { exact: true }).waitFor();
});

test("the map shows a refusal on its very conduit, and the list says what and why", {
  skip,
}, async () => {
  const { page } = anna;
  await page.goto(plant.url);
  const label = page.getByRole("button", { name: /refused: supervisory → cell-a/ });
  await label.waitFor();
  const card = page.getByText(
    /10\.20\.0\.10 \(vendor\) → 10\.43\.0\.10 \(safety\).*No conduit allows this/,
  );
  await card.waitFor();
  await label.focus();
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").getByText("write-single-coil").first().waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
});

/** By the link that an administrator gets; answers the words that root would enroll the passkey with. */
async function invited(person: Visitor, id: string, role: string): Promise<readonly string[]> {
  await anna.page.goto(`${plant.url}/people`);
  const invite = anna.page.getByRole("region", { name: "Invite somebody" });
  await invite.getByLabel("Short name").fill(id);
  await invite.getByLabel("Full name").fill(id);
  await invite.getByLabel(new RegExp(`^${role}`)).check();
  await invite.getByRole("button", { name: "Invite" }).click();
  const link = await invite.locator("code.cli", { hasText: "/invite#" }).textContent();
  const { page } = person;
  await page.goto(link ?? "");
  await press(page, "Open the link and make a passkey");
  await page.getByText("You are in").waitFor();
  const line = await page.locator("code.cli", { hasText: "approver add" }).textContent();
  return (line ?? "").split(" ");
}

test("an engineer and an approver come by one-time links, each with a passkey of their own", {
  skip,
}, async () => {
  await invited(erin, "erin", "engineer");
  const words = await invited(olga, "olga", "approver");
  const following = (flag: string): string => words[words.indexOf(flag) + 1] ?? "";
  const origin = following("--origin");
  const passkey = { credentialId: following("--passkey"), rpId: new URL(origin).hostname, origin };
  await plant.enforcer.addKey("olga", "olga", following("--key"), passkey);
});

test("an engineer edits in form and text, loses nothing, and plans", { skip }, async () => {
  const { page } = erin;
  await page.goto(`${plant.url}/conduits?tab=edit&conduit=erp-reads-tank`);
  const text = page.getByRole("textbox", { name: "Policy text" });
  await page.getByLabel("Ends").fill("2027-05-31");
  const typed = await text.inputValue();
  assert.ok(typed.includes("expires: 2027-05-31") && typed.includes("# IAC UC SI DC RDF TRE RA"));
  await text.fill(typed.replace("holding-registers: [20-39]", "holding-registers: [20-49]"));
  await page.getByText(/has no objection/).waitFor();
  await page.reload();
  assert.ok((await text.inputValue()).includes("[20-49]"), "a reload loses nothing that was typed");
  await press(page, "Save draft");
  await page.getByText("Saved.").waitFor();
  await page.getByLabel("Reason").fill("recipes need more registers");
  await page.getByRole("button", { name: "Plan", exact: true }).click();
  await page.getByText("Lets something pass that does not pass now.").waitFor();
  await page.getByText(/nobody approves what they asked for/).waitFor();
});

test("somebody else signs with a passkey; it is applied on trial and confirmed", {
  skip,
}, async () => {
  await olga.page.goto(`${plant.url}/conduits?tab=changes`);
  await press(olga.page, "Approve with passkey");
  await olga.page.getByText("1 of 1 signatures.").waitFor();
  const { page } = erin;
  await page.goto(`${plant.url}/conduits?tab=changes`);
  await press(page, "Apply on trial");
  await page.getByText(/\d+ s left to confirm/).waitFor();
  await page.getByText(/in force on trial: unless confirmed/).waitFor();
  await press(page, "Confirm: it works");
  await page.getByText("generation 2").waitFor();
});

test("a mistake is told at the field and with its line, and cannot be planned", {
  skip,
}, async () => {
  const { page } = erin;
  await page.goto(`${plant.url}/conduits?tab=edit&conduit=erp-reads-tank`);
  await page.getByLabel("To", { exact: true }).fill("tank-plx");
  await page.locator(".diagnostics li", { hasText: "tank-plx" }).first().waitFor();
  const told = await page.locator(".diagnostics").textContent();
  assert.match(told ?? "", /site\.yaml:\d+:\d+.*tank-plx/);
  await page.locator(".mantine-InputWrapper-error").first().waitFor();
  assert.equal(await page.getByRole("button", { name: "Plan", exact: true }).isDisabled(), true);
});

test("two people who edit one policy: the second is told, and keeps what they typed", {
  skip,
}, async () => {
  const { page } = erin;
  const other = await erin.context.newPage();
  await other.goto(`${plant.url}/conduits?tab=edit`);
  const base = other.getByRole("textbox", { name: "Policy text" });
  await base.fill(`${SITE_TEXT}\n# from the other tab\n`);
  await press(other, "Save draft");
  await other.getByText("Saved.").waitFor();
  await other.close();
  await press(page, "Save draft");
  await page
    .getByText(/the draft is another by now/)
    .first()
    .waitFor();
  await page.getByText(/saved another draft meanwhile/).waitFor();
  const text = await page.getByRole("textbox", { name: "Policy text" }).inputValue();
  assert.ok(text.includes("tank-plx"), "nothing typed is lost");
});

test("a packet is explained by the line that decides", { skip }, async () => {
  const { page } = anna;
  await page.goto(`${plant.url}/conduits?tab=explain`);
  await page.getByLabel(/^From/).fill("10.20.0.10");
  await page.getByLabel(/^To/).fill("10.43.0.10");
  await page.getByLabel("Port", { exact: true }).fill("502");
  await press(page, "Explain");
  await page.getByText("refused", { exact: true }).waitFor();
});

test("an expired sign-in asks again over the page, and the act goes on", { skip }, async () => {
  const { page, context } = anna;
  await page.goto(`${plant.url}/people?tab=mine`);
  await page.getByLabel("Name of the passkey").fill("spare");
  await context.clearCookies();
  await page.getByRole("button", { name: "Set up an app" }).click();
  await page.getByRole("dialog").getByText("Sign in again").waitFor();
  assert.equal(await page.getByLabel("Name of the passkey").inputValue(), "spare");
  await page.getByRole("dialog").getByRole("button", { name: "Sign in with a passkey" }).click();
  await page.getByText("Type this into your app:").waitFor();
});

test("all remote access is stopped from any page, with a reason", { skip }, async () => {
  const { page } = anna;
  await page.goto(`${plant.url}/settings`);
  await press(page, /Stop all remote access/);
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Reason").fill("drill");
  await dialog.getByRole("button", { name: /Stop all/ }).click();
  await dialog.getByText("0 grants were revoked").waitFor();
});

test("by keyboard alone: to a page by its letter, to a zone by its name, help, and back", {
  skip,
}, async () => {
  const { page } = anna;
  await page.goto(plant.url);
  await page.getByRole("heading", { name: "Plant" }).waitFor();
  await page.keyboard.press("g");
  await page.keyboard.press("e");
  await page.getByRole("heading", { name: "Evidence", exact: true }).waitFor();
  await page.keyboard.press("Control+k");
  await page.keyboard.type("cell-b");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").getByText("Zone cell-b").waitFor();
  await page.keyboard.press("Escape");
  await page.keyboard.press("?");
  await page.getByRole("dialog").getByText("Keys").first().waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
});

test("German, where the browser speaks it or a person chooses it", { skip }, async () => {
  const german = await newVisitor(browser, { locale: "de-AT" });
  await german.page.goto(plant.url);
  await german.page.getByText("Mit Passkey anmelden").waitFor();
  assert.equal(await german.page.locator("html").getAttribute("lang"), "de");
  await german.context.close();
});

test("the browser had nothing to refuse: no inline script or style, nothing from elsewhere", {
  skip,
}, () => {
  assert.deepEqual([...new Set([...anna.complaints, ...erin.complaints])], []);
});
