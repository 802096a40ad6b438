/**
 * Modbus/TCP messages from words: exceptions for the gate, requests and responses for tests, the demo and
 * `explain`. What is given is written as it stands, so that tests can also write what is forbidden;
 * only what does not fit into an ADU throws.
 * Specification: MODBUS Application Protocol V1.1b3, §6 and §7.
 */
import { SallyportError } from "@sallyport/core";
import { ADU_MAX_BYTES, HEADER_BYTES } from "./frame.ts";
import { COIL_ON, FILE_REFERENCE_TYPE } from "./request.ts";

export interface Head {
  /** 0 to 65535. */
  readonly transaction: number;
  /** 0 to 255. */
  readonly unit: number;
}

export interface FileRecord {
  /** 1 to 65535. */
  readonly file: number;
  /** 0 to 9999. */
  readonly record: number;
  readonly registers: number;
}

/** Addresses are 0-based; coil values are 0 and 1, register values 16 bits. */
export type RequestWords =
  | {
      readonly function:
        | "read-coils"
        | "read-discrete-inputs"
        | "read-holding-registers"
        | "read-input-registers";
      readonly address: number;
      readonly quantity: number;
    }
  | {
      readonly function: "write-single-coil" | "write-single-register";
      readonly address: number;
      readonly value: number;
    }
  | {
      readonly function: "write-multiple-coils" | "write-multiple-registers";
      readonly address: number;
      readonly values: readonly number[];
    }
  | {
      readonly function:
        | "read-exception-status"
        | "get-comm-event-counter"
        | "get-comm-event-log"
        | "report-server-id";
    }
  | {
      readonly function: "diagnostics";
      readonly subFunction: number;
      readonly data: readonly number[];
    }
  | { readonly function: "read-file-record"; readonly records: readonly FileRecord[] }
  | {
      readonly function: "write-file-record";
      readonly records: readonly (Omit<FileRecord, "registers"> & {
        readonly values: readonly number[];
      })[];
    }
  | {
      readonly function: "mask-write-register";
      readonly address: number;
      readonly andMask: number;
      readonly orMask: number;
    }
  | {
      readonly function: "read-write-multiple-registers";
      readonly readAddress: number;
      readonly readQuantity: number;
      readonly address: number;
      readonly values: readonly number[];
    }
  | { readonly function: "read-fifo-queue"; readonly address: number }
  | { readonly function: "canopen-general-reference"; readonly bytes: readonly number[] }
  | {
      readonly function: "read-device-identification";
      /** 1 basic, 2 regular, 3 extended, 4 one object. */
      readonly access: number;
      readonly object: number;
    };

export function encodeRequest(head: Head, words: RequestWords): Uint8Array {
  return encodeAdu(head, requestPdu(words));
}

function requestPdu(words: RequestWords): readonly number[] {
  switch (words.function) {
    case "read-coils":
      return [1, ...u16(words.address), ...u16(words.quantity)];
    case "read-discrete-inputs":
      return [2, ...u16(words.address), ...u16(words.quantity)];
    case "read-holding-registers":
      return [3, ...u16(words.address), ...u16(words.quantity)];
    case "read-input-registers":
      return [4, ...u16(words.address), ...u16(words.quantity)];
    case "write-single-coil":
      return [5, ...u16(words.address), ...u16(words.value === 0 ? 0 : COIL_ON)];
    case "write-single-register":
      return [6, ...u16(words.address), ...u16(words.value)];
    case "read-exception-status":
      return [7];
    case "diagnostics":
      return [8, ...u16(words.subFunction), ...words.data.flatMap(u16)];
    case "get-comm-event-counter":
      return [11];
    case "get-comm-event-log":
      return [12];
    case "write-multiple-coils":
      return [
        15,
        ...u16(words.address),
        ...u16(words.values.length),
        ...counted(bits(words.values)),
      ];
    case "write-multiple-registers":
      return [16, ...u16(words.address), ...u16(words.values.length), ...registers(words.values)];
    case "report-server-id":
      return [17];
    case "read-file-record":
      return [20, ...counted(words.records.flatMap((group) => fileGroup(group, group.registers)))];
    case "write-file-record":
      return [
        21,
        ...counted(
          words.records.flatMap((group) => [
            ...fileGroup(group, group.values.length),
            ...group.values.flatMap(u16),
          ]),
        ),
      ];
    case "mask-write-register":
      return [22, ...u16(words.address), ...u16(words.andMask), ...u16(words.orMask)];
    case "read-write-multiple-registers":
      return [
        23,
        ...[words.readAddress, words.readQuantity, words.address, words.values.length].flatMap(u16),
        ...registers(words.values),
      ];
    case "read-fifo-queue":
      return [24, ...u16(words.address)];
    case "canopen-general-reference":
      return [43, 13, ...words.bytes];
    case "read-device-identification":
      return [43, 14, words.access, words.object];
  }
}

/** What a device answers to a read: the function code, a count, the data. */
export function encodeCountedResponse(
  head: Head,
  functionCode: number,
  data: readonly number[],
): Uint8Array {
  return encodeAdu(head, [functionCode, ...counted(data)]);
}

/** §7: the gate's refusal in the protocol's own words. */
export function encodeException(head: Head, functionCode: number, exception: number): Uint8Array {
  const out = new Uint8Array(HEADER_BYTES + 2);
  out[0] = head.transaction >> 8;
  out[1] = head.transaction;
  out[5] = 3;
  out[6] = head.unit;
  out[7] = functionCode | 0x80;
  out[8] = exception;
  return out;
}

/** A header, and the PDU (function code and data) as it is given. */
export function encodeAdu(head: Head, pdu: readonly number[]): Uint8Array {
  const size = HEADER_BYTES + pdu.length;
  if (size > ADU_MAX_BYTES) {
    throw new SallyportError(
      "modbus-too-long",
      `a PDU of ${pdu.length} bytes is longer than Modbus allows (253)`,
    );
  }
  return Uint8Array.from([
    ...u16(head.transaction),
    0,
    0,
    ...u16(pdu.length + 1),
    head.unit,
    ...pdu,
  ]);
}

export function registers(values: readonly number[]): number[] {
  return counted(values.flatMap(u16));
}

/** §6.11: the first coil is the lowest bit of the first byte. */
export function bits(values: readonly number[]): number[] {
  const out = Array.from({ length: (values.length + 7) >> 3 }, () => 0);
  values.forEach((value, index) => {
    if (value !== 0) out[index >> 3] = (out[index >> 3] ?? 0) | (1 << (index & 7));
  });
  return out;
}

function u16(value: number): [number, number] {
  return [(value >> 8) & 0xff, value & 0xff];
}

function counted(data: readonly number[]): number[] {
  return [data.length, ...data];
}

function fileGroup(group: Omit<FileRecord, "registers">, length: number): number[] {
  return [FILE_REFERENCE_TYPE, ...u16(group.file), ...u16(group.record), ...u16(length)];
}
