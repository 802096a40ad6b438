/**
 * TextEncoder and TextDecoder (WHATWG Encoding), which every runtime of ours has. Packages that
 * touch nothing are compiled without DOM and Node types and get these two by this file alone.
 */
declare class TextEncoder {
  encode(input?: string): Uint8Array<ArrayBuffer>;
  encodeInto(source: string, destination: Uint8Array): { read: number; written: number };
}

declare class TextDecoder {
  /** With `fatal`, bytes that are not text in that encoding throw a TypeError. */
  constructor(
    label?: "utf-8" | "utf-16le" | "latin1",
    options?: { fatal?: boolean; ignoreBOM?: boolean },
  );
  decode(input?: ArrayBufferView | ArrayBuffer, options?: { stream?: boolean }): string;
}
