/**
 * Writes the API's OpenAPI document from its routes: `node tools/openapi.ts`. With `--release` it becomes the
 * one that later changes are held against, which is done once for each release and never to silence a test.
 */
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { openApiDocument } from "@sallyport/api";

const PACKAGE = fileURLToPath(new URL("../packages/api/", import.meta.url));

const text = `${JSON.stringify(openApiDocument(), null, 2)}\n`;
const names = [
  "openapi.json",
  ...(process.argv[2] === "--release" ? ["openapi.released.json"] : []),
];
for (const name of names) {
  fs.writeFileSync(path.join(PACKAGE, name), text);
  console.log(`packages/api/${name}: ${Object.keys(openApiDocument().paths).length} paths`);
}
