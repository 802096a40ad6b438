/** The certificate of the network's door: a key that is only in memory, signed by the site's own authority. */
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import type { Certificate } from "@sallyport/api";
import { fields, word } from "../cli/enforcer-client.ts";
import type { AskKeyholder } from "./ask.ts";

/** Asked again this often while the keyholder does not answer. */
const RETRY_MS = 60_000;
/** Timers of Node end at 24.8 days; looking once a day is enough in any case. */
const LOOK_MAX_MS = 24 * 3600 * 1000;

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

/** When the last third of its life begins. */
export function renewAtMs(certificatePem: string): number {
  const { validFromDate, validToDate } = new X509Certificate(certificatePem);
  const [start, end] = [validFromDate.getTime(), validToDate.getTime()];
  return end - (end - start) / 3;
}

/** Puts a new certificate in place, for good; a keyholder that does not answer is asked again. */
export function keepRenewed(
  first: Certificate,
  means: {
    readonly renew: () => Promise<Certificate>;
    readonly replace: (certificate: Certificate) => void;
    readonly nowMs: () => number;
    readonly wait: (ms: number, then: () => void) => void;
  },
): void {
  const look = (certificate: Certificate): void => {
    const leftMs = renewAtMs(certificate.cert) - means.nowMs();
    if (leftMs > 0) {
      means.wait(Math.min(leftMs, LOOK_MAX_MS), () => look(certificate));
      return;
    }
    means.renew().then(
      (next) => {
        means.replace(next);
        look(next);
      },
      () => means.wait(RETRY_MS, () => look(certificate)),
    );
  };
  look(first);
}
