/**
 * Debian's Chromium without a window on a host of the plant, driven over a pipe, since its port would be in that host's
 * namespace. Each person has a page, cookies and an authenticator of their own.
 */
import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import type { Readable, Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";

const CHROMIUM = "/usr/bin/chromium";
const STEP_MS = 50;
const LOADED_WITHIN_MS = 30_000;
const ANSWER_WITHIN_MS = 60_000;

interface Reply {
  readonly id?: number;
  readonly result?: Readonly<Record<string, unknown>>;
  readonly error?: { readonly message: string };
}

export interface BrowserOptions {
  /** The namespace it runs in. */
  readonly netns: string;
  /** Names that have no DNS here, and their addresses. */
  readonly hosts: Readonly<Record<string, string>>;
  /** Base64 of the SHA-256 of public keys of authorities that it trusts. */
  readonly trusted: readonly string[];
}

export function hasChromium(): boolean {
  return fs.existsSync(CHROMIUM);
}

export class Browser {
  readonly #child: ChildProcess;
  readonly #directory: string;
  readonly #to: Writable;
  readonly #waiting = new Map<number, (reply: Reply) => void>();
  #next = 1;
  #complaint = "";

  private constructor(child: ChildProcess, directory: string) {
    this.#child = child;
    this.#directory = directory;
    const [, , , to, from] = child.stdio;
    // Descriptors 3 and 4 were asked for as pipes.
    this.#to = to as Writable;
    this.#to.on("error", () => undefined);
    let rest = "";
    (from as Readable).setEncoding("utf8").on("data", (text: string) => {
      const parts = (rest + text).split("\0");
      rest = parts.pop() ?? "";
      for (const part of parts) this.#heard(JSON.parse(part) as Reply);
    });
    child.stderr?.on("data", (chunk: Buffer) => {
      this.#complaint = (this.#complaint + chunk.toString()).slice(-2000);
    });
  }

  static start({ netns, hosts, trusted }: BrowserOptions): Browser {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-browser-"));
    const rules = Object.entries(hosts).map(([name, address]) => `MAP ${name} ${address}`);
    const flags = [
      ...["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"],
      ...["--disable-background-networking", "--disable-dev-shm-usage", "--remote-debugging-pipe"],
      `--host-resolver-rules=${rules.join(",")}`,
      `--ignore-certificate-errors-spki-list=${trusted.join(",")}`,
      `--user-data-dir=${directory}`,
      "about:blank",
    ];
    const argv = ["--pdeathsig", "KILL", "--", "nsenter", `--net=/run/netns/${netns}`, "--"];
    const child = spawn("setpriv", [...argv, CHROMIUM, ...flags], {
      stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"],
      detached: true,
      env: { ...process.env, HOME: directory },
    });
    return new Browser(child, directory);
  }

  /** A page with cookies of its own, and an authenticator that verifies its user. */
  async page(script: string): Promise<Page> {
    const { browserContextId } = await this.send("Target.createBrowserContext", {});
    const { targetId } = await this.send("Target.createTarget", {
      ...{ url: "about:blank", browserContextId },
    });
    const attached = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(this, String(attached["sessionId"]));
    await page.prepare(script);
    return page;
  }

  async send(
    method: string,
    params: object,
    sessionId?: string,
  ): Promise<Readonly<Record<string, unknown>>> {
    const id = this.#next++;
    const session = sessionId === undefined ? {} : { sessionId };
    const answered = new Promise<Reply>((resolve) => this.#waiting.set(id, resolve));
    this.#to.write(`${JSON.stringify({ id, method, params, ...session })}\0`);
    const reply = await Promise.race([
      answered,
      sleep(ANSWER_WITHIN_MS, undefined, { ref: false }),
    ]);
    this.#waiting.delete(id);
    if (reply === undefined) throw new Error(`${method}: no answer; ${this.#complaint}`);
    if (reply.error !== undefined) throw new Error(`${method}: ${reply.error.message}`);
    return reply.result ?? {};
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    // Its own process group: nobody else is in it.
    if (this.#child.pid !== undefined && this.#child.exitCode === null) {
      process.kill(-this.#child.pid, "SIGKILL");
      await ended;
    }
    fs.rmSync(this.#directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }

  #heard(reply: Reply): void {
    if (reply.id !== undefined) this.#waiting.get(reply.id)?.(reply);
  }
}

export class Page {
  readonly #browser: Browser;
  readonly #session: string;

  constructor(browser: Browser, session: string) {
    this.#browser = browser;
    this.#session = session;
  }

  async prepare(script: string): Promise<void> {
    await this.#send("Page.enable", {});
    // No page of ours is there yet: what the API answers is one, whose policy lets no script ask.
    await this.#send("Page.setBypassCSP", { enabled: true });
    await this.#send("Page.addScriptToEvaluateOnNewDocument", { source: script });
    await this.#send("WebAuthn.enable", {});
    const options = {
      ...{ protocol: "ctap2", transport: "internal", hasResidentKey: true },
      ...{ hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
    };
    await this.#send("WebAuthn.addVirtualAuthenticator", { options });
  }

  /** Until the address, after all redirects, begins with `end`; answers it. */
  async go(url: string, end: string = url): Promise<string> {
    const { errorText } = await this.#send("Page.navigate", { url });
    if (errorText !== undefined) throw new Error(`${url}: ${JSON.stringify(errorText)}`);
    for (let waitedMs = 0; waitedMs < LOADED_WITHIN_MS; waitedMs += STEP_MS) {
      const state = await this.run("[document.readyState, location.href]").catch(() => undefined);
      const [ready, href] = (state ?? []) as readonly string[];
      if (ready === "complete" && href?.startsWith(end) === true) return href;
      await sleep(STEP_MS);
    }
    throw new Error(
      `${url} did not end at ${end}: ${JSON.stringify(await this.run("location.href"))}`,
    );
  }

  /** What the page's script answers, as JSON; a script that throws throws here. */
  async run(script: string): Promise<unknown> {
    const expression = `(async () => JSON.stringify((await (${script})) ?? null))()`;
    const asked = { expression, awaitPromise: true, userGesture: true };
    const { result, exceptionDetails } = await this.#send("Runtime.evaluate", asked);
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
    return JSON.parse(String((result as { value?: unknown }).value));
  }

  #send(method: string, params: object): Promise<Readonly<Record<string, unknown>>> {
    return this.#browser.send(method, params, this.#session);
  }
}
