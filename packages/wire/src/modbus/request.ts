/**
 * Modbus/TCP requests, strictly: what the specification forbids is malformed.
 * Specification: MODBUS Application Protocol V1.1b3, §6; each limit names its section.
 * Not decoded here: functions called `other` (functions.ts); their bytes are only framed.
 */
import { Cursor } from "../cursor.ts";
import { frameLength, HEADER_BYTES } from "./frame.ts";
import {
  ENCAPSULATED_INTERFACE,
  type FunctionIndex,
  functionByCode,
  MEI_CANOPEN,
  OTHER,
} from "./functions.ts";

/** What is wrong with an ADU, by the field that says so. `none` when it is well-formed. */
export type Problem =
  | "none"
  | "bad-protocol-id"
  | "bad-length"
  | "bad-function"
  | "bad-quantity"
  | "bad-byte-count"
  | "bad-address"
  | "bad-value"
  | "bad-file-record"
  | "bad-exception";

/** §6.1, §6.2: bits in one read. */
export const READ_BITS_MAX = 2000;
/** §6.3, §6.4, §6.17: registers in one read. */
export const READ_REGISTERS_MAX = 125;
/** §6.11: coils in one write. */
export const WRITE_COILS_MAX = 0x7b0;
/** §6.12: registers in one write. */
export const WRITE_REGISTERS_MAX = 0x7b;
/** §6.17: registers written by function 23. */
export const READ_WRITE_REGISTERS_MAX = 0x79;
/** §6.14: the only reference type there is. */
export const FILE_REFERENCE_TYPE = 6;
/** §6.14: records are numbered 0 to 9999. */
const FILE_RECORD_MAX = 0x270f;
const FILE_READ_GROUP_BYTES = 7;
const FILE_READ_MAX_BYTES = 0xf5;
const FILE_WRITE_MIN_BYTES = 0x09;
const FILE_WRITE_MAX_BYTES = 0xfb;
const ADDRESSES = 0x10000;
export const COIL_ON = 0xff00;
const COIL_OFF = 0;
/** §6.8.1: the sub-function that returns what it was sent, of any length. */
export const RETURN_QUERY_DATA = 0;
/** §6.8.1: the unit goes silent and does not even answer this. */
export const FORCE_LISTEN_ONLY = 4;
const CLEAR_LOG = 0xff00;

/**
 * One request. The object is reused: `parseRequest` fills every field, so nothing of the request
 * before is left. Addresses are 0-based, as on the wire.
 */
export class ModbusRequest {
  problem: Problem = "none";
  /** Of the problem, from the first byte of the ADU. */
  problemOffsetBytes = 0;
  transaction = 0;
  unit = 0;
  functionCode = 0;
  function: FunctionIndex = OTHER;
  /** Cells read, 0 when none. */
  readQuantity = 0;
  readAddress = 0;
  /** Cells written, 0 when none. */
  writeQuantity = 0;
  writeAddress = 0;
  /** Of functions 5 and 6. */
  value = 0;
  /** Of function 22. */
  andMask = 0;
  orMask = 0;
  /** Of functions 8 (sub-function) and 43 (MEI type). */
  subFunction = 0;
  /** Where the values of functions 15, 16, 23 begin, from the first byte of the ADU; 0: none. */
  valuesOffsetBytes = 0;
}

const cursor = new Cursor();

