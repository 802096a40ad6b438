/** RFC 6238 with six digits, what every authenticator app shows. */
const CODE = /^[0-9]{6}$/;

export function isTotpCode(code: unknown): code is string {
  return typeof code === "string" && CODE.test(code);
}
