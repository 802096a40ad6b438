/**
 * Whether a conduit's limits allow a Modbus request. Default deny: a function, unit, address or value
 * that no limit names is refused. The gate asks `judge` for every request; `explain` asks
 * `authorizeModbus`, which goes the same way through the same code.
 *
 * Which data a function touches: 1 and 5 and 15 coils; 2 discrete inputs; 3, 6, 16, 22, 23 (both its
 * ranges) and 24 (its pointer) holding registers; 4 input registers. The others have no address and are
 * allowed by their name alone, except that no file is written where `writeValues` says what may be.
 */
import { type Interval, normalize } from "@sallyport/core";
import type { ModbusLimits, Reason } from "@sallyport/policy/legs";
import { modbus } from "@sallyport/wire";

/** What `judge` answers; the refusals are the ends of reasons `l7.<refusal>`. */
export type Judgment =
  | "allowed"
  | "function-not-decoded"
  | "function-not-allowed"
  | "unit-not-allowed"
  | "address-not-allowed"
  | "quantity-not-allowed"
  | "value-not-allowed";

export type Refusal = Exclude<Judgment, "allowed"> | "rate";

/** Limits in the form in which a request is looked up without allocation. */
export interface CompiledLimits {
  /** By function index: 1 where the function may be used. */
  readonly functions: Uint8Array;
  /** By unit: 1 where the unit may be addressed. */
  readonly units: Uint8Array;
  readonly coils: readonly Interval[];
  readonly discreteInputs: readonly Interval[];
  readonly holdingRegisters: readonly Interval[];
  readonly inputRegisters: readonly Interval[];
  readonly maxQuantity: number;
  readonly writeValues: ModbusLimits["writeValues"];
  /** 0: no limit. */
  readonly requestsPerSecond: number;
}

/** Names that are no decoded function allow nothing. */
export function compileLimits(limits: ModbusLimits): CompiledLimits {
  const functions = new Uint8Array(modbus.FUNCTIONS.length);
  for (const name of limits.functions) functions[modbus.functionByName(name)] = 1;
  // An unknown name, `other` among them, found the place of what is not decoded.
  functions[modbus.OTHER] = 0;
  const units = new Uint8Array(256);
  for (const { first, last } of limits.units) units.fill(1, Math.max(0, first), last + 1);
  return {
    functions,
    units,
    coils: normalize(limits.coils),
    discreteInputs: normalize(limits.discreteInputs),
    holdingRegisters: normalize(limits.holdingRegisters),
    inputRegisters: normalize(limits.inputRegisters),
    maxQuantity: limits.maxQuantity ?? Number.POSITIVE_INFINITY,
    writeValues: limits.writeValues,
    requestsPerSecond: limits.requestsPerSecond ?? 0,
  };
}

/** `bytes` and `start` are those that `request` was parsed from. */
export function judge(
  limits: CompiledLimits,
  request: modbus.ModbusRequest,
  bytes: Uint8Array,
  start: number,
): Judgment {
  if (request.function === modbus.OTHER) return "function-not-decoded";
  if (limits.functions[request.function] !== 1) return "function-not-allowed";
  if (limits.units[request.unit] !== 1) return "unit-not-allowed";
  const { readQuantity, writeQuantity } = request;
  if (readQuantity > 0) {
    const area = areaOf(limits, request.functionCode);
    if (!covers(area, request.readAddress, readQuantity)) return "address-not-allowed";
    if (readQuantity > limits.maxQuantity) return "quantity-not-allowed";
  }
  if (writeQuantity > 0) {
    const area = areaOf(limits, request.functionCode);
    if (!covers(area, request.writeAddress, writeQuantity)) return "address-not-allowed";
    if (writeQuantity > limits.maxQuantity) return "quantity-not-allowed";
  }
  if (limits.writeValues.length > 0 && !valuesAllowed(limits, request, bytes, start)) {
    return "value-not-allowed";
  }
  return "allowed";
}

const NOWHERE: readonly Interval[] = [];

function areaOf(limits: CompiledLimits, functionCode: number): readonly Interval[] {
  switch (functionCode) {
    case 1:
    case 5:
    case 15:
      return limits.coils;
    case 2:
      return limits.discreteInputs;
    case 3:
    case 6:
    case 16:
    case 22:
    case 23:
    case 24:
      return limits.holdingRegisters;
    case 4:
      return limits.inputRegisters;
    default:
      return NOWHERE;
  }
}

/** The set is normalized, so a range is in it only if one interval holds all of it. */
function covers(set: readonly Interval[], address: number, quantity: number): boolean {
  const last = address + quantity - 1;
  for (const interval of set) {
    if (address >= interval.first) {
      if (last <= interval.last) return true;
    } else {
      return false;
    }
  }
  return false;
}

