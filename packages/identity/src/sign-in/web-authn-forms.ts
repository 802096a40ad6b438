/** What a browser sends after it talked to an authenticator, from JSON that anybody may have written. */
import {
  AUTHENTICATOR_DATA_MAX_BYTES,
  CLIENT_DATA_MAX_BYTES,
  SIGNATURE_MAX_BYTES,
} from "../approval/assertion.ts";
import { fromBase64url } from "../approval/keys.ts";

/** WebAuthn Level 3, §5.1.3. */
const CREDENTIAL_ID_MAX_BYTES = 1023;
/** WebAuthn Level 3, §5.4.3. */
const USER_HANDLE_MAX_BYTES = 64;
/** Attested data with an RSA key of 4096 bits and room for a statement. */
const ATTESTATION_MAX_BYTES = 8192;
/** "usb", "nfc", "ble", "smart-card", "hybrid", "internal", "cable" and some to come. */
const TRANSPORTS_MAX = 8;
const TRANSPORT = /^[a-z][a-z0-9-]{0,31}$/;

export interface AssertionForm {
  readonly id: string;
  readonly clientDataJSON: string;
  readonly authenticatorData: string;
  readonly signature: string;
  readonly userHandle: string | undefined;
}

export interface RegistrationForm {
  readonly id: string;
  readonly clientDataJSON: string;
  readonly attestationObject: string;
  readonly transports: readonly string[];
}

type Members = Readonly<Record<string, unknown>>;

export function parseAssertionForm(value: unknown): AssertionForm | undefined {
  const { id, response } = credential(value) ?? {};
  if (id === undefined || response === undefined) return undefined;
  const clientDataJSON = base64urlText(response["clientDataJSON"], CLIENT_DATA_MAX_BYTES);
  const data = base64urlText(response["authenticatorData"], AUTHENTICATOR_DATA_MAX_BYTES);
  const signature = base64urlText(response["signature"], SIGNATURE_MAX_BYTES);
  if (clientDataJSON === undefined || data === undefined || signature === undefined) {
    return undefined;
  }
  const handle = response["userHandle"] ?? undefined;
  const userHandle = base64urlText(handle, USER_HANDLE_MAX_BYTES);
  if (handle !== undefined && userHandle === undefined) return undefined;
  return { id, clientDataJSON, authenticatorData: data, signature, userHandle };
}

export function parseRegistrationForm(value: unknown): RegistrationForm | undefined {
  const { id, response } = credential(value) ?? {};
  if (id === undefined || response === undefined) return undefined;
  const clientDataJSON = base64urlText(response["clientDataJSON"], CLIENT_DATA_MAX_BYTES);
  const attestationObject = base64urlText(response["attestationObject"], ATTESTATION_MAX_BYTES);
  if (clientDataJSON === undefined || attestationObject === undefined) return undefined;
  const given = response["transports"] ?? [];
  if (!Array.isArray(given) || given.length > TRANSPORTS_MAX) return undefined;
  const transports = given.filter(
    (name): name is string => typeof name === "string" && TRANSPORT.test(name),
  );
  return { id, clientDataJSON, attestationObject, transports };
}

function credential(value: unknown): { id: string; response: Members } | undefined {
  const members = objectOf(value);
  const response = objectOf(members?.["response"]);
  const id = base64urlText(members?.["id"], CREDENTIAL_ID_MAX_BYTES);
  if (members === undefined || response === undefined || id === undefined) return undefined;
  return members["rawId"] === id && members["type"] === "public-key" ? { id, response } : undefined;
}

function objectOf(value: unknown): Members | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  return { ...value };
}

function base64urlText(value: unknown, maxBytes: number): string | undefined {
  if (typeof value !== "string") return undefined;
  return fromBase64url(value, maxBytes) === undefined ? undefined : value;
}
