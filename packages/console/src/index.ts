/**
 * The console as files: where a build of it lies. Its code runs in browsers only, and talks to nothing but the
 * public API.
 * @module
 */
/** `index.html` and `assets/`; made by `bundle.mjs`, which `boot.mjs` runs when it is stale. */
export const CONSOLE_FILES: URL = new URL("../dist/", import.meta.url);