function valuesAllowed(
  limits: CompiledLimits,
  request: modbus.ModbusRequest,
  bytes: Uint8Array,
  start: number,
): boolean {
  const { functionCode, writeAddress } = request;
  switch (functionCode) {
    case 6:
      return mayHold(limits, writeAddress, request.value, request.value);
    case 16:
    case 23: {
      let at = start + request.valuesOffsetBytes;
      for (let index = 0; index < request.writeQuantity; index++, at += 2) {
        const value = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
        if (!mayHold(limits, writeAddress + index, value, value)) return false;
      }
      return true;
    }
    case 22: {
      // Bits outside the AND mask become the OR mask's; bits inside it stay what they are, which
      // nobody here knows. So everything between all of them 0 and all of them 1 must be allowed.
      const least = request.orMask & ~request.andMask & 0xffff;
      return mayHold(limits, writeAddress, least, least | request.andMask);
    }
    case 21:
      return false;
    default:
      // Coils have no values to limit, and the others write nothing.
      return true;
  }
}

/** Whether one rule for the register holds every value from `least` to `most`. */
function mayHold(limits: CompiledLimits, register: number, least: number, most: number): boolean {
  for (const { registers, values } of limits.writeValues) {
    if (register < registers.first || register > registers.last) continue;
    if (least >= values.first && most <= values.last) return true;
  }
  return false;
}

const EXCEPTION_OF: Readonly<Record<Refusal, number>> = {
  "function-not-decoded": modbus.EXCEPTIONS.illegalFunction,
  "function-not-allowed": modbus.EXCEPTIONS.illegalFunction,
  // As a gateway that has no path to that unit answers.
  "unit-not-allowed": modbus.EXCEPTIONS.gatewayPathUnavailable,
  "address-not-allowed": modbus.EXCEPTIONS.illegalDataAddress,
  "quantity-not-allowed": modbus.EXCEPTIONS.illegalDataValue,
  "value-not-allowed": modbus.EXCEPTIONS.illegalDataValue,
  // The one exception that tells a client to come again later.
  rate: modbus.EXCEPTIONS.serverDeviceBusy,
};

/** The exception that the client of a refused request gets. */
export function exceptionOf(refusal: Refusal): number {
  return EXCEPTION_OF[refusal];
}

export function reasonOf(refusal: Refusal): Reason {
  return refusal === "rate" ? "rate" : `l7.${refusal}`;
}

export type Authorization =
  | { readonly allowed: true }
  | { readonly allowed: false; readonly reason: Reason; readonly why: string };

export interface ModbusQuestion {
  /** 0 to 255. */
  readonly unit: number;
  readonly request: modbus.RequestWords;
}

/** The gate's answer to one request, rate aside, with a sentence for the operator. */
export function authorizeModbus(limits: ModbusLimits, question: ModbusQuestion): Authorization {
  const bytes = modbus.encodeRequest({ transaction: 0, unit: question.unit }, question.request);
  const request = new modbus.ModbusRequest();
  if (!modbus.parseRequest(bytes, 0, bytes.length, request)) {
    const why = modbus.explainProblem(request.problem);
    return { allowed: false, reason: `l7.request-${request.problem}`, why };
  }
  const judgment = judge(compileLimits(limits), request, bytes, 0);
  if (judgment === "allowed") return { allowed: true };
  return { allowed: false, reason: reasonOf(judgment), why: explainRefusal(judgment, request) };
}

/** A sentence for the operator. */
export function explainRefusal(refusal: Refusal, request: modbus.ModbusRequest): string {
  const info = modbus.functionInfo(request.function);
  switch (refusal) {
    case "function-not-decoded":
      return `function ${request.functionCode} is not decoded, so it cannot be allowed`;
    case "function-not-allowed":
      return `${info.name} is not among the conduit's functions`;
    case "unit-not-allowed":
      return `unit ${request.unit} is not among the conduit's units`;
    case "address-not-allowed":
      return `${info.name} of ${ranges(request)} is outside the conduit's ${info.area ?? "data"}`;
    case "quantity-not-allowed":
      return `${info.name} of ${ranges(request)} is more at once than the conduit's max-quantity`;
    case "value-not-allowed":
      return `${info.name} of ${ranges(request)} could leave a value that write-values does not allow`;
    case "rate":
      return "more requests a second than the conduit's rate";
  }
}

function ranges(request: modbus.ModbusRequest): string {
  const parts: string[] = [];
  const add = (address: number, quantity: number): void => {
    if (quantity > 0)
      parts.push(quantity === 1 ? `${address}` : `${address}-${address + quantity - 1}`);
  };
  add(request.readAddress, request.readQuantity);
  add(request.writeAddress, request.writeQuantity);
  return parts.length === 0 ? "a file" : parts.join(" and ");
}
