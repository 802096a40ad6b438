/**
 * Modbus/TCP. Framing, strict decoding without allocation, the PDU words, encoding.
 * @module
 */
export { answers, needsCopy } from "./answers.ts";
export {
  bits,
  encodeAdu,
  encodeCountedResponse,
  encodeException,
  encodeRequest,
  type FileRecord,
  type Head,
  type RequestWords,
  registers,
} from "./encode.ts";
export {
  ADU_MAX_BYTES,
  ADU_MIN_BYTES,
  BAD_LENGTH,
  BAD_PROTOCOL,
  frameLength,
  INCOMPLETE,
} from "./frame.ts";
export {
  type Area,
  EXCEPTIONS,
  exceptionName,
  FUNCTION_NAMES,
  FUNCTIONS,
  type FunctionIndex,
  type FunctionInfo,
  type FunctionName,
  functionByCode,
  functionByName,
  functionInfo,
  isFunctionName,
  OTHER,
} from "./functions.ts";
export { FORCE_LISTEN_ONLY, ModbusRequest, type Problem, parseRequest } from "./request.ts";
export { ModbusResponse, parseResponse } from "./response.ts";
export {
  decodeRequest,
  decodeResponse,
  explainProblem,
  requestPdu,
  responsePdu,
  writtenValues,
} from "./words.ts";
