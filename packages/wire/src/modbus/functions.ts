/**
 * Modbus function codes, their names here, and what each of them does to a device.
 * Specification: MODBUS Application Protocol V1.1b3, §5.1 (public function codes) and §6.
 * Not decoded: user-defined codes (65-72, 100-110), reserved codes (Annex A: 8/19, 8/21-65535, 9, 10,
 * 13, 14, 41, 42, 90, 91, 125-127, 43/0-12, 43/15-255). They are reported as `other`.
 */
import type { Operation } from "../pdu.ts";

export type Area = "coils" | "discrete-inputs" | "holding-registers" | "input-registers";

/** A name that a conduit's limits may list. `other` is not among them. */
export type FunctionName =
  | "read-coils"
  | "read-discrete-inputs"
  | "read-holding-registers"
  | "read-input-registers"
  | "write-single-coil"
  | "write-single-register"
  | "read-exception-status"
  | "diagnostics"
  | "get-comm-event-counter"
  | "get-comm-event-log"
  | "write-multiple-coils"
  | "write-multiple-registers"
  | "report-server-id"
  | "read-file-record"
  | "write-file-record"
  | "mask-write-register"
  | "read-write-multiple-registers"
  | "read-fifo-queue"
  | "canopen-general-reference"
  | "read-device-identification";

export interface FunctionInfo {
  readonly code: number;
  /** Of code 43: the MEI type. */
  readonly mei?: number;
  readonly name: FunctionName | "other";
  readonly operation: Operation;
  /** The data area it reads or writes, where it has an address. */
  readonly area?: Area;
}

/** Position 0 is every function that is not decoded; the others are sorted by code. */
export const FUNCTIONS: readonly FunctionInfo[] = [
  { code: 0, name: "other", operation: "other" },
  { code: 1, name: "read-coils", operation: "read", area: "coils" },
  { code: 2, name: "read-discrete-inputs", operation: "read", area: "discrete-inputs" },
  { code: 3, name: "read-holding-registers", operation: "read", area: "holding-registers" },
  { code: 4, name: "read-input-registers", operation: "read", area: "input-registers" },
  { code: 5, name: "write-single-coil", operation: "write", area: "coils" },
  { code: 6, name: "write-single-register", operation: "write", area: "holding-registers" },
  { code: 7, name: "read-exception-status", operation: "read" },
  // §6.8: some sub-functions restart or silence a device, so all of them count as administration.
  { code: 8, name: "diagnostics", operation: "admin" },
  { code: 11, name: "get-comm-event-counter", operation: "read" },
  { code: 12, name: "get-comm-event-log", operation: "read" },
  { code: 15, name: "write-multiple-coils", operation: "write", area: "coils" },
  { code: 16, name: "write-multiple-registers", operation: "write", area: "holding-registers" },
  { code: 17, name: "report-server-id", operation: "identify" },
  { code: 20, name: "read-file-record", operation: "read" },
  { code: 21, name: "write-file-record", operation: "write" },
  { code: 22, name: "mask-write-register", operation: "write", area: "holding-registers" },
  {
    code: 23,
    name: "read-write-multiple-registers",
    operation: "write",
    area: "holding-registers",
  },
  { code: 24, name: "read-fifo-queue", operation: "read", area: "holding-registers" },
  // §6.20: may carry any CANopen service, downloads included.
  { code: 43, mei: 13, name: "canopen-general-reference", operation: "control" },
  { code: 43, mei: 14, name: "read-device-identification", operation: "identify" },
];

/** Index into FUNCTIONS. */
export type FunctionIndex = number;

export const OTHER: FunctionIndex = 0;
const UNDECODED: FunctionInfo = { code: 0, name: "other", operation: "other" };
export const ENCAPSULATED_INTERFACE = 43;
export const MEI_CANOPEN = 13;
export const MEI_DEVICE_IDENTIFICATION = 14;

/** Every name that limits may list, in the order of their codes. */
export const FUNCTION_NAMES: readonly FunctionName[] = FUNCTIONS.flatMap((info) =>
  info.name === "other" ? [] : [info.name],
);

const byName: ReadonlyMap<string, FunctionIndex> = new Map(
  FUNCTIONS.map((info, index) => [info.name, index]),
);
const byCode = new Uint8Array(256);
FUNCTIONS.forEach((info, index) => {
  if (info.mei === undefined) byCode[info.code] = index;
});
const CANOPEN_INDEX = byName.get("canopen-general-reference") ?? OTHER;
const IDENTIFICATION_INDEX = byName.get("read-device-identification") ?? OTHER;

export function isFunctionName(name: string): name is FunctionName {
  return name !== "other" && byName.has(name);
}

/** OTHER for a name that is none. */
export function functionByName(name: string): FunctionIndex {
  return byName.get(name) ?? OTHER;
}

/** `mei` counts only with code 43. OTHER for what is not decoded. */
export function functionByCode(code: number, mei: number): FunctionIndex {
  if (code !== ENCAPSULATED_INTERFACE) return byCode[code & 0xff] ?? OTHER;
  if (mei === MEI_CANOPEN) return CANOPEN_INDEX;
  return mei === MEI_DEVICE_IDENTIFICATION ? IDENTIFICATION_INDEX : OTHER;
}

export function functionInfo(index: FunctionIndex): FunctionInfo {
  return FUNCTIONS[index] ?? UNDECODED;
}

/** §7. A device may send others; they are reported by number. */
export const EXCEPTIONS = {
  illegalFunction: 0x01,
  illegalDataAddress: 0x02,
  illegalDataValue: 0x03,
  serverDeviceFailure: 0x04,
  acknowledge: 0x05,
  serverDeviceBusy: 0x06,
  memoryParityError: 0x08,
  gatewayPathUnavailable: 0x0a,
  gatewayTargetFailed: 0x0b,
} as const;

const exceptionNames: ReadonlyMap<number, string> = new Map([
  [0x01, "illegal-function"],
  [0x02, "illegal-data-address"],
  [0x03, "illegal-data-value"],
  [0x04, "server-device-failure"],
  [0x05, "acknowledge"],
  [0x06, "server-device-busy"],
  [0x08, "memory-parity-error"],
  [0x0a, "gateway-path-unavailable"],
  [0x0b, "gateway-target-device-failed-to-respond"],
]);

export function exceptionName(code: number): string {
  return exceptionNames.get(code) ?? `exception-${code}`;
}
