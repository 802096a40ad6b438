/**
 * The keyholder: TOTP seeds, the site's certificate authority, and secrets of settings. Seeds and the authority's key
 * never leave it. It has a uid of its own and no network, and answers `control` and local root.
 */
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { openStateStore } from "@sallyport/store";
import { askSocket } from "./cli/enforcer-client.ts";
import { settingsFile } from "./control/settings.ts";
import { archivistSocket, enforcerSocket, instanceNamed } from "./instance.ts";
import { sealingKeys, siteCa } from "./keyholder/keyholder-home.ts";
import { readKeyholderRequest } from "./keyholder/keyholder-messages.ts";
import { ownNames } from "./keyholder/own-names.ts";
import { KeyholderService } from "./keyholder/keyholder-service.ts";
import { keepReserve, RESERVE_EVERY_MS } from "./keep-reserve.ts";
import { serveLines } from "./line-socket.ts";
import { replyError } from "./messages.ts";
import { keyholderSocket } from "./own-places.ts";
import { ArchivistRecorder } from "./recorder.ts";

const [name = "main", directory = ""] = process.argv.slice(2);
const instance = instanceNamed(name);
process.umask(0o077);
fs.mkdirSync(directory, { recursive: true, mode: 0o700 });

const random = { bytes: (size: number): Uint8Array => randomBytes(size) };
const keys = sealingKeys(directory, random);
const state = await openStateStore({ kind: "sqlite", file: path.join(directory, "seeds.sqlite") });
keepReserve(state, directory);
setInterval(() => keepReserve(state, directory), RESERVE_EVERY_MS);
const service = new KeyholderService({
  seeds: state.records("totp-seed"),
  secrets: state.records("secret"),
  ownNames: () =>
    ownNames(settingsFile(instance), (request) =>
      askSocket(enforcerSocket(instance, "keyholder"), request),
    ),
  keys,
  ca: await siteCa(directory, name, { keys, nowMs: Date.now(), random }),
  issuer: `Sallyport ${name}`,
  clock: { nowMs: Date.now },
  random,
  recorder: new ArchivistRecorder(archivistSocket(instance, "keyholder"), Date.now),
});
await serveLines(keyholderSocket(instance), async (line) => {
  try {
    return JSON.stringify({ ok: true, result: await service.answer(readKeyholderRequest(line)) });
  } catch (error) {
    return JSON.stringify({ ok: false, error: replyError(error) });
  }
});
