/**
 * The site's own certificate authority: one self-signed CA, and certificates of servers for names of
 * the plant. RFC 5280. Its key is ECDSA on P-256, which every browser and device knows.
 * Not done here: revocation lists; a certificate lives 90 days, and a lost one ends with the CA.
 */
import "reflect-metadata";
import { Buffer } from "node:buffer";
import { webcrypto, X509Certificate } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { parseIpv4 } from "@sallyport/core";
import { publicKeyOf } from "../approval/keys.ts";
import type { Randomness } from "../ports.ts";

const DAY_MS = 24 * 60 * 60 * 1000;
/** Devices that trust it are rarely touched. */
const CA_LIFE_MS = 10 * 365 * DAY_MS;
/** Renewed in time by us; the shorter, the less a lost key is worth. */
const SERVER_LIFE_MS = 90 * DAY_MS;
/** Devices of a plant have clocks that are wrong by minutes; a certificate counts from an hour ago. */
const BACKDATED_MS = 60 * 60 * 1000;
/** RFC 5280 §4.1.2.2: at most 20 bytes, positive; 128 random bits are never given twice. */
const SERIAL_BYTES = 16;
const NAMES_MAX = 20;
/** A request with an RSA key of 4096 bits is 1.7 kB of text. */
const REQUEST_MAX_CHARACTERS = 16 * 1024;
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

export interface SiteCa {
  readonly certificatePem: string;
  /** PKCS #8, to be sealed before it is kept. */
  readonly privateKey: Uint8Array;
}

export interface Moment {
  readonly nowMs: number;
  readonly random: Randomness;
}

export interface ServerRequest {
  /** A PKCS #10 request as PEM, or a public key as base64 SPKI. Of a request only the key counts. */
  readonly key: { readonly request: string } | { readonly spki: string };
  /** Host names and IPv4 addresses; the first is the subject. */
  readonly names: readonly string[];
  /** 90 days when absent, and at most. */
  readonly lifeMs?: number;
}

export type CertificateRefusal =
  | "certificate-names"
  | "certificate-request-malformed"
  | "certificate-key-kind"
  | "certificate-ca-over";

export type Issued =
  | { readonly kind: "issued"; readonly certificatePem: string; readonly chainPem: string }
  | { readonly kind: "refused"; readonly code: CertificateRefusal };

export async function makeSiteCa(site: string, { nowMs, random }: Moment): Promise<SiteCa> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(random),
    name: [{ O: ["Sallyport"] }, { CN: [`${site} site CA`] }],
    notBefore: new Date(nowMs - BACKDATED_MS),
    notAfter: new Date(nowMs + CA_LIFE_MS),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      // No CA below it.
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
        true,
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const privateKey = new Uint8Array(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey));
  return { certificatePem: pem(certificate), privateKey };
}

/** Whether the caller may have these names is for the caller's list, not for the request. */
export async function issueServer(
  ca: SiteCa,
  { key, names, lifeMs = SERVER_LIFE_MS }: ServerRequest,
  { nowMs, random }: Moment,
): Promise<Issued> {
  if (names.length === 0 || names.length > NAMES_MAX || !names.every(isServerName)) {
    return { kind: "refused", code: "certificate-names" };
  }
  const spki = "spki" in key ? key.spki : await spkiOfRequest(key.request);
  if (spki === undefined) return { kind: "refused", code: "certificate-request-malformed" };
  if (publicKeyOf(spki) === undefined) return { kind: "refused", code: "certificate-key-kind" };
  const issuer = new x509.X509Certificate(ca.certificatePem);
  const endMs = issuer.notAfter.getTime();
  if (nowMs >= endMs) return { kind: "refused", code: "certificate-ca-over" };
  const publicKey = new x509.PublicKey(Buffer.from(spki, "base64"));
  const pkcs8 = Uint8Array.from(ca.privateKey);
  const signingKey = await webcrypto.subtle.importKey("pkcs8", pkcs8, ALGORITHM, false, ["sign"]);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(random),
    subject: [{ CN: [names[0] ?? ""] }],
    issuer: issuer.subjectName,
    notBefore: new Date(nowMs - BACKDATED_MS),
    notAfter: new Date(Math.min(nowMs + Math.min(lifeMs, SERVER_LIFE_MS), endMs)),
    signingAlgorithm: ALGORITHM,
    publicKey,
    signingKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(
        names.map((value) => ({ type: parseIpv4(value) === undefined ? "dns" : "ip", value })),
      ),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
    ],
  });
  const certificatePem = pem(certificate);
  return { kind: "issued", certificatePem, chainPem: certificatePem + ca.certificatePem };
}

/** A host name of at least one label, or an IPv4 address. No wildcard: it would name what is not ours. */
export function isServerName(name: string): boolean {
  if (parseIpv4(name) !== undefined) return true;
  const labels = name.split(".");
  // A last label of digits alone is how an address is mistyped.
  const isNumber = /^[0-9]+$/.test(labels.at(-1) ?? "");
  return name.length <= 253 && !isNumber && labels.every((label) => LABEL.test(label));
}

export interface CertificateState {
  readonly state: "good" | "renew" | "alarm" | "expired" | "not-yet" | "unreadable";
  readonly endMs: number;
  readonly renewAtMs: number;
  readonly alarmAtMs: number;
}

/**
 * Renewal from the last third of its life; an alarm from the last sixth, when renewal has failed for
 * as long, or when nobody renewed a certificate that was given to us.
 */
export function certificateState(certificatePem: string, nowMs: number): CertificateState {
  const certificate = read(certificatePem);
  if (certificate === undefined) {
    return { state: "unreadable", endMs: 0, renewAtMs: 0, alarmAtMs: 0 };
  }
  const startMs = certificate.validFromDate.getTime();
  const endMs = certificate.validToDate.getTime();
  const renewAtMs = endMs - (endMs - startMs) / 3;
  const alarmAtMs = endMs - (endMs - startMs) / 6;
  const at = { endMs, renewAtMs, alarmAtMs };
  if (nowMs < startMs) return { state: "not-yet", ...at };
  if (nowMs >= endMs) return { state: "expired", ...at };
  if (nowMs >= alarmAtMs) return { state: "alarm", ...at };
  return { state: nowMs >= renewAtMs ? "renew" : "good", ...at };
}

function read(certificatePem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(certificatePem);
  } catch {
    return undefined;
  }
}

/** The key of a request that its owner signed; undefined for everything else. */
async function spkiOfRequest(text: string): Promise<string | undefined> {
  if (text.length > REQUEST_MAX_CHARACTERS) return undefined;
  try {
    const request = new x509.Pkcs10CertificateRequest(text);
    if (!(await request.verify())) return undefined;
    return Buffer.from(request.publicKey.rawData).toString("base64");
  } catch {
    return undefined;
  }
}

function serial(random: Randomness): string {
  const bytes = Buffer.from(random.bytes(SERIAL_BYTES));
  // Positive, and no leading zero byte that an encoder would have to drop.
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString("hex");
}

function pem(certificate: x509.X509Certificate): string {
  return `${certificate.toString("pem")}\n`;
}
