/** Where records go: one syslog receiver or one webhook, as an administrator set it. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import net from "node:net";
import { HttpError, type NewTarget, type NewWebhook } from "@sallyport/api";
import { SallyportError } from "@sallyport/core";

export type Destination =
  | ({ readonly kind: "syslog" } & NewTarget)
  | ({ readonly kind: "webhook" } & NewWebhook);

const PORT_MAX = 65_535;

/** Host and port of `host:port`; the host may be an address or a name. */
export function endOf(to: string): { readonly host: string; readonly port: number } | undefined {
  const [, host = "", digits = ""] = /^([A-Za-z0-9](?:[A-Za-z0-9.-]*)):(\d{1,5})$/.exec(to) ?? [];
  const port = Number(digits);
  return host === "" || port < 1 || port > PORT_MAX ? undefined : { host, port };
}

/** Throws `wrong-fields` with the field, or `not-supported-yet` for what could lose records unseen. */
export function checkDestinations(all: readonly Destination[]): void {
  const names = new Set<string>();
  for (const destination of all) {
    const { name } = destination;
    if (names.has(name)) throw wrong("name", `"${name}" names two destinations`);
    names.add(name);
    if (destination.trust !== undefined) checkCertificate("trust", destination.trust);
    if (destination.kind === "syslog") checkSyslog(destination);
    else checkWebhook(destination);
  }
}

function checkSyslog(target: NewTarget): void {
  const { name, to, transport, clientCertificate, clientKey } = target;
  if (transport === "udp") {
    throw new SallyportError("not-supported-yet", `"${name}" would go out in datagrams`, {
      hint: "a lost datagram is lost for good; use tls, or tcp where the network is yours alone",
    });
  }
  if (endOf(to) === undefined) throw wrong("to", `"${name}" needs host:port`);
  if ((clientCertificate === undefined) !== (clientKey === undefined)) {
    throw wrong("clientKey", `"${name}" needs a certificate and its key, or neither`);
  }
  if (clientCertificate === undefined || clientKey === undefined) return;
  const certificate = checkCertificate("clientCertificate", clientCertificate);
  let isPair = false;
  try {
    isPair = certificate.checkPrivateKey(createPrivateKey(clientKey));
  } catch {
    // Said below: what is no key is not this certificate's either.
  }
  if (!isPair) throw wrong("clientKey", `"${name}" has a key that is not its certificate's`);
}

function checkWebhook({ name, to, secret }: NewWebhook): void {
  const url = URL.canParse(to) ? new URL(to) : undefined;
  const isPlain = url?.username === "" && url.password === "" && url.hash === "";
  if (url?.protocol !== "https:" || !isPlain) {
    throw wrong("to", `"${name}" needs an https address without a name or password in it`);
  }
  if (secret === undefined) throw wrong("secret", `"${name}" has no secret yet`);
}

function checkCertificate(field: string, pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch {
    throw wrong(field, "must be a certificate in PEM");
  }
}

function wrong(field: string, message: string): HttpError {
  return new HttpError("wrong-fields", `${field}: ${message}`, { errors: [{ field, message }] });
}

/** What TLS is to find in the certificate: an address is compared by `host`, a name also sent (SNI). */
export function tlsName(host: string): { readonly servername?: string } {
  return net.isIP(host) === 0 ? { servername: host } : {};
}
