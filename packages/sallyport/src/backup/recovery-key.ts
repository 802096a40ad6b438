/**
 * What a backup has of the key that seals seeds and the site's CA: that key, sealed with another one that is printed
 * once and is on no disk of the gateway. Whoever has a backup has no seed; whoever has the recovery key, too, has.
 */
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { SallyportError } from "@sallyport/core";
import { type SealingKeys, seal, unseal } from "@sallyport/identity/keyholder";
import { CA_NAME } from "../keyholder/keyholder-home.ts";

const KEY_BYTES = 32;
const PREFIX = "sallyport-recovery-";
const NAME = "sealing-key";
/** In the keyholder's directory. */
export const SEALING_KEY = "sealing.key";
export const SEALED_FOR_RECOVERY = "sealing.recovery";
export const SITE_CA = "site-ca.json";

/** Makes a new recovery key for the sealing key of `directory`. Backups made before need the key from before. */
export function makeRecoveryKey(directory: string): string {
  const file = path.join(directory, SEALING_KEY);
  if (!fs.existsSync(file)) {
    throw new SallyportError("recovery-key-missing", "nothing was sealed on this gateway yet", {
      hint: "start it once: sallyport up",
    });
  }
  const key = randomBytes(KEY_BYTES);
  const sealed = seal([key], NAME, readPlain(file), { bytes: randomBytes });
  const { uid, gid } = fs.lstatSync(file);
  const target = path.join(directory, SEALED_FOR_RECOVERY);
  fs.rmSync(`${target}.new`, { force: true });
  const descriptor = fs.openSync(`${target}.new`, "wx", 0o600);
  fs.writeFileSync(descriptor, sealed);
  fs.fchownSync(descriptor, uid, gid);
  fs.fsyncSync(descriptor);
  fs.closeSync(descriptor);
  fs.renameSync(`${target}.new`, target);
  return `${PREFIX}${key.toString("base64url")}`;
}

/** Throws `recovery-key-wrong` unless the text is the key that the backup was sealed for. */
export function openWithRecoveryKey(text: string, sealed: Uint8Array): Uint8Array {
  const key = Buffer.from(text.trim().replace(PREFIX, ""), "base64url");
  if (key.length === KEY_BYTES) {
    const opened = unseal([key], NAME, sealed);
    if (opened.kind === "opened") return opened.secret;
  }
  throw new SallyportError("recovery-key-wrong", "this recovery key does not open the backup", {
    hint: "a backup needs the key that was printed last before it was made; nothing was restored",
  });
}

/** Whether this sealing key opens what the backup's keyholder kept. */
export function isSealingKeyOf(key: Uint8Array, siteCa: string): boolean {
  if (key.length !== KEY_BYTES) return false;
  const { sealed = "" } = JSON.parse(siteCa) as { readonly sealed?: string };
  const keys: SealingKeys = [key];
  return unseal(keys, CA_NAME, Buffer.from(sealed, "base64url")).kind === "opened";
}

/** A plain file of at most so many bytes: its directory belongs to somebody else. */
export function readPlain(file: string, maxBytes: number = 1024 * 1024): Buffer {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
  const descriptor = fs.openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const stat = fs.fstatSync(descriptor);
    if (!stat.isFile() || stat.size > maxBytes) throw new Error(`${file} is no small plain file`);
    return fs.readFileSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}
