/**
 * A software authenticator and its browser, on `node:crypto` alone: it shares no code with what
 * verifies it. WebAuthn Level 3, §6.3.2 (creation) and §6.3.3 (assertion).
 */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";

export type Algorithm = "es256" | "eddsa" | "rs256";

/** What a test bends: each member replaces what an honest authenticator or browser would do. */
export interface Bend {
  readonly type?: string;
  readonly origin?: string;
  readonly challenge?: string;
  readonly crossOrigin?: boolean;
  readonly topOrigin?: string;
  readonly rpId?: string;
  readonly flags?: number;
  readonly counter?: number;
  readonly trailing?: Uint8Array;
  readonly userHandle?: string;
  readonly clientData?: string;
  readonly signature?: Uint8Array;
  readonly format?: string;
  readonly statement?: readonly [string, unknown][];
}

const USER_PRESENT = 0x01;
const USER_VERIFIED = 0x04;
const ATTESTED = 0x40;

export interface Assertion {
  readonly id: string;
  readonly rawId: string;
  readonly type: "public-key";
  readonly response: {
    readonly clientDataJSON: string;
    readonly authenticatorData: string;
    readonly signature: string;
    readonly userHandle?: string;
  };
  readonly clientExtensionResults: object;
}

export class SoftAuthenticator {
  readonly algorithm: Algorithm;
  readonly credentialId: string;
  readonly publicKey: KeyObject;
  readonly #privateKey: KeyObject;
  #userHandle: string | undefined;
  counter = 0;

  constructor(algorithm: Algorithm = "es256", rsaBits = 2048) {
    this.algorithm = algorithm;
    this.credentialId = randomBytes(16).toString("base64url");
    const { publicKey, privateKey } = makePair(algorithm, rsaBits);
    this.publicKey = publicKey;
    this.#privateKey = privateKey;
  }

  /** Base64, as the browser's `getPublicKey()` gives it. */
  get spki(): string {
    return this.publicKey.export({ format: "der", type: "spki" }).toString("base64");
  }

  get cose(): Uint8Array {
    const jwk = this.publicKey.export({ format: "jwk" });
    const bytes = (text: string | undefined): Uint8Array => Buffer.from(text ?? "", "base64url");
    switch (this.algorithm) {
      case "es256":
        return cbor([
          [1, 2],
          [3, -7],
          [-1, 1],
          [-2, bytes(jwk.x)],
          [-3, bytes(jwk.y)],
        ]);
      case "eddsa":
        return cbor([
          [1, 1],
          [3, -8],
          [-1, 6],
          [-2, bytes(jwk.x)],
        ]);
      default:
        return cbor([
          [1, 3],
          [3, -257],
          [-1, bytes(jwk.n)],
          [-2, bytes(jwk.e)],
        ]);
    }
  }

  create(
    options: { challenge: string; rp: { id?: string }; user: { id: string } },
    origin: string,
    bend: Bend = {},
  ): unknown {
    this.#userHandle = options.user.id;
    const id = Buffer.from(this.credentialId, "base64url");
    const size = Buffer.alloc(2);
    size.writeUInt16BE(id.length);
    const attested = Buffer.concat([Buffer.alloc(16), size, id, this.cose]);
    const flags = bend.flags ?? USER_PRESENT | USER_VERIFIED | ATTESTED;
    const data = this.#data(options.rp.id ?? "", flags, bend, attested);
    const statement = new Map<unknown, unknown>(bend.statement ?? []);
    const attestationObject = cbor([
      ["fmt", bend.format ?? "none"],
      ["attStmt", statement],
      ["authData", data],
    ]);
    const clientData = this.#clientData("webauthn.create", options.challenge, origin, bend);
    return {
      id: this.credentialId,
      rawId: this.credentialId,
      type: "public-key",
      response: {
        clientDataJSON: clientData.toString("base64url"),
        attestationObject: Buffer.from(attestationObject).toString("base64url"),
        transports: ["internal"],
      },
      clientExtensionResults: {},
    };
  }

