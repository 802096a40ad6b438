/**
 * Takes out of a text what must not leave the plant when somebody asks for help: keys, tokens, passwords, and
 * addresses when wanted. Works on text of any kind, line by line, because what fails is rarely well formed.
 */

export interface RedactOptions {
  /** Addresses become `address-1`, `address-2`, …, the same one for the same address in all texts of a bundle. */
  readonly addresses?: boolean;
}

const GONE = "[redacted]";

/** Whole blocks: private keys, and certificates, which name people and machines. Also one that was cut off. */
const PEM = /-----BEGIN ([A-Z0-9 ]{1,64})-----[\s\S]*?(?:-----END \1-----|$)/g;

/** Words that say that what follows them is a secret, as parts of a name: `db_password`, `apiKey`, `TOTP-seed`. */
const SECRET_WORDS =
  "pass(?:word|wd|phrase|code)?|pwd|secret|token|api[_-]?key|private[_-]?key|access[_-]?key|" +
  "credential|seed|otp|totp|recovery[_-]?code|cookie|authorization|bearer|session[_-]?id|phc|salt|psk";
/** `name: value`, `name=value`, `"name": "value"`, `--name value`; without quotes all that is left of the line. */
const NAMED = new RegExp(
  `((?:${SECRET_WORDS})[A-Za-z0-9_.-]{0,256}["']?` +
    `(?:\\s{0,8}[:=]\\s{0,8}|(?<=(?:^|\\s)--[A-Za-z0-9_.-]{1,320})\\s{1,8}))` +
    `("(?:[^"\\\\\\n]|\\\\.)*"?|'(?:[^'\\\\\\n]|\\\\.)*'?|[^\\n]+)`,
  "gim",
);

/** What is a secret by its own form, wherever it stands. */
const BY_FORM: readonly RegExp[] = [
  // Name and password in an address: `https://name:password@host`.
  /(?<=\b[a-z][a-z0-9+.-]{0,15}:\/\/)[^\s/@]+(?=@)/gi,
  // HTTP's own: `Bearer …`, `Basic …`.
  /(?<=\b(?:Bearer|Basic|Digest|Negotiate) +)[^\s"',;]+/gi,
  // JSON Web Tokens and the like: three parts, the first of which is an object.
  /\beyJ[\w-]{5,}\.[\w-]+(?:\.[\w-]*)?/g,
  // Hashes of passwords in PHC and crypt form.
  /\$(?:argon2(?:id|i|d)|scrypt|pbkdf2[\w-]*|2[aby]|[156y])\$[^\s"';]+/g,
  // `C2SP` signing keys.
  /PRIVATE\+KEY\+[^\s"']+/g,
];

const OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
const ADDRESS = new RegExp(
  `(?<![\\w.])(?:${OCTET}\\.){3}${OCTET}(?![\\w]|\\.[0-9])` +
    // IPv6 has at least two colons, hardware addresses six pairs.
    "|(?<![\\w:.])(?:[0-9a-f]{2}(?::[0-9a-f]{2}){5})(?![\\w:])" +
    "|(?<![\\w:.])(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){7}|(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,6})?::(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,6})?)(?![\\w:])",
  "gi",
);

/** One redactor for all texts of a bundle, so that an address keeps its number. */
export function redactor(options: RedactOptions = {}): (text: string) => string {
  const numbers = new Map<string, number>();
  const nameOf = (address: string): string => {
    const key = address.toLowerCase();
    const number = numbers.get(key) ?? numbers.size + 1;
    numbers.set(key, number);
    return `address-${number}`;
  };
  return (text) => {
    let out = text.replace(PEM, GONE);
    for (const form of BY_FORM) out = out.replace(form, GONE);
    out = out.replace(NAMED, (_whole, name: string) => `${name}${GONE}`);
    return options.addresses === true ? out.replace(ADDRESS, nameOf) : out;
  };
}
