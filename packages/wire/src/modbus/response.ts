/**
 * Modbus/TCP responses and exceptions by themselves; `answers.ts` holds them against their request.
 * Specification: MODBUS Application Protocol V1.1b3, §6 and §7.
 * Not decoded here: functions called `other`; identity strings (only their list is checked).
 */
import { Cursor } from "../cursor.ts";
import { frameLength, HEADER_BYTES } from "./frame.ts";
import {
  ENCAPSULATED_INTERFACE,
  type FunctionIndex,
  functionByCode,
  MEI_DEVICE_IDENTIFICATION,
  OTHER,
} from "./functions.ts";
import {
  COIL_ON,
  FILE_REFERENCE_TYPE,
  type Problem,
  READ_REGISTERS_MAX,
  RETURN_QUERY_DATA,
  WRITE_COILS_MAX,
  WRITE_REGISTERS_MAX,
} from "./request.ts";

/** §6.18: registers in one queue. */
const FIFO_MAX = 31;
/** §6.10: events in one log. */
const EVENTS_MAX = 64;
/** §6.14: `resp. data length`. */
const FILE_READ_MAX_BYTES = 0xf5;
/** §7: the high bit of the function code marks an exception. */
const EXCEPTION_BIT = 0x80;

/** One response. The object is reused: `parseResponse` fills every field. */
export class ModbusResponse {
  problem: Problem = "none";
  problemOffsetBytes = 0;
  transaction = 0;
  unit = 0;
  /** Without the exception bit. */
  functionCode = 0;
  function: FunctionIndex = OTHER;
  /** 1 to 255; 0 when it is no exception. */
  exception = 0;
  /** Bytes of data in a read's response. */
  countBytes = 0;
  /** Of the echo of a write. */
  address = 0;
  quantity = 0;
  value = 0;
  andMask = 0;
  orMask = 0;
  /** Of functions 8 (sub-function) and 43 (MEI type). */
  subFunction = 0;
  /** Where a read's data begins, from the first byte of the ADU; 0: none. */
  valuesOffsetBytes = 0;
}

const cursor = new Cursor();

/** Fills `into` from exactly one framed ADU; false: malformed, and `into.problem` says how. */
export function parseResponse(
  bytes: Uint8Array,
  start: number,
  end: number,
  into: ModbusResponse,
): boolean {
  clear(into);
  cursor.reset(bytes, start, end);
  into.transaction = cursor.u16();
  if (cursor.u16() !== 0) return malformed(into, "bad-protocol-id", start);
  cursor.u16();
  into.unit = cursor.u8();
  const code = cursor.u8();
  into.functionCode = code & ~EXCEPTION_BIT;
  if (cursor.failed || frameLength(bytes, start, end) !== end - start) {
    return malformed(into, "bad-length", start);
  }
  if (into.functionCode === 0) return malformed(into, "bad-function", start);
  if ((code & EXCEPTION_BIT) !== 0) {
    // An exception does not repeat the MEI type, so of code 43 only the code is known.
    into.function = functionByCode(into.functionCode, 0);
    into.exception = cursor.u8();
    if (cursor.failed || cursor.remainingBytes !== 0) return malformed(into, "bad-length", start);
    return into.exception === 0 ? malformed(into, "bad-exception", start) : true;
  }
  const mei = code === ENCAPSULATED_INTERFACE ? (bytes[start + HEADER_BYTES + 1] ?? 0) : 0;
  into.function = functionByCode(code, mei);
  if (into.function === OTHER) return true;
  const problem = parseData(code, into, start);
  if (problem !== "none") return malformed(into, problem, start);
  if (cursor.failed || cursor.remainingBytes !== 0) return malformed(into, "bad-length", start);
  return true;
}

function clear(into: ModbusResponse): void {
  into.problem = "none";
  into.problemOffsetBytes = 0;
  into.functionCode = 0;
  into.function = OTHER;
  into.exception = 0;
  into.countBytes = 0;
  into.address = 0;
  into.quantity = 0;
  into.value = 0;
  into.andMask = 0;
  into.orMask = 0;
  into.subFunction = 0;
  into.valuesOffsetBytes = 0;
}

function malformed(into: ModbusResponse, problem: Problem, start: number): false {
  into.problem = cursor.failed ? "bad-length" : problem;
  into.problemOffsetBytes = cursor.offset - start;
  return false;
}

