/**
 * The console's files beside the API, from its own origin. They are read once, at the start: a request names an entry of a map, so
 * there is no path that could lead anywhere else.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { Server } from "@sallyport/api";

/** Hashed names never change what they hold. */
const FOREVER = "public, max-age=31536000, immutable";
/** Asked again each time, and answered by its tag when it is the same. */
const ASKED = "no-cache";
/** A bundle has a dozen; a folder of thousands is not one. */
const FILES_MAX = 500;

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".json": "application/json",
};

/** Pages of the console: an address that a person may open or reload. */
const PAGES = new Set([
  "/",
  "/link",
  "/invite",
  "/conduits",
  "/evidence",
  "/people",
  "/settings",
  "/first-run",
]);

export const CONSOLE_HEADERS: Readonly<Record<string, string>> = {
  // Nothing from elsewhere, nothing inline; `data:` only for the small pictures in Mantine's styles.
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "strict-transport-security": "max-age=63072000; includeSubDomains",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy":
    "camera=(), geolocation=(), microphone=(), usb=(), publickey-credentials-get=(self), publickey-credentials-create=(self)",
};

interface ConsoleFile {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly type: string;
  readonly tag: string;
  readonly cache: string;
}

export type ConsoleFiles = ReadonlyMap<string, ConsoleFile>;

/** Empty when the console was not built: the API goes on without. */
export function readConsole(directory: URL): ConsoleFiles {
  const root = fileURLToPath(directory);
  const files = new Map<string, ConsoleFile>();
  const add = (folder: string, prefix: string): void => {
    for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
      const extension = path.extname(entry.name);
      const type = TYPES[extension];
      if (!entry.isFile() || type === undefined || files.size >= FILES_MAX) continue;
      const bytes = Uint8Array.from(fs.readFileSync(path.join(folder, entry.name)));
      const tag = `"${createHash("sha256").update(bytes).digest("base64url").slice(0, 22)}"`;
      const cache = prefix === "/assets/" ? FOREVER : ASKED;
      files.set(`${prefix}${entry.name}`, { bytes, type, tag, cache });
    }
  };
  try {
    add(root, "/");
    add(path.join(root, "assets"), "/assets/");
  } catch {
    return new Map();
  }
  return files;
}

/** The API with the console before it; whatever is not the console's goes to the API as it came. */
export function withConsole(
  api: Server,
  files: ConsoleFiles,
  authorities: readonly string[],
): Server {
  const known = new Set(authorities.map((name) => name.toLowerCase()));
  return {
    metrics: api.metrics,
    refused: (code) => api.refused(code),
    fetch: async (request, connection) => {
      const file = fileOf(request, files, known);
      return file === undefined ? api.fetch(request, connection) : answer(request, file);
    },
  };
}

function fileOf(
  request: Request,
  files: ConsoleFiles,
  known: ReadonlySet<string>,
): ConsoleFile | undefined {
  if (request.method !== "GET" && request.method !== "HEAD") return undefined;
  const found = /^https?:\/\/([^/?#]*)([^?#]*)/.exec(request.url);
  const [authority = "", pathname = ""] = found?.slice(1) ?? [];
  // A name rebound to this address is told so by the API.
  if (!known.has(authority.toLowerCase())) return undefined;
  if (PAGES.has(pathname)) return files.get("/index.html");
  return files.get(pathname);
}

function answer(request: Request, { bytes, type, tag, cache }: ConsoleFile): Response {
  const headers = { ...CONSOLE_HEADERS, etag: tag, "cache-control": cache };
  if (request.headers.get("if-none-match") === tag)
    return new Response(null, { status: 304, headers });
  const body = request.method === "HEAD" ? null : bytes;
  return new Response(body, { headers: { ...headers, "content-type": type } });
}
