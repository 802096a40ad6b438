/**
 * Debian's Chromium without a window, driven by the DevTools protocol over Node's own WebSocket,
 * with its virtual authenticator.
 */
import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

const CHROMIUM = "/usr/bin/chromium";
const START_MS = 20_000;
const STEP_MS = 50;

export function hasChromium(): boolean {
  return fs.existsSync(CHROMIUM);
}

interface Reply {
  readonly id?: number;
  readonly result?: Readonly<Record<string, unknown>>;
  readonly error?: { readonly message: string };
}

export class Chromium {
  readonly #child: ChildProcess;
  readonly #directory: string;
  readonly #socket: WebSocket;
  readonly #waiting: Map<number, (reply: Reply) => void> = new Map();
  #session: string | undefined;
  #next = 1;

  private constructor(child: ChildProcess, directory: string, socket: WebSocket) {
    this.#child = child;
    this.#directory = directory;
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => {
      const reply = JSON.parse(String(data)) as Reply;
      if (reply.id !== undefined) this.#waiting.get(reply.id)?.(reply);
    });
  }

  /** On a page of `url`, with an authenticator that verifies its user. */
  static async open(url: string): Promise<{ chromium: Chromium; authenticator: string }> {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-chromium-"));
    const flags = [
      "--headless=new",
      "--no-sandbox",
      "--disable-gpu",
      "--no-first-run",
      "--disable-background-networking",
      "--remote-debugging-port=0",
      `--user-data-dir=${directory}`,
      "about:blank",
    ];
    const child = spawn(CHROMIUM, flags, { stdio: "ignore", detached: true });
    const socket = new WebSocket(await endpoint(directory));
    await new Promise((resolve) => socket.addEventListener("open", resolve, { once: true }));
    const chromium = new Chromium(child, directory, socket);
    const target = await chromium.#send("Target.createTarget", { url });
    const attached = await chromium.#send("Target.attachToTarget", {
      targetId: target["targetId"],
      flatten: true,
    });
    chromium.#session = String(attached["sessionId"]);
    await chromium.#send("WebAuthn.enable", {});
    await chromium.#loaded(url);
    const options = {
      protocol: "ctap2",
      transport: "internal",
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    };
    const made = await chromium.#send("WebAuthn.addVirtualAuthenticator", { options });
    return { chromium, authenticator: String(made["authenticatorId"]) };
  }

  /** What the page's script answers, as JSON; a script that throws throws here. */
  async run(script: string): Promise<unknown> {
    const expression = `(async () => JSON.stringify(await (${script})))()`;
    const asked = { expression, awaitPromise: true, userGesture: true };
    const { result, exceptionDetails } = await this.#send("Runtime.evaluate", asked);
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
    return JSON.parse(String((result as { value?: unknown }).value));
  }

  async setUserVerified(authenticatorId: string, isUserVerified: boolean): Promise<void> {
    await this.#send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified });
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    // Its own process group: nobody else is in it.
    if (this.#child.pid !== undefined) process.kill(-this.#child.pid, "SIGKILL");
    await ended;
    fs.rmSync(this.#directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }

  async #loaded(url: string): Promise<void> {
    for (let waitedMs = 0; waitedMs < START_MS; waitedMs += STEP_MS) {
      const state = await this.run("[document.readyState, location.href]");
      if (JSON.stringify(state) === JSON.stringify(["complete", `${url}/`])) return;
      await new Promise((resolve) => setTimeout(resolve, STEP_MS));
    }
    throw new Error(`${url} was not loaded within ${START_MS} ms`);
  }

  async #send(method: string, params: object): Promise<Readonly<Record<string, unknown>>> {
    const id = this.#next++;
    const { promise, resolve } = Promise.withResolvers<Reply>();
    this.#waiting.set(id, resolve);
    const session = this.#session === undefined ? {} : { sessionId: this.#session };
    this.#socket.send(JSON.stringify({ id, method, params, ...session }));
    const { result, error } = await promise;
    this.#waiting.delete(id);
    if (error !== undefined) throw new Error(`${method}: ${error.message}`);
    return result ?? {};
  }
}

/** Chromium writes its port and path into a file once it listens. */
async function endpoint(directory: string): Promise<string> {
  const file = path.join(directory, "DevToolsActivePort");
  for (let waitedMs = 0; waitedMs < START_MS; waitedMs += STEP_MS) {
    const [port = "", where = ""] = fs.existsSync(file)
      ? fs.readFileSync(file, "utf8").split("\n")
      : [];
    if (where !== "") return `ws://127.0.0.1:${port}${where}`;
    await new Promise((resolve) => setTimeout(resolve, STEP_MS));
  }
  throw new Error(`chromium did not start within ${START_MS} ms`);
}