function parseData(code: number, into: ModbusResponse, start: number): Problem {
  switch (code) {
    case 1:
    case 2:
      return parseCounted(into, start, 1, 250);
    case 3:
    case 4:
    case 23:
      parseCounted(into, start, 2, READ_REGISTERS_MAX * 2);
      return into.countBytes % 2 === 0 && into.countBytes > 0 ? "none" : "bad-byte-count";
    case 5:
    case 6:
      into.address = cursor.u16();
      into.quantity = 1;
      into.value = cursor.u16();
      return code === 6 || into.value === COIL_ON || into.value === 0 ? "none" : "bad-value";
    case 7:
      into.value = cursor.u8();
      return "none";
    case 8:
      return parseDiagnostics(into);
    case 11:
      cursor.skip(4);
      return "none";
    case 12:
      return parseCounted(into, start, 6, 6 + EVENTS_MAX);
    case 15:
      return parseWriteEcho(into, WRITE_COILS_MAX);
    case 16:
      return parseWriteEcho(into, WRITE_REGISTERS_MAX);
    case 17:
      return parseCounted(into, start, 1, 251);
    case 20:
      return parseFileRead(into, start);
    case 21:
      return parseCounted(into, start, 9, 0xfb);
    case 22:
      into.address = cursor.u16();
      into.quantity = 1;
      into.andMask = cursor.u16();
      into.orMask = cursor.u16();
      return "none";
    case 24:
      return parseFifo(into, start);
    default:
      return parseEncapsulated(into);
  }
}

/** A count of bytes, and that many bytes. */
function parseCounted(into: ModbusResponse, start: number, min: number, max: number): Problem {
  into.countBytes = cursor.u8();
  if (cursor.failed) return "bad-length";
  if (into.countBytes < min || into.countBytes > max) return "bad-byte-count";
  if (into.countBytes !== cursor.remainingBytes) return "bad-byte-count";
  into.valuesOffsetBytes = cursor.offset - start;
  cursor.skip(into.countBytes);
  return "none";
}

function parseWriteEcho(into: ModbusResponse, max: number): Problem {
  into.address = cursor.u16();
  into.quantity = cursor.u16();
  if (cursor.failed) return "bad-length";
  return into.quantity < 1 || into.quantity > max ? "bad-quantity" : "none";
}

function parseDiagnostics(into: ModbusResponse): Problem {
  into.subFunction = cursor.u16();
  const size = cursor.remainingBytes;
  cursor.skip(size);
  if (into.subFunction !== RETURN_QUERY_DATA) return size === 2 ? "none" : "bad-length";
  return size >= 2 && size % 2 === 0 ? "none" : "bad-length";
}

/** §6.14: groups of their length, reference type, registers. */
function parseFileRead(into: ModbusResponse, start: number): Problem {
  into.countBytes = cursor.u8();
  if (into.countBytes !== cursor.remainingBytes || into.countBytes > FILE_READ_MAX_BYTES) {
    return "bad-byte-count";
  }
  into.valuesOffsetBytes = cursor.offset - start;
  if (into.countBytes === 0) return "bad-byte-count";
  while (cursor.remainingBytes > 0) {
    const length = cursor.u8();
    const type = cursor.u8();
    if (type !== FILE_REFERENCE_TYPE || length < 3 || length % 2 === 0) return "bad-file-record";
    cursor.skip(length - 1);
    if (cursor.failed) return "bad-length";
  }
  return "none";
}

/** §6.18: both counts are 16 bits. */
function parseFifo(into: ModbusResponse, start: number): Problem {
  into.countBytes = cursor.u16();
  into.quantity = cursor.u16();
  if (cursor.failed) return "bad-length";
  if (into.quantity > FIFO_MAX) return "bad-quantity";
  if (into.countBytes !== 2 + into.quantity * 2) return "bad-byte-count";
  into.valuesOffsetBytes = cursor.offset - start;
  cursor.skip(into.quantity * 2);
  return "none";
}

/** §6.19 to §6.21. */
function parseEncapsulated(into: ModbusResponse): Problem {
  into.subFunction = cursor.u8();
  if (into.subFunction !== MEI_DEVICE_IDENTIFICATION) {
    cursor.skip(cursor.remainingBytes);
    return "none";
  }
  const access = cursor.u8();
  cursor.u8();
  const moreFollows = cursor.u8();
  cursor.u8();
  const objects = cursor.u8();
  if (cursor.failed) return "bad-length";
  if (access < 1 || access > 4) return "bad-value";
  if (moreFollows !== 0 && moreFollows !== 0xff) return "bad-value";
  for (let index = 0; index < objects; index++) {
    cursor.u8();
    cursor.skip(cursor.u8());
    if (cursor.failed) return "bad-length";
  }
  return "none";
}
