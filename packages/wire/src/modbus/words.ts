/**
 * Decoded Modbus messages in the PDU words, and decoders for whoever has bytes and no hot path.
 * Specification: as `request.ts` and `response.ts`.
 */
import type { Decoded } from "@sallyport/core";
import type { Pdu, Status, Target } from "../pdu.ts";
import { BAD_PROTOCOL, frameLength, HEADER_BYTES, INCOMPLETE, LENGTH, PROTOCOL } from "./frame.ts";
import { exceptionName, functionInfo } from "./functions.ts";
import { ModbusRequest, parseRequest, type Problem } from "./request.ts";
import { ModbusResponse, parseResponse } from "./response.ts";

export const PROTOCOL_NAME = "modbus";

const PROBLEMS: Readonly<Record<Problem, string>> = {
  none: "well-formed",
  "bad-protocol-id": "the protocol id is not 0, so this is not Modbus/TCP",
  "bad-length": "the length does not fit the function and its data",
  "bad-function": "0 is no function code, and a request's is at most 127",
  "bad-quantity": "the quantity is 0 or more than one PDU may carry",
  "bad-byte-count": "the byte count does not fit the quantity or the data",
  "bad-address": "the last address would be above 65535",
  "bad-value": "the value is none that the function knows",
  "bad-file-record": "a file record's reference type, number or length is not allowed",
  "bad-exception": "0 is no exception code",
};

/** A sentence for the operator. */
export function explainProblem(problem: Problem): string {
  return PROBLEMS[problem];
}

/** The first message of `bytes`, which may hold less or more than one. */
export function decodeRequest(bytes: Uint8Array): Decoded<Pdu> {
  const framed = frame(bytes);
  if (typeof framed !== "number") return framed;
  const request = new ModbusRequest();
  if (!parseRequest(bytes, 0, framed, request)) return malformed(request);
  return { kind: "message", message: requestPdu(request, bytes, 0), sizeBytes: framed };
}

/** Without its request: whether it answers one, and which addresses it speaks of, is not told. */
export function decodeResponse(bytes: Uint8Array): Decoded<Pdu> {
  const framed = frame(bytes);
  if (typeof framed !== "number") return framed;
  const response = new ModbusResponse();
  if (!parseResponse(bytes, 0, framed, response)) return malformed(response);
  return { kind: "message", message: responsePdu(response, bytes, 0), sizeBytes: framed };
}

function frame(bytes: Uint8Array): number | Decoded<never> {
  const size = frameLength(bytes, 0, bytes.length);
  if (size === INCOMPLETE) {
    return { kind: "incomplete", missingBytes: Math.max(1, HEADER_BYTES + 1 - bytes.length) };
  }
  if (size < 0) {
    const problem: Problem = size === BAD_PROTOCOL ? "bad-protocol-id" : "bad-length";
    const offsetBytes = size === BAD_PROTOCOL ? PROTOCOL : LENGTH;
    return { kind: "malformed", offsetBytes, why: PROBLEMS[problem] };
  }
  if (size > bytes.length) return { kind: "incomplete", missingBytes: size - bytes.length };
  return size;
}

function malformed(message: ModbusRequest | ModbusResponse): Decoded<never> {
  const { problem, problemOffsetBytes } = message;
  return { kind: "malformed", offsetBytes: problemOffsetBytes, why: PROBLEMS[problem] };
}

/** `bytes` and `start` are those that `request` was parsed from. */
export function requestPdu(request: ModbusRequest, bytes: Uint8Array, start: number): Pdu {
  const info = functionInfo(request.function);
  const { unit } = request;
  const readTarget: Target | undefined =
    info.area !== undefined && request.readQuantity > 0
      ? target(unit, info.area, request.readAddress, request.readQuantity)
      : undefined;
  const writeTarget: Target | undefined =
    info.area !== undefined && request.writeQuantity > 0
      ? target(unit, info.area, request.writeAddress, request.writeQuantity)
      : undefined;
  const values = writtenValues(request, bytes, start);
  return {
    protocol: PROTOCOL_NAME,
    direction: "request",
    operation: info.operation,
    function: info.name,
    functionCode: request.functionCode,
    target: writeTarget ?? readTarget ?? { kind: "unit", unit },
    ...(writeTarget !== undefined && readTarget !== undefined ? { readTarget } : {}),
    ...(values === undefined ? {} : { values }),
  };
}

function target(unit: number, area: string, address: number, count: number): Target {
  return { kind: "memory", unit, area, address, count };
}

/**
 * The values a request would write, bits as 0 and 1. A mask write's are its two masks: what it
 * leaves depends on what the register holds.
 */
export function writtenValues(
  request: ModbusRequest,
  bytes: Uint8Array,
  start: number,
): number[] | undefined {
  switch (request.functionCode) {
    case 5:
      return [request.value === 0 ? 0 : 1];
    case 6:
      return [request.value];
    case 15:
      return bitsAt(bytes, start + request.valuesOffsetBytes, request.writeQuantity);
    case 16:
    case 23:
      return registersAt(bytes, start + request.valuesOffsetBytes, request.writeQuantity);
    case 22:
      return [request.andMask, request.orMask];
    default:
      return undefined;
  }
}

export function registersAt(bytes: Uint8Array, offset: number, count: number): number[] {
  return Array.from(
    { length: count },
    (_, index) => ((bytes[offset + index * 2] ?? 0) << 8) | (bytes[offset + index * 2 + 1] ?? 0),
  );
}

function bitsAt(bytes: Uint8Array, offset: number, count: number): number[] {
  return Array.from(
    { length: count },
    (_, index) => ((bytes[offset + (index >> 3)] ?? 0) >> (index & 7)) & 1,
  );
}

export function responsePdu(response: ModbusResponse, bytes: Uint8Array, start: number): Pdu {
  const info = functionInfo(response.function);
  const { unit, functionCode, exception } = response;
  const status: Status =
    exception === 0
      ? { kind: "ok" }
      : { kind: "error", code: exception, name: exceptionName(exception) };
  const echoes = info.operation === "write" && response.quantity > 0 && info.area !== undefined;
  const values = exception === 0 ? readValues(response, bytes, start) : undefined;
  return {
    protocol: PROTOCOL_NAME,
    direction: "response",
    operation: info.operation,
    function: info.name,
    functionCode,
    target: echoes
      ? target(unit, info.area ?? "", response.address, response.quantity)
      : { kind: "unit", unit },
    ...(values === undefined ? {} : { values }),
    status,
  };
}

function readValues(
  response: ModbusResponse,
  bytes: Uint8Array,
  start: number,
): number[] | undefined {
  const at = start + response.valuesOffsetBytes;
  switch (response.functionCode) {
    case 1:
    case 2:
      // The response alone does not say how many of the last byte's bits were asked for.
      return bitsAt(bytes, at, response.countBytes * 8);
    case 3:
    case 4:
    case 23:
      return registersAt(bytes, at, response.countBytes >> 1);
    case 24:
      return registersAt(bytes, at, response.quantity);
    default:
      return undefined;
  }
}
