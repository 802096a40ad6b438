/**
 * The console against the real daemons and the real plant, in a browser on an office machine: its packets go through both engines' rules
 * like anybody's. Link, passkey, map, a change that is confirmed and one that is not, an attack that shows on its line, the record of it
 * all, and the end of all remote access.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import { formatIpv4, type Json } from "@sallyport/core";
import { type Browser, chromium, type Page } from "playwright-core";
import { ask, fields, listOf, word } from "sallyport";
import { whyNoNamespaces } from "../lab/namespaces.ts";
import { buildSite, plantPolicy, type Site } from "../lab/site.ts";

const CHROMIUM = "/usr/bin/chromium";
const ROOT = path.join(import.meta.dirname, "..");
const CLI = path.join(ROOT, "packages/sallyport/bin/sallyport.mjs");
const why =
  process.getuid?.() !== 0
    ? "needs root: rooms, eBPF and uids"
    : !fs.existsSync(CHROMIUM)
      ? `no ${CHROMIUM} here`
      : !fs.existsSync(path.join(ROOT, "packages/console/dist/index.html"))
        ? "the console is not built: npm test builds it"
        : await whyNoNamespaces();
const skip = why ?? false;
const STEP_MS = 30_000;
const URL_OF = "https://localhost:8443";

let site: Site | undefined;
let browser: Browser | undefined;
let home = "";
let anna: Page;
let erin: Page;
let olga: Page;

before(async () => {
  if (why !== undefined) return;
  home = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-console-"));
  site = await buildSite({
    ...{ name: `w${process.pid}`, mode: "kernel", devices: false },
    policy: { name: "site.yaml", text: policyText() },
  });
  browser = await openBrowser(site);
  anna = await visitor(browser);
  erin = await visitor(browser);
  olga = await visitor(browser);
});
after(async () => {
  await browser?.close();
  await site?.destroy();
  if (home !== "") fs.rmSync(home, { recursive: true, force: true });
});

/** The plant's, with `control` in a room of its own that one office machine reaches on one port. */
function policyText(): string {
  const conduit = `  console:
    from: erp
    to: dmz/control
    service: console
    via: direct
    system: true
    reason: people use the console from their desks
    owner: it-ops
    why: sign-in and approvals
    expires: 2027-06-30
`;
  return plantPolicy()
    .text.replace(/^components:\n/m, "components:\n  control: { kind: control }\n")
    .replace(/^services:\n/m, "services:\n  console: { tcp: [8443] }\n")
    .replace(/^conduits:\n/m, `conduits:\n${conduit}`);
}

function onSite(): Site {
  assert.ok(site, "the plant was built");
  return site;
}

function cli(...args: readonly string[]): ReturnType<typeof fields> {
  const argv = [CLI, ...args, "--json", "--instance", onSite().instance.name];
  const { status, stdout, stderr } = spawnSync(process.execPath, argv, { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return fields(JSON.parse(stdout) as Json);
}

async function controlAddress(): Promise<string> {
  const { legs } = fields(await ask(onSite().instance.name, { type: "running" }));
  const room = listOf(fields(legs ?? null)["rooms"])
    .map(fields)
    .find(({ kind }) => kind === "control");
  const [number] = listOf(fields(room?.["outer"] ?? null)["addresses"]);
  assert.ok(typeof number === "number", "the room has an address on the office's side");
  return formatIpv4(number);
}

/** In the office machine's namespace; the name that the passkeys are for leads to the gateway there. */
async function openBrowser(where: Site): Promise<Browser> {
  const start = path.join(home, "chromium");
  const netns = `/run/netns/${where.plant.netns("erp") ?? ""}`;
  fs.writeFileSync(start, `#!/bin/sh\nexec nsenter --net=${netns} -- ${CHROMIUM} "$@"\n`, {
    mode: 0o755,
  });
  const address = await controlAddress();
  return await chromium.launch({
    executablePath: start,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      `--host-resolver-rules=MAP localhost ${address}`,
    ],
  });
}

async function visitor(opened: Browser): Promise<Page> {
  const context = await opened.newContext({ ignoreHTTPSErrors: true, locale: "en" });
  context.setDefaultTimeout(STEP_MS);
  const page = await context.newPage();
  const session = await context.newCDPSession(page);
  await session.send("WebAuthn.enable");
  await session.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      ...{ protocol: "ctap2", transport: "internal", hasResidentKey: true },
      ...{ hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
    },
  });
  return page;
}

const press = (page: Page, name: string | RegExp): Promise<void> =>
  page.getByRole("button", { name }).first().click();

test("from a desk: root's link, a passkey, and the plant's map as the engines hold it", {
  skip,
}, async () => {
  const { secret } = cli("admin", "link");
  await reach(anna);
  await anna.goto(`${URL_OF}/link#${word(secret)}`);
  await anna.getByLabel("Short name").fill("anna");
  await anna.getByLabel("Full name").fill("Anna");
  await press(anna, "Open the link and make a passkey");
  await anna.waitForURL("**/first-run");
  await anna.goto(URL_OF);
  await anna.getByText("brewery-7").waitFor();
  for (const zone of ["enterprise", "vendor", "supervisory", "cell-a", "cell-b", "safety"]) {
    await anna.getByRole("button", { name: zone, exact: true }).waitFor();
  }
});

