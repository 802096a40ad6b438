/**
 * The API over TLS with services that answer from memory, and a constant route of 1 KiB beside its own. Its
 * first line is where it listens; arguments are the files of key and certificate.
 */
import { randomUUID, scrypt, timingSafeEqual } from "node:crypto";
import fs from "node:fs";
import process from "node:process";
import {
  type AnyRoute,
  createApi,
  type Page,
  type Principal,
  ROUTES,
  type Services,
  serveTls,
} from "@sallyport/api";
import { SallyportError } from "@sallyport/core";

const [keyFile = "", certFile = ""] = process.argv.slice(2);
const AUTHORITY = "localhost";
const AT = "2026-01-15T10:00:00.000Z";
const HASH = "5f".repeat(32);
const CONSTANT = { text: "x".repeat(1024 - '{"text":""}'.length) };
/** As a password is kept: 32 MiB and about a tenth of a second. */
const SCRYPT = { N: 2 ** 15, r: 8, p: 1, maxmem: 64 * 1024 * 1024 };

const principal: Principal = {
  personId: "anna",
  name: "Anna",
  roles: ["engineer"],
  kind: "key",
  id: "key-1",
};

/** A full page of a console. */
function page<Item>(
  make: (index: number) => Item,
): (_: unknown, ...rest: unknown[]) => Promise<Page<Item>> {
  const items = Array.from({ length: 50 }, (_, index) => make(index));
  return () => Promise.resolve({ items, next: "50" });
}

const signable = {
  bytes: JSON.stringify({ act: "apply", site: "lab", legs: "x".repeat(800) }),
  sha256: HASH,
  needed: 1,
  keyNeeded: false,
  approvals: [{ person: "ben", kind: "ed25519" as const, at: AT }],
};

const flow = (index: number) => ({
  start: AT,
  point: "outer",
  conduit: `conduit-${index}`,
  source: `10.0.0.${index}`,
  destination: "10.9.0.5",
  sourceZone: "erp",
  destinationZone: "cell-1",
  protocol: "tcp",
  port: 502,
  function: "read-holding-registers",
  reason: "",
  accepted: index,
  refused: 0,
  sampled: 0,
});

async function password(_: unknown, answer: { readonly password: string }): Promise<never> {
  const hash = await new Promise<Buffer>((resolve, reject) => {
    scrypt(answer.password, "salt", 32, SCRYPT, (error, key) =>
      error ? reject(error) : resolve(key),
    );
  });
  timingSafeEqual(hash, Buffer.alloc(32));
  throw new SallyportError("sign-in-failed", "the credentials are not right");
}

// Only these are asked here; any other call of the bench would fail as a TypeError, and be counted.
const services = {
  signIns: {
    authenticate: ({ secret }: { secret: string }) =>
      Promise.resolve(secret === "bench" ? principal : undefined),
    password,
    me: () =>
      Promise.resolve({
        id: "key-1",
        person: "anna",
        name: "Anna",
        roles: ["engineer"],
        permissions: ["plant.read", "policy.read", "plant.read"],
        kind: "key",
        startedAt: AT,
        lastUsedAt: AT,
        endsAt: AT,
        peer: "127.0.0.1",
        current: true,
      }),
  },
  permissions: { may: () => true, authorize: () => Promise.resolve() },
  status: {
    status: () =>
      Promise.resolve({
        instance: "main",
        site: "lab",
        generation: 7,
        degraded: [],
        timeTrusted: true,
        islands: [],
        conduits: 50,
        open: 50,
        grants: 2,
        refused: 7,
      }),
    conduits: page((index) => ({
      name: `conduit-${index}`,
      via: "proxy",
      from: "erp",
      to: "cell-1",
      open: true,
      packets: index,
      bytes: index * 60,
    })),
  },
  grants: {
    list: page((index) => ({
      id: `grant-${index}`,
      person: "vic",
      conduit: "vendor",
      asset: "plc-1",
      source: "10.0.0.9",
      until: AT,
      packets: index,
    })),
    getRequest: () =>
      Promise.resolve({
        id: "request-1",
        state: "waiting",
        person: "vic",
        conduit: "vendor",
        asset: "plc-1",
        source: "10.0.0.9",
        seconds: 600,
        reason: "repair",
        createdAt: AT,
        notBefore: AT,
        notAfter: AT,
        signable,
      }),
  },
  changes: {
    get: () =>
      Promise.resolve({
        id: "change-1",
        state: "approved",
        author: "anna",
        reason: "a new cell",
        createdAt: AT,
        policySha256: HASH,
        baseGeneration: 7,
        nextGeneration: 8,
        diff: { opens: ["erp may read plc-1"], closes: [], changes: [], isOpening: true },
        signable,
      }),
  },
  policy: {
    running: () =>
      Promise.resolve({
        generation: 7,
        site: "lab",
        sha256: HASH,
        files: [{ name: "site.yaml", text: "site: lab\n".repeat(800) }],
      }),
  },
  flows: { flows: page(flow), denials: page(flow) },
  ledger: {
    records: page((index) => ({
      index,
      type: "grant-added",
      at: AT,
      fields: { conduit: "vendor", asset: "plc-1", seconds: 600 },
      commitments: { person: HASH },
      leaf: HASH,
    })),
  },
} as unknown as Services;

const document = ROUTES.find(({ path }) => path === "/v1/openapi.json");
if (document === undefined) throw new Error("the document's route is gone");
const constant: AnyRoute = {
  method: "GET",
  path: "/v1/constant",
  summary: "1 KiB that is always the same",
  access: "plant.read",
  answer: document.answer,
  run: () => Promise.resolve(CONSTANT),
};

const PLENTY = { burst: 1e12, perSecond: 1e12 };
let isOpen = true;
const api = createApi(
  services,
  {
    authorities: [AUTHORITY],
    now: Date.now,
    newRequestId: randomUUID,
    log: () => undefined,
    // The key of the bench may ask as fast as it can; tries to sign in are limited as ever.
    bounds: { principal: PLENTY, source: PLENTY },
  },
  [...ROUTES, constant],
);
const certificate = {
  key: fs.readFileSync(keyFile, "utf8"),
  cert: fs.readFileSync(certFile, "utf8"),
};
const listening = await serveTls(api, { certificate, host: "127.0.0.1", port: 0 });
console.log(JSON.stringify({ port: listening.port }));
process.stdin.on("end", () => {
  if (isOpen) void listening.close(0);
  isOpen = false;
});
process.stdin.resume();
