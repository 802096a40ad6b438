/**
 * The rules of the house as data. Data flows down the table: capture → dissect → observe → decide →
 * enforce → record → report. A package imports only packages above it that its row names.
 */

export interface Row {
  /** Place in the table, from 1; what a row may import stands above it. */
  readonly layer: number;
  /** `*` stands for every package above. */
  readonly mayImport: readonly string[];
  /** Packages of which only types may be imported. */
  readonly mayImportTypes?: readonly string[];
  /** Doors to the outside world; none means that the package only computes. `*` is all. */
  readonly touches: readonly string[];
}

/** What `store` implements, so its types are all that it may know of them. */
const ABOVE_STORE = [
  "wire",
  "capture",
  "assets",
  "detect",
  "policy",
  "enforce",
  "gate",
  "identity",
  "access",
  "telemetry",
  "devices",
  "ledger",
  "assurance",
];

export const TABLE: ReadonlyMap<string, Row> = new Map<string, Row>([
  ["core", { layer: 1, mayImport: [], touches: [] }],
  ["wire", { layer: 2, mayImport: ["core"], touches: [] }],
  ["capture", { layer: 3, mayImport: ["core", "wire"], touches: ["fs", "tcpdump"] }],
  ["assets", { layer: 4, mayImport: ["core", "wire"], touches: [] }],
  ["detect", { layer: 5, mayImport: ["core", "wire", "assets"], touches: [] }],
  ["policy", { layer: 6, mayImport: ["core", "wire", "assets"], touches: [] }],
  ["enforce", { layer: 7, mayImport: ["core", "policy"], touches: ["root", "child processes"] }],
  ["gate", { layer: 8, mayImport: ["core", "wire", "policy"], touches: ["net"] }],
  ["identity", { layer: 9, mayImport: ["core"], touches: ["crypto"] }],
  [
    "access",
    {
      layer: 10,
      mayImport: ["core", "wire", "policy", "identity"],
      touches: ["net", "fs", "child processes"],
    },
  ],
  ["telemetry", { layer: 11, mayImport: ["core", "wire", "identity"], touches: ["net", "fs"] }],
  ["devices", { layer: 12, mayImport: ["core", "identity", "assets"], touches: ["net", "fs"] }],
  ["ledger", { layer: 13, mayImport: ["core"], touches: ["fs"] }],
  [
    "assurance",
    { layer: 14, mayImport: ["core", "policy", "assets", "detect", "ledger"], touches: [] },
  ],
  [
    "store",
    { layer: 15, mayImport: ["core"], mayImportTypes: ABOVE_STORE, touches: ["fs", "net"] },
  ],
  ["api", { layer: 16, mayImport: ["*"], touches: ["net"] }],
  ["console", { layer: 17, mayImport: [], mayImportTypes: ["api"], touches: ["browser"] }],
  ["sallyport", { layer: 18, mayImport: ["*"], touches: ["*"] }],
]);

/** Built-in modules of Node behind each door. */
export const DOORS: ReadonlyMap<string, readonly string[]> = new Map([
  ["fs", ["fs", "fs/promises", "sqlite"]],
  ["net", ["net", "tls", "dgram", "http", "https", "http2", "dns", "dns/promises"]],
  ["child processes", ["child_process"]],
  ["tcpdump", ["child_process"]],
  ["crypto", ["crypto"]],
  // Kernel settings and namespaces are files.
  ["root", ["fs", "fs/promises"]],
  ["browser", []],
]);

/** Built-ins that compute or wait, open to each package that touches anything at all. */
export const HARMLESS: ReadonlySet<string> = new Set([
  "assert",
  "buffer",
  "crypto",
  "events",
  "path",
  "stream",
  "stream/promises",
  "string_decoder",
  "timers",
  "timers/promises",
  "url",
  "util",
  "zlib",
]);

/** Only here are a clock, randomness and the environment read; a browser has its own. */
export const READS_SURROUNDINGS: ReadonlySet<string> = new Set(["sallyport", "console"]);

/** Generated client types and components make explicit declarations there a burden. */
export const INFERS_DECLARATIONS: ReadonlySet<string> = new Set(["api", "console"]);

/** Processes that run as root on the host. Those that exist are checked. */
export const ROOT_MAINS: readonly string[] = [
  "packages/sallyport/src/enforcer.main.ts",
  "packages/sallyport/src/supervisor.main.ts",
  "packages/sallyport/src/guard.main.ts",
  "packages/sallyport/src/watch.main.ts",
];

/** What the design asks of the root mains together, blank lines and comments not counted. */
export const ROOT_LINES_GOAL = 3000;
/**
 * A ratchet above the goal: what they load today. It may only go down; see
 * docs/decisions/0007-lines-that-run-as-root.md for what stands between.
 */
export const ROOT_LINES_MAX = 8233;

export const README_HEADINGS: readonly string[] = [
  "Purpose",
  "May import",
  "May touch",
  "How to test",
];

export const FILE_LINES_WARN = 300;
export const FILE_LINES_MAX = 500;
export const TEST_LINES_MAX = 800;

/** Folders beside `packages/` that hold code, and which of each other they may import. */
export const PLACES: ReadonlyMap<string, readonly string[]> = new Map([
  ["lab", ["lab"]],
  ["e2e", ["e2e", "lab"]],
  ["bench", ["bench", "lab"]],
  ["tools", ["tools"]],
]);
