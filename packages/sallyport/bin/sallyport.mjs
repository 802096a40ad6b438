#!/usr/bin/env node
// boot.mjs finds a Node that runs TypeScript; after `--` all is the product's, also a word that is
// a verb of the repository, such as `test`.
process.argv.splice(2, 0, "--");
await import("../../../boot.mjs");