/** Fills `into` from exactly one framed ADU; false: malformed, and `into.problem` says how. */
export function parseRequest(
  bytes: Uint8Array,
  start: number,
  end: number,
  into: ModbusRequest,
): boolean {
  clear(into);
  cursor.reset(bytes, start, end);
  into.transaction = cursor.u16();
  if (cursor.u16() !== 0) return malformed(into, "bad-protocol-id", start);
  cursor.u16();
  into.unit = cursor.u8();
  const code = cursor.u8();
  into.functionCode = code;
  if (cursor.failed || frameLength(bytes, start, end) !== end - start) {
    return malformed(into, "bad-length", start);
  }
  // §4.1: 0 is no function, and 128 to 255 are exceptions, which only a response can be.
  if (code === 0 || code > 127) return malformed(into, "bad-function", start);
  const mei = code === ENCAPSULATED_INTERFACE ? (bytes[start + HEADER_BYTES + 1] ?? 0) : 0;
  into.function = functionByCode(code, mei);
  if (into.function === OTHER) return true;
  const problem = parseData(code, into, start);
  if (problem !== "none") return malformed(into, problem, start);
  if (cursor.failed || cursor.remainingBytes !== 0) return malformed(into, "bad-length", start);
  return true;
}

function clear(into: ModbusRequest): void {
  into.problem = "none";
  into.problemOffsetBytes = 0;
  into.functionCode = 0;
  into.function = OTHER;
  into.readQuantity = 0;
  into.readAddress = 0;
  into.writeQuantity = 0;
  into.writeAddress = 0;
  into.value = 0;
  into.andMask = 0;
  into.orMask = 0;
  into.subFunction = 0;
  into.valuesOffsetBytes = 0;
}

function malformed(into: ModbusRequest, problem: Problem, start: number): false {
  // A field that is cut short is a matter of length, whatever its missing value would have been.
  into.problem = cursor.failed ? "bad-length" : problem;
  into.problemOffsetBytes = cursor.offset - start;
  return false;
}

function parseData(code: number, into: ModbusRequest, start: number): Problem {
  switch (code) {
    case 1:
    case 2:
      return parseRead(into, READ_BITS_MAX);
    case 3:
    case 4:
      return parseRead(into, READ_REGISTERS_MAX);
    case 5:
      parseSingle(into);
      return into.value === COIL_ON || into.value === COIL_OFF ? "none" : "bad-value";
    case 6:
      return parseSingle(into);
    case 8:
      return parseDiagnostics(into);
    case 15:
      return parseWriteMultiple(into, start, WRITE_COILS_MAX, true);
    case 16:
      return parseWriteMultiple(into, start, WRITE_REGISTERS_MAX, false);
    case 20:
      return parseFileRead();
    case 21:
      return parseFileWrite();
    case 22:
      into.writeAddress = cursor.u16();
      into.writeQuantity = 1;
      into.andMask = cursor.u16();
      into.orMask = cursor.u16();
      return "none";
    case 23: {
      const problem = parseRead(into, READ_REGISTERS_MAX);
      if (problem !== "none") return problem;
      return parseWriteMultiple(into, start, READ_WRITE_REGISTERS_MAX, false);
    }
    case 24:
      into.readAddress = cursor.u16();
      into.readQuantity = 1;
      return "none";
    case ENCAPSULATED_INTERFACE:
      return parseEncapsulated(into);
    default:
      // 7, 11, 12 and 17 carry no data.
      return "none";
  }
}

function parseRead(into: ModbusRequest, max: number): Problem {
  into.readAddress = cursor.u16();
  into.readQuantity = cursor.u16();
  if (cursor.failed) return "bad-length";
  // A quantity above `max` cannot be answered in one PDU; some devices crash on it.
  if (into.readQuantity < 1 || into.readQuantity > max) return "bad-quantity";
  return into.readAddress + into.readQuantity > ADDRESSES ? "bad-address" : "none";
}

function parseSingle(into: ModbusRequest): Problem {
  into.writeAddress = cursor.u16();
  into.writeQuantity = 1;
  into.value = cursor.u16();
  return "none";
}

