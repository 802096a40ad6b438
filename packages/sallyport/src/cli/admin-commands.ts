/** What only local root does about people and certificates. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import fs from "node:fs";
import { type Json, SallyportError } from "@sallyport/core";
import { firstAdminToken } from "@sallyport/identity/approval";
import { instanceNamed } from "../instance.ts";
import { keyholderSocket, rootApiSocket } from "../own-places.ts";
import type { KeyholderRequest } from "../keyholder/keyholder-messages.ts";
import { askApi, succeeded } from "./api-client.ts";
import { type Command, EXIT, type Invocation } from "./command.ts";
import { ask, askSocket, fields, word } from "./enforcer-client.ts";
import { required } from "./flags.ts";

const HOST_DEFAULT = "localhost:8443";
const NAME = {
  type: "string",
  value: "HOST",
  help: `the gateway's name in a browser (default: ${HOST_DEFAULT})`,
} as const;

export const adminLink: Command = {
  name: "admin link",
  args: "",
  help: "Makes the link that lets the first administrator in, once, within the hour.",
  flags: { name: NAME },
  async run(invocation) {
    const { secret, until } = fields(await ask(invocation.instance, { type: "first-secret" }));
    const host = invocation.text("name") ?? HOST_DEFAULT;
    // After the #, so that no server ever sees it.
    const link = `https://${host}/first#${word(secret)}`;
    const token = firstAdminToken(Buffer.from(word(secret), "base64url"));
    invocation.result(
      { link, secret: word(secret), token, until: word(until) },
      `${link}\ngood once, until ${word(until)}. Whoever has it becomes administrator and first approver.`,
    );
    return EXIT.ok;
  },
};

export const adminRecover: Command = {
  name: "admin recover",
  args: "NAME",
  help: "Makes somebody an administrator again who lost their factors: ends their sign-ins, prints a link that is good once.",
  flags: {
    reason: { type: "string", value: "TEXT", help: "why: it is recorded (required)" },
    "keep-factors": { type: "boolean", help: "old factors stay; else they are forgotten" },
    name: NAME,
  },
  async run(invocation) {
    const [person] = invocation.args;
    if (person === undefined) throw new SallyportError("usage", "whom?");
    const reason = required(invocation, "reason");
    const socketPath = rootApiSocket(instanceNamed(invocation.instance));
    const body = JSON.stringify({ person, reason, keepFactors: invocation.flag("keep-factors") });
    const asked = { method: "POST", path: "/v1/local-root/recover", body };
    const answer = succeeded(await askApi(socketPath, asked));
    const { secret, endsAt } = answer;
    const link = `https://${invocation.text("name") ?? HOST_DEFAULT}/link#${word(secret)}`;
    invocation.result(
      { link, secret: word(secret), until: word(endsAt) },
      `${link}\ngood once, until ${word(endsAt)}. Their approver keys are the enforcer's: sallyport approver list`,
    );
    return EXIT.ok;
  },
};

export const adminCa: Command = {
  name: "admin ca",
  args: "",
  help: "The certificate of the site's own authority, for browsers and scripts to trust.",
  flags: {},
  async run(invocation) {
    const { certificate } = await askKeyholder(invocation, { type: "ca-certificate" });
    invocation.result({ certificate: word(certificate) }, word(certificate));
    return EXIT.ok;
  },
};

export const adminCertificate: Command = {
  name: "admin certificate",
  args: "",
  help: "Gives the gateway a certificate of the plant's own authority, in place of one that it makes.",
  flags: {
    cert: { type: "string", value: "FILE", help: "PEM: the certificate, then what signed it" },
    key: { type: "string", value: "FILE", help: "PEM: its private key" },
    remove: { type: "boolean", help: "takes it back: the site's own authority signs again" },
  },
  async run(invocation) {
    if (invocation.flag("remove")) {
      await askKeyholder(invocation, { type: "secret-remove", name: "tls" });
      invocation.result({ removed: true }, "the site's own authority signs again, within a minute");
      return EXIT.ok;
    }
    const cert = fs.readFileSync(required(invocation, "cert"), "utf8");
    const key = fs.readFileSync(required(invocation, "key"), "utf8");
    const { subjectAltName = "", validTo, validToDate } = certificateOf(cert, key);
    if (validToDate.getTime() <= Date.now()) {
      throw new SallyportError("certificate-unusable", `the certificate ended at ${validTo}`);
    }
    const secret = JSON.stringify({ key, cert });
    await askKeyholder(invocation, { type: "secret-set", name: "tls", secret });
    invocation.result(
      { names: subjectAltName, until: validToDate.toISOString() },
      `in use within a minute, for ${subjectAltName}, until ${validToDate.toISOString()}`,
    );
    return EXIT.ok;
  },
};

function certificateOf(cert: string, key: string): X509Certificate {
  let certificate: X509Certificate;
  let isOwn: boolean;
  try {
    certificate = new X509Certificate(cert);
    isOwn = certificate.checkPrivateKey(createPrivateKey(key));
  } catch (cause) {
    throw new SallyportError("certificate-unusable", "these are no certificate and its key", {
      cause,
      hint: "both are PEM, the key without a passphrase",
    });
  }
  if (isOwn) return certificate;
  throw new SallyportError("certificate-unusable", "the key is of another certificate");
}

export const adminOidcSecret: Command = {
  name: "admin oidc-secret",
  args: "ID",
  help: "Seals the client secret of an identity provider, read from standard input.",
  flags: { remove: { type: "boolean", help: "forgets it: nobody signs in there any more" } },
  async run(invocation) {
    const [id] = invocation.args;
    if (id === undefined) throw new SallyportError("usage", "which provider?");
    const name = `oidc.${id}`;
    const isRemoved = invocation.flag("remove");
    const secret = isRemoved ? "" : fs.readFileSync(0, "utf8").trim();
    await askKeyholder(
      invocation,
      isRemoved ? { type: "secret-remove", name } : { type: "secret-set", name, secret },
    );
    invocation.result({ provider: id }, isRemoved ? `${id} has no secret` : `sealed for ${id}`);
    return EXIT.ok;
  },
};

async function askKeyholder(
  invocation: Invocation,
  request: KeyholderRequest,
): Promise<Readonly<Record<string, Json | undefined>>> {
  return fields(await askSocket(keyholderSocket(instanceNamed(invocation.instance)), request));
}
