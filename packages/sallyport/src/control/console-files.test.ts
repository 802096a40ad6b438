/** The console's files over the same door as the API: what is served, how it is cached, and what is not reachable. */
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import type { Connection, Server } from "@sallyport/api";
import { commands } from "../cli/commands.ts";
import { readConsole, withConsole } from "./console-files.ts";

const home = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-files-"));
after(() => fs.rmSync(home, { recursive: true }));
const dist = path.join(home, "dist");
fs.mkdirSync(path.join(dist, "assets"), { recursive: true });
fs.writeFileSync(path.join(home, "secret.json"), "{}");
fs.writeFileSync(path.join(dist, "index.html"), "<!doctype html><title>Sallyport</title>");
fs.writeFileSync(path.join(dist, "assets/main-ABC.js"), "export {};");
fs.writeFileSync(path.join(dist, "assets/styles-ABC.css"), "body{}");
fs.writeFileSync(path.join(dist, "assets/main.js.map"), "{}");
fs.writeFileSync(path.join(dist, ".stamp"), "x");
fs.symlinkSync(path.join(home, "secret.json"), path.join(dist, "assets/link.json"));

const asked: string[] = [];
const api: Server = {
  fetch: (request) => {
    asked.push(request.url);
    return Promise.resolve(new Response("of the API", { status: 404 }));
  },
  refused: () => new Response("", { status: 400 }),
  // Not asked for anything here.
  metrics: {} as Server["metrics"],
};
const connection: Connection = { peer: "192.0.2.7", transport: "tls" };
const files = readConsole(pathToFileURL(`${dist}/`));
const server = withConsole(api, files, ["gateway.example"]);
const ask = (where: string, init: RequestInit = {}): Promise<Response> =>
  server.fetch(
    new Request(where.startsWith("http") ? where : `https://gateway.example${where}`, init),
    connection,
  );

test("a page that a person opens or reloads is the console, asked for anew each time", async () => {
  for (const where of ["/", "/link", "/conduits?tab=edit", "/evidence"]) {
    const response = await ask(where);
    assert.equal(response.status, 200, where);
    assert.equal(response.headers.get("content-type"), "text/html; charset=utf-8");
    assert.equal(response.headers.get("cache-control"), "no-cache");
    const tag = response.headers.get("etag") ?? "";
    const again = await ask(where, { headers: { "if-none-match": tag } });
    assert.deepEqual([again.status, await again.text()], [304, ""]);
  }
});

test("files with a hash in their name are kept for good, each with its type", async () => {
  const script = await ask("/assets/main-ABC.js");
  assert.match(script.headers.get("cache-control") ?? "", /immutable/);
  assert.match(script.headers.get("content-type") ?? "", /^text\/javascript/);
  assert.equal(await script.text(), "export {};");
  const style = await ask("/assets/styles-ABC.css", { method: "HEAD" });
  assert.match(style.headers.get("content-type") ?? "", /^text\/css/);
  assert.equal(await style.text(), "");
});

test("nothing inline and nothing from elsewhere may run or be loaded, and nobody may frame it", async () => {
  const policy = (await ask("/")).headers.get("content-security-policy") ?? "";
  assert.match(policy, /default-src 'none'; script-src 'self'; style-src 'self'/);
  assert.ok(!/unsafe|https?:|\*/.test(policy), policy);
  assert.match(policy, /frame-ancestors 'none'/);
});

test("no path leads out of the folder: what is no entry is the API's to refuse", async () => {
  const strange = [
    "/../secret.json",
    "/assets/../../secret.json",
    "/assets/%2e%2e/%2e%2e/secret.json",
    "/..%2fsecret.json",
    "/assets//main-ABC.js",
    "/assets/link.json",
    "/assets/main.js.map",
    "/.stamp",
    "/index.html/",
    "/assets/",
  ];
  for (const where of strange) {
    const text = await (await ask(where)).text();
    assert.equal(text, "of the API", where);
  }
  assert.equal(asked.length, strange.length);
});

test("another name, another method and the API's own paths are the API's", async () => {
  for (const [where, init] of [
    ["https://evil.example/", {}],
    ["/", { method: "POST" }],
    ["/v1/status", {}],
    ["/healthz", {}],
  ] as const) {
    assert.equal(await (await ask(where, init)).text(), "of the API", where);
  }
});

test("without a build there is no console, and the API goes on", async () => {
  const none = readConsole(pathToFileURL(path.join(home, "nowhere/")));
  assert.equal(none.size, 0);
  const bare = withConsole(api, none, ["gateway.example"]);
  const response = await bare.fetch(new Request("https://gateway.example/"), connection);
  assert.equal(await response.text(), "of the API");
});

test("every command line that the console's pages show is one that there is", () => {
  const root = path.join(import.meta.dirname, "../../../console/src");
  const names = new Set(commands.map(({ name }) => name));
  let checked = 0;
  for (const file of fs.readdirSync(root, { recursive: true, encoding: "utf8" })) {
    if (!/\.tsx?$/.test(file)) continue;
    const text = fs.readFileSync(path.join(root, file), "utf8");
    for (const [line, first = "", second = ""] of text.matchAll(
      /sallyport ([a-z]+)(?: ([a-z]+))?/g,
    )) {
      if (/^(gateway|\/)/.test(first)) continue;
      assert.ok(names.has(first) || names.has(`${first} ${second}`), `${file}: ${line}`);
      checked += 1;
    }
  }
  assert.ok(checked > 20, `${checked} lines`);
});
