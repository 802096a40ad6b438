/** What the keyholder keeps on disk: one key in clear that only its uid can read, and all else sealed with it. */
import fs from "node:fs";
import path from "node:path";
import { SallyportError } from "@sallyport/core";
import type { Randomness } from "@sallyport/identity";
import {
  makeSiteCa,
  type SealingKeys,
  seal,
  type SiteCa,
  unseal,
} from "@sallyport/identity/keyholder";

const KEY_BYTES = 32;
export const CA_NAME = "site-ca";

/** Made once. Without it nothing that was sealed is readable again, so it is never made anew beside sealed things. */
export function sealingKeys(directory: string, random: Randomness): SealingKeys {
  const file = path.join(directory, "sealing.key");
  if (!fs.existsSync(file)) {
    if (fs.existsSync(path.join(directory, "site-ca.json"))) {
      throw new SallyportError("sealing-key-gone", `${file} is gone, and what it sealed is there`, {
        hint: "restore it from a backup; see docs/diagnostics/sealing-key-gone.md",
      });
    }
    writeWhole(file, random.bytes(KEY_BYTES));
  }
  return [fs.readFileSync(file)];
}

/** Made once, its private key sealed. */
export async function siteCa(
  directory: string,
  site: string,
  { keys, nowMs, random }: { keys: SealingKeys; nowMs: number; random: Randomness },
): Promise<SiteCa> {
  const file = path.join(directory, "site-ca.json");
  if (!fs.existsSync(file)) {
    const made = await makeSiteCa(site, { nowMs, random });
    const sealed = seal(keys, CA_NAME, made.privateKey, random);
    const { certificatePem } = made;
    const text = JSON.stringify({
      certificatePem,
      sealed: Buffer.from(sealed).toString("base64url"),
    });
    writeWhole(file, Buffer.from(text));
    return made;
  }
  const kept = JSON.parse(fs.readFileSync(file, "utf8")) as Readonly<Record<string, string>>;
  const opened = unseal(keys, CA_NAME, Buffer.from(kept["sealed"] ?? "", "base64url"));
  if (opened.kind === "refused") {
    throw new SallyportError("sealing-key-gone", `${file} was sealed with another key`, {
      hint: "restore sealing.key from the backup that this file is of",
    });
  }
  return { certificatePem: kept["certificatePem"] ?? "", privateKey: opened.secret };
}

/** Whole or not at all, and on disk before anything is sealed with it. */
function writeWhole(file: string, bytes: Uint8Array): void {
  fs.writeFileSync(`${file}.new`, bytes, { mode: 0o600, flush: true });
  fs.renameSync(`${file}.new`, file);
  const directory = fs.openSync(path.dirname(file), "r");
  fs.fsyncSync(directory);
  fs.closeSync(directory);
}
