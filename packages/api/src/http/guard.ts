/** What a browser, a rebound name or a foreign page could be made to send; and the headers that bind browsers. */
import { HttpError } from "./problem.ts";
import { TARGET_LENGTH_MAX } from "./limits.ts";

export const COOKIE = "__Host-sallyport";
/** A page of another origin cannot set it without asking first, and nobody is ever told yes. */
export const REQUEST_HEADER = "sallyport-request";
const SECRET_LENGTH_MAX = 512;

export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  "content-security-policy":
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  // Two years, the least that browsers' lists ask.
  "strict-transport-security": "max-age=63072000; includeSubDomains",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=(), usb=()",
};

/** The names that this server answers to, so that a name rebound to its address is not one. */
export class Names {
  readonly #authorities: ReadonlySet<string>;
  readonly #origins: ReadonlySet<string>;

  /** Each as a browser writes it: without a port when that is 443. */
  constructor(authorities: readonly string[]) {
    this.#authorities = new Set(authorities.map((name) => name.toLowerCase()));
    this.#origins = new Set([...this.#authorities].map((name) => `https://${name}`));
  }

  checkTarget({ url }: Request, transport: "tls" | "local"): void {
    if (url.length > TARGET_LENGTH_MAX) {
      throw new HttpError("target-too-long", `longer than ${TARGET_LENGTH_MAX} characters`);
    }
    const begin = url.indexOf("//") + 2;
    const end = url.indexOf("/", begin);
    const authority = url.slice(begin, end < 0 ? undefined : end);
    if (this.#authorities.has(authority)) return;
    // Only who is on the machine reaches the local socket, and its clients have no name to send.
    if (transport === "local" && authority === "localhost") return;
    throw new HttpError("wrong-host", "this server has another name");
  }

  /**
   * Cross-site request forgery: whatever changes something must come from a page of ours, or from no page.
   * With a cookie it must carry the header too, since an old browser may say nothing about where it is.
   */
  checkSite(request: Request, isCookie: boolean): void {
    const { headers, method } = request;
    const isSafe = method === "GET" || method === "HEAD";
    const site = headers.get("sec-fetch-site");
    const isOurs = site === null || site === "same-origin" || (isSafe && site === "none");
    const origin = headers.get("origin");
    const isOurOrigin = origin === null || this.#origins.has(origin);
    if (!isSafe && !(isOurs && isOurOrigin)) throw crossSite();
    if (!isCookie) return;
    if (!isOurs || !isOurOrigin) throw crossSite();
    if (!isSafe && headers.get(REQUEST_HEADER) === null) {
      throw new HttpError("cross-site", "the header Sallyport-Request is missing", {
        hint: "send Sallyport-Request: 1 with a session's cookie",
      });
    }
  }
}

function crossSite(): HttpError {
  return new HttpError("cross-site", "the request comes from a page of another site");
}

/** The secret a request brings. Two at once are refused: which one counts must never be a question. */
export function presentedBy(headers: Headers) {
  const bearer = headers.get("authorization");
  const cookie = cookieOf(headers.get("cookie"));
  if (bearer !== null && cookie !== undefined) {
    throw new HttpError("bad-request", "a cookie and a bearer token at once");
  }
  if (cookie !== undefined) return { by: "cookie", secret: cookie } as const;
  if (bearer === null) return undefined;
  const secret = /^bearer ([\x21-\x7e]+)$/i.exec(bearer)?.[1];
  if (secret === undefined || secret.length > SECRET_LENGTH_MAX) {
    throw new HttpError("sign-in-needed", "Authorization is no bearer token", {
      headers: { "www-authenticate": "Bearer" },
    });
  }
  return { by: "bearer", secret } as const;
}

function cookieOf(header: string | null): string | undefined {
  if (header === null) return undefined;
  const values = header
    .split(";")
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${COOKIE}=`))
    .map((pair) => pair.slice(COOKIE.length + 1));
  if (values.length > 1) throw new HttpError("bad-request", "the session's cookie is there twice");
  const [value] = values;
  return value === undefined || value === "" || value.length > SECRET_LENGTH_MAX
    ? undefined
    : value;
}

/** A token is base64url, so nothing in it can end the cookie's value. */
export function setCookie(token: string, maxAgeSeconds: number): string {
  if (!/^[A-Za-z0-9_-]{1,512}$/.test(token)) throw new RangeError("a token is base64url");
  const age = Math.max(0, Math.floor(maxAgeSeconds));
  return `${COOKIE}=${token}; Path=/; Max-Age=${age}; Secure; HttpOnly; SameSite=Strict`;
}

export function clearCookie(): string {
  return `${COOKIE}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict`;
}
