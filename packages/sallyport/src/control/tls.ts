/**
 * The certificate of the network's door: one that the plant gave, or a key that is only in memory, signed by the
 * site's own authority.
 */
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import type { Certificate } from "@sallyport/api";
import type { Json } from "@sallyport/core";
import { fields, word } from "../cli/enforcer-client.ts";
import type { AskKeyholder } from "./ask.ts";

/** How often it is looked whether another is due, or was given: soon enough for both, and cheap. */
const LOOK_MS = 15_000;

export async function newCertificate(
  keyholder: AskKeyholder,
  names: readonly string[],
): Promise<Certificate> {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const spki = publicKey.export({ type: "spki", format: "der" }).toString("base64");
  const { chain } = fields(await keyholder({ type: "tls-issue", key: { spki }, names }));
  const key = String(privateKey.export({ type: "pkcs8", format: "pem" }));
  return { key, cert: word(chain) };
}

/** What `sallyport admin certificate` handed to the keyholder, which keeps it sealed. */
export async function givenCertificate(keyholder: AskKeyholder): Promise<Certificate | undefined> {
  const { secret } = fields(await keyholder({ type: "secret-get", name: "tls" }));
  if (secret === undefined || secret === null) return undefined;
  const { key, cert } = fields(JSON.parse(word(secret)) as Json);
  return { key: word(key), cert: word(cert) };
}

/** When the last `part` of its life begins. */
function beforeEndMs(certificatePem: string, part: number): number {
  const { validFromDate, validToDate } = new X509Certificate(certificatePem);
  const [start, end] = [validFromDate.getTime(), validToDate.getTime()];
  return end - (end - start) * part;
}

export function renewAtMs(certificatePem: string): number {
  return beforeEndMs(certificatePem, 1 / 3);
}

/** From here on renewal has failed for a sixth of its life, or nobody gave another. */
export function alarmAtMs(certificatePem: string): number {
  return beforeEndMs(certificatePem, 1 / 6);
}

export interface DoorMeans {
  readonly renew: () => Promise<Certificate>;
  readonly given: () => Promise<Certificate | undefined>;
  readonly replace: (certificate: Certificate) => void;
  /** The end of a certificate that could not be replaced in time; undefined when all is well again. */
  readonly alarm: (endMs: number | undefined) => void;
  readonly nowMs: () => number;
  readonly wait: (ms: number, then: () => void) => void;
}

/** Keeps the right certificate in place, for good; a keyholder that does not answer is asked again. */
export function keepRenewed(
  first: { readonly certificate: Certificate; readonly isGiven: boolean },
  means: DoorMeans,
): void {
  let now = first;
  const wanted = async (): Promise<typeof first> => {
    const given = await means.given();
    if (given !== undefined) {
      const isSame = given.cert === now.certificate.cert && given.key === now.certificate.key;
      return isSame ? now : { certificate: given, isGiven: true };
    }
    const isGood = !now.isGiven && means.nowMs() < renewAtMs(now.certificate.cert);
    return isGood ? now : { certificate: await means.renew(), isGiven: false };
  };
  const look = async (): Promise<void> => {
    try {
      const next = await wanted();
      if (next !== now) means.replace(next.certificate);
      now = next;
    } catch {
      // The one in use goes on; whether that is still well is told below.
    }
    const { cert } = now.certificate;
    const isLate = means.nowMs() >= alarmAtMs(cert);
    means.alarm(isLate ? beforeEndMs(cert, 0) : undefined);
    means.wait(LOOK_MS, () => void look());
  };
  means.wait(LOOK_MS, () => void look());
}