function parseWriteMultiple(
  into: ModbusRequest,
  start: number,
  max: number,
  isBits: boolean,
): Problem {
  into.writeAddress = cursor.u16();
  into.writeQuantity = cursor.u16();
  const countBytes = cursor.u8();
  if (cursor.failed) return "bad-length";
  if (into.writeQuantity < 1 || into.writeQuantity > max) return "bad-quantity";
  if (into.writeAddress + into.writeQuantity > ADDRESSES) return "bad-address";
  if (countBytes !== (isBits ? (into.writeQuantity + 7) >> 3 : into.writeQuantity * 2)) {
    return "bad-byte-count";
  }
  into.valuesOffsetBytes = cursor.offset - start;
  cursor.skip(countBytes);
  return "none";
}

/** §6.8.1: data is one word, and of sub-function 0 any number of words. */
function parseDiagnostics(into: ModbusRequest): Problem {
  into.subFunction = cursor.u16();
  if (into.subFunction === RETURN_QUERY_DATA) {
    const size = cursor.remainingBytes;
    cursor.skip(size);
    return size >= 2 && size % 2 === 0 ? "none" : "bad-length";
  }
  if (isReservedDiagnostic(into.subFunction)) {
    into.function = OTHER;
    cursor.skip(cursor.remainingBytes);
    return "none";
  }
  const data = cursor.u16();
  if (into.subFunction === 3) return (data & 0xff) === 0 ? "none" : "bad-value";
  if (into.subFunction === 1) return data === 0 || data === CLEAR_LOG ? "none" : "bad-value";
  return data === 0 ? "none" : "bad-value";
}

/** §6.8.1: 5 to 9 and 21 and above are reserved; 19 is among the reserved codes of Annex A. */
function isReservedDiagnostic(subFunction: number): boolean {
  return (subFunction >= 5 && subFunction <= 9) || subFunction === 19 || subFunction > 20;
}

/** §6.14: groups of reference type, file, record, length. */
function parseFileRead(): Problem {
  const countBytes = cursor.u8();
  if (countBytes !== cursor.remainingBytes) return "bad-byte-count";
  if (countBytes === 0 || countBytes > FILE_READ_MAX_BYTES) return "bad-byte-count";
  if (countBytes % FILE_READ_GROUP_BYTES !== 0) return "bad-byte-count";
  let responseBytes = 0;
  while (cursor.remainingBytes > 0) {
    const length = parseFileGroup();
    if (length === 0) return "bad-file-record";
    responseBytes += 2 + length * 2;
  }
  // What cannot be answered in one PDU must not be asked.
  return responseBytes > FILE_READ_MAX_BYTES ? "bad-file-record" : "none";
}

/** §6.15: the same groups, each followed by its registers. */
function parseFileWrite(): Problem {
  const countBytes = cursor.u8();
  if (countBytes !== cursor.remainingBytes) return "bad-byte-count";
  if (countBytes < FILE_WRITE_MIN_BYTES || countBytes > FILE_WRITE_MAX_BYTES) {
    return "bad-byte-count";
  }
  while (cursor.remainingBytes > 0) {
    const length = parseFileGroup();
    if (length === 0) return "bad-file-record";
    cursor.skip(length * 2);
    if (cursor.failed) return "bad-length";
  }
  return "none";
}

/** The group's record length in registers, 1 or more; 0: not a group. */
function parseFileGroup(): number {
  const type = cursor.u8();
  const file = cursor.u16();
  const record = cursor.u16();
  const length = cursor.u16();
  if (cursor.failed || type !== FILE_REFERENCE_TYPE) return 0;
  return file === 0 || record > FILE_RECORD_MAX ? 0 : length;
}

/** §6.19 to §6.21. What CANopen data means is told in CiA 309, not here. */
function parseEncapsulated(into: ModbusRequest): Problem {
  into.subFunction = cursor.u8();
  if (into.subFunction === MEI_CANOPEN) {
    cursor.skip(cursor.remainingBytes);
    return "none";
  }
  const access = cursor.u8();
  cursor.u8();
  if (cursor.failed) return "bad-length";
  return access < 1 || access > 4 ? "bad-value" : "none";
}
