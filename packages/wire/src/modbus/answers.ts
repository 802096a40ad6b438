/**
 * Whether a Modbus/TCP response is the answer to a request.
 * Specification: MODBUS Application Protocol V1.1b3, §6; Messaging on TCP/IP V1.0b, §4.2.2.
 */
import { FUNCTION } from "./frame.ts";
import { type ModbusRequest, RETURN_QUERY_DATA } from "./request.ts";
import type { ModbusResponse } from "./response.ts";

/**
 * Whether a well-formed response can be the answer to `request`: same transaction, unit and function,
 * as much data as was asked for, and the echo of what was written. `requestCopy` is the request's ADU
 * (see `needsCopy`), `bytes` and `start` the response's.
 */
export function answers(
  request: ModbusRequest,
  requestCopy: Uint8Array | undefined,
  response: ModbusResponse,
  bytes: Uint8Array,
  start: number,
): boolean {
  if (response.transaction !== request.transaction) return false;
  if (response.unit !== request.unit || response.functionCode !== request.functionCode)
    return false;
  if (response.exception !== 0) return true;
  if (response.function !== request.function) return false;
  switch (request.functionCode) {
    case 1:
    case 2:
      return response.countBytes === (request.readQuantity + 7) >> 3;
    case 3:
    case 4:
    case 23:
      return response.countBytes === request.readQuantity * 2;
    case 5:
    case 6:
      return response.address === request.writeAddress && response.value === request.value;
    case 15:
    case 16:
      return (
        response.address === request.writeAddress && response.quantity === request.writeQuantity
      );
    case 22:
      return (
        response.address === request.writeAddress &&
        response.andMask === request.andMask &&
        response.orMask === request.orMask
      );
    case 8:
      if (response.subFunction !== request.subFunction) return false;
      return request.subFunction !== RETURN_QUERY_DATA || isEcho(requestCopy, bytes, start);
    case 20:
      return answersFileRead(requestCopy, bytes, start);
    case 21:
      return isEcho(requestCopy, bytes, start);
    default:
      // 7, 11, 12, 17, 24 and 43 are asked without a quantity.
      return true;
  }
}

/** Whether `answers` needs the request's bytes: those whose echo or shape is not in the fields. */
export function needsCopy(functionCode: number): boolean {
  return functionCode === 8 || functionCode === 20 || functionCode === 21;
}

function isEcho(request: Uint8Array | undefined, bytes: Uint8Array, start: number): boolean {
  if (request === undefined) return false;
  for (let at = 0; at < request.length; at++) {
    if (bytes[start + at] !== request[at]) return false;
  }
  return true;
}

/** Each group of the response is as long as the group asked for. Both were parsed before. */
function answersFileRead(
  request: Uint8Array | undefined,
  bytes: Uint8Array,
  start: number,
): boolean {
  if (request === undefined) return false;
  let at = start + FUNCTION + 2;
  const end = at + (bytes[start + FUNCTION + 1] ?? 0);
  for (let group = FUNCTION + 2; group < request.length; group += 7) {
    const registers = ((request[group + 5] ?? 0) << 8) | (request[group + 6] ?? 0);
    const length = bytes[at] ?? 0;
    if (at >= end || length !== 1 + registers * 2) return false;
    at += 1 + length;
  }
  return at === end;
}
