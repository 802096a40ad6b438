import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { parseSettings, readSettings } from "./settings.ts";

const CORP = {
  ...{ id: "corp", issuer: "https://idp.corp.example", clientId: "sallyport" },
  ...{ acr: ["urn:corp:mfa"], groups: { "ot-engineers": ["engineer"] } },
};

test("a gateway without settings answers on port 8443 with TLS 1.3, and has no provider", () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "sallyport-settings-"));
  const none = readSettings(path.join(directory, "settings.json"));
  fs.rmSync(directory, { recursive: true });
  assert.deepEqual(none, { names: [], port: 8443, tls: "TLSv1.3", providers: [] });
});

test("a provider is read with what it leaves out", () => {
  const { providers, tls } = parseSettings({ tls: "TLSv1.2", providers: [CORP] });
  assert.equal(tls, "TLSv1.2");
  assert.deepEqual(providers, [
    {
      ...CORP,
      ...{ scope: "openid profile groups", amr: [], maxAgeSeconds: 43_200 },
      ...{ nameClaim: "preferred_username", groupsClaim: "groups" },
    },
  ]);
});

test("a mistake is named, and nothing is half in force", () => {
  const mistakes: readonly (readonly [unknown, RegExp])[] = [
    [[], /the file is an object/],
    [{ name: "gateway" }, /no member name/],
    [{ names: "gateway" }, /names is a list/],
    [{ names: [""] }, /names is a list/],
    [{ port: 443 }, /port is a number from 1024/],
    [{ port: "8443" }, /port is a number/],
    [{ tls: "TLSv1.1" }, /tls is/],
    [{ providers: {} }, /providers is a list/],
    [{ providers: [{ ...CORP, clientSecret: "x" }] }, /no member clientSecret/],
    [{ providers: [{ ...CORP, issuer: 7 }] }, /issuer of a provider/],
    [{ providers: [{ ...CORP, groups: { all: ["king"] } }] }, /a role that there is not/],
    [{ providers: [{ ...CORP, groups: [] }] }, /groups of a provider/],
  ];
  for (const [value, message] of mistakes) {
    assert.throws(() => parseSettings(value), { code: "settings-unreadable", message });
  }
});
