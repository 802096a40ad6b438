/**
 * Modbus/TCP framing: how long is the next ADU?
 * Specification: MODBUS Messaging on TCP/IP Implementation Guide V1.0b, §3.1.3 and §4.1.
 * Not decoded here: the function and its data (`request.ts`, `response.ts`); serial framing.
 */
// MBAP header, big-endian:
//   0             2             4             6      7
//   | transaction | protocol = 0|   length    | unit | function, data
//                                  counts from `unit` to the end
export const PROTOCOL = 2;
export const LENGTH = 4;
export const UNIT = 6;
export const FUNCTION = 7;
export const HEADER_BYTES = 7;

/** Application Protocol §4.1: a PDU is 1 to 253 bytes, so `length` (unit and PDU) is 2 to 254. */
export const LENGTH_MIN = 2;
export const LENGTH_MAX = 254;
export const ADU_MIN_BYTES: number = UNIT + LENGTH_MIN;
export const ADU_MAX_BYTES: number = UNIT + LENGTH_MAX;

/** More bytes are needed to tell, or to have it whole. */
export const INCOMPLETE = 0;
export const BAD_PROTOCOL = -1;
export const BAD_LENGTH = -2;

/**
 * The size of the ADU that begins at `start`, once the header shows it (the ADU itself may still be
 * incomplete); INCOMPLETE before; or what is wrong. A fault is told as soon as its byte is there:
 * nobody waits for the rest of something that cannot become an ADU.
 */
export function frameLength(bytes: Uint8Array, start: number, end: number): number {
  const size = end - start;
  if (size > PROTOCOL && bytes[start + PROTOCOL] !== 0) return BAD_PROTOCOL;
  if (size > PROTOCOL + 1 && bytes[start + PROTOCOL + 1] !== 0) return BAD_PROTOCOL;
  if (size > LENGTH && bytes[start + LENGTH] !== 0) return BAD_LENGTH;
  if (size <= LENGTH + 1) return INCOMPLETE;
  const length = bytes[start + LENGTH + 1] ?? 0;
  if (length < LENGTH_MIN || length > LENGTH_MAX) return BAD_LENGTH;
  return UNIT + length;
}
