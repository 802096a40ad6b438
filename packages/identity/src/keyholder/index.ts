/**
 * The door of what only the keyholder loads: TOTP seeds, the site's certificate authority, sealing.
 * @module
 */
export {
  type Opened,
  SEALED_MAX_BYTES,
  type SealingKeys,
  type SealRefusal,
  seal,
  unseal,
} from "../sealing.ts";
export {
  type CertificateRefusal,
  type CertificateState,
  certificateState,
  type Issued,
  issueServer,
  isServerName,
  makeSiteCa,
  type Moment,
  type ServerRequest,
  type SiteCa,
} from "./site-ca.ts";
export { SealedTotp, type TotpEnrollment, type TotpMeans, type TotpSeed } from "./totp.ts";