/** `control` starts anew in its room once the policy is in force. */
async function reach(page: Page): Promise<void> {
  const endMs = Date.now() + STEP_MS;
  for (;;) {
    try {
      await page.goto(`${URL_OF}/healthz`);
      return;
    } catch (error) {
      if (Date.now() > endMs) throw error;
      await new Promise((go) => setTimeout(go, 500));
    }
  }
}

async function edit(page: Page, from: string, to: string, reason: string): Promise<void> {
  await page.goto(`${URL_OF}/conduits?tab=edit`);
  const text = page.getByRole("textbox", { name: "Policy text" });
  await text.waitFor();
  const now = (await text.inputValue()) || policyText();
  assert.ok(now.includes(from));
  await text.fill(now.replace(from, to));
  await page.getByText(/has no objection/).waitFor();
  await press(page, "Save draft");
  await page.getByText("Saved.").waitFor();
  await page.getByLabel("Reason").fill(reason);
  await page.getByRole("button", { name: "Plan", exact: true }).click();
  await page.getByText(reason).first().waitFor();
}

async function approveAndApply(seconds: string): Promise<void> {
  await olga.goto(`${URL_OF}/conduits?tab=changes`);
  await press(olga, "Approve with passkey");
  await olga.getByText("1 of 1 signatures.").waitFor();
  await erin.goto(`${URL_OF}/conduits?tab=changes`);
  await erin.getByLabel("Seconds until it must be confirmed").fill(seconds);
  await press(erin, "Apply on trial");
  await erin.getByText(/\d+ s left to confirm/).waitFor();
}

const generation = async (): Promise<number> =>
  Number(fields(await ask(onSite().instance.name, { type: "status" }))["generation"]);

/** By a one-time link; answers the command that root enrolls the passkey with. */
async function invited(page: Page, id: string, role: string): Promise<readonly string[]> {
  await anna.goto(`${URL_OF}/people`);
  const invite = anna.getByRole("region", { name: "Invite somebody" });
  await invite.getByLabel("Short name").fill(id);
  await invite.getByLabel("Full name").fill(id);
  await invite.getByLabel(new RegExp(`^${role}`)).check();
  await invite.getByRole("button", { name: "Invite" }).click();
  const link = await invite.locator("code.cli", { hasText: "/invite#" }).textContent();
  await page.goto(link ?? "");
  await press(page, "Open the link and make a passkey");
  await page.getByText("You are in").waitFor();
  const line = await page.locator("code.cli", { hasText: "approver add" }).textContent();
  return (line ?? "").split(" ").slice(1);
}

test("an engineer's edit is planned, signed in another browser, applied and confirmed", {
  skip,
}, async () => {
  await invited(erin, "erin", "engineer");
  cli(...(await invited(olga, "olga", "approver")));
  const was = await generation();
  await edit(erin, "holding-registers: [20-39]", "holding-registers: [20-49]", "recipes need more");
  await approveAndApply("90");
  await press(erin, "Confirm: it works");
  await erin.getByText(`generation ${was + 1}`).waitFor();
  assert.equal(await generation(), was + 1, "the enforcer says so too");
});

test("without a confirmation the generation before is in force again, and the page says so", {
  skip,
}, async () => {
  const was = await generation();
  await edit(erin, "holding-registers: [20-49]", "holding-registers: [20-59]", "one more try");
  await approveAndApply("10");
  await erin
    .getByText(/the generation before is in force again/)
    .first()
    .waitFor();
  await erin.getByText("rolled back").first().waitFor();
  assert.equal(await generation(), was);
});

test("an attack shows on the line between its zones, with the reason", { skip }, async (t) => {
  // Lists of flows belong to the journal; what is refused comes by live events, which another part publishes.
  const live = path.join(ROOT, "packages/sallyport/src/control/live.ts");
  if (!fs.existsSync(live)) return t.skip("control publishes no live events in this build");

  await anna.goto(URL_OF);
  const knock = ["curl", "-s", "-m", "2", "http://10.43.0.10:502/"];
  for (let count = 0; count < 3; count += 1) await onSite().plant.run("vendor-pc", knock);
  await anna.getByRole("button", { name: /refused: vendor → safety/ }).waitFor();
  await anna
    .getByText(/refused: .*vendor.* → .*safety.*No conduit allows this/)
    .first()
    .waitFor();
});

test("what was done is on record; all remote access is stopped with a reason", {
  skip,
}, async () => {
  await erin.goto(`${URL_OF}/evidence?type=control.change-confirm-asked`);
  await erin.getByText("control.change-confirm-asked").first().waitFor();
  await press(anna, /Stop all remote access/);
  const dialog = anna.getByRole("dialog");
  await dialog.getByLabel("Reason").fill("drill");
  await dialog.getByRole("button", { name: /Stop all/ }).click();
  await dialog.getByText("0 grants were revoked").waitFor();
});