  get(
    options: { challenge: string; rpId?: string | undefined },
    origin: string,
    bend: Bend = {},
  ): Assertion {
    this.counter++;
    const flags = bend.flags ?? USER_PRESENT | USER_VERIFIED;
    const data = this.#data(options.rpId ?? "", flags, bend, bend.trailing ?? Buffer.alloc(0));
    const clientData = this.#clientData("webauthn.get", options.challenge, origin, bend);
    const hash = createHash("sha256").update(clientData).digest();
    const signed = Buffer.concat([data, hash]);
    const digest = this.algorithm === "eddsa" ? null : "sha256";
    const signature = bend.signature ?? sign(digest, signed, this.#privateKey);
    const userHandle = bend.userHandle ?? this.#userHandle;
    return {
      id: this.credentialId,
      rawId: this.credentialId,
      type: "public-key",
      response: {
        clientDataJSON: clientData.toString("base64url"),
        authenticatorData: data.toString("base64url"),
        signature: Buffer.from(signature).toString("base64url"),
        ...(userHandle === undefined ? {} : { userHandle }),
      },
      clientExtensionResults: {},
    };
  }

  #data(rpId: string, flags: number, bend: Bend, rest: Uint8Array): Buffer {
    const tail = Buffer.alloc(5);
    tail.writeUInt8(flags, 0);
    tail.writeUInt32BE(bend.counter ?? this.counter, 1);
    const hash = createHash("sha256")
      .update(bend.rpId ?? rpId)
      .digest();
    return Buffer.concat([hash, tail, rest]);
  }

  #clientData(type: string, challenge: string, origin: string, bend: Bend): Buffer {
    const data = {
      type: bend.type ?? type,
      challenge: bend.challenge ?? challenge,
      origin: bend.origin ?? origin,
      crossOrigin: bend.crossOrigin ?? false,
      ...(bend.topOrigin === undefined ? {} : { topOrigin: bend.topOrigin }),
    };
    return Buffer.from(bend.clientData ?? JSON.stringify(data), "utf8");
  }
}

function makePair(
  algorithm: Algorithm,
  rsaBits: number,
): { publicKey: KeyObject; privateKey: KeyObject } {
  if (algorithm === "es256") return generateKeyPairSync("ec", { namedCurve: "P-256" });
  if (algorithm === "eddsa") return generateKeyPairSync("ed25519");
  return generateKeyPairSync("rsa", { modulusLength: rsaBits });
}

type Entry = readonly [string | number, unknown];

/** CBOR (RFC 8949) of a map, in the order given; what an authenticator needs of it. */
export function cbor(entries: readonly Entry[]): Uint8Array {
  return encode(new Map<unknown, unknown>(entries));
}

function encode(value: unknown): Buffer {
  if (typeof value === "number") return value < 0 ? head(1, -1 - value) : head(0, value);
  if (typeof value === "string") {
    const bytes = Buffer.from(value, "utf8");
    return Buffer.concat([head(3, bytes.length), bytes]);
  }
  if (value instanceof Uint8Array) return Buffer.concat([head(2, value.length), value]);
  if (Array.isArray(value)) return Buffer.concat([head(4, value.length), ...value.map(encode)]);
  if (value instanceof Map) {
    const parts = [...value].flatMap(([key, member]) => [encode(key), encode(member)]);
    return Buffer.concat([head(5, value.size), ...parts]);
  }
  throw new TypeError("not a value of the test");
}

function head(major: number, value: number): Buffer {
  if (value < 24) return Buffer.of((major << 5) | value);
  if (value < 256) return Buffer.of((major << 5) | 24, value);
  const bytes = Buffer.alloc(3);
  bytes.writeUInt8((major << 5) | 25, 0);
  bytes.writeUInt16BE(value, 1);
  return bytes;
}
