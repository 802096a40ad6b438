/**
 * A hostile client and a hostile device around one inspector: generated, mutated and random ADUs, cut and
 * joined at will. SALLYPORT_FUZZ_ADUS asks for more than the million of every run, SALLYPORT_FUZZ_SEED for
 * the same ones again.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ModbusLimits } from "@sallyport/policy/legs";
import { modbus, type Pdu } from "@sallyport/wire";
import { compileLimits } from "./authorize.ts";
import type { Outlet } from "./inspector.ts";
import { ModbusInspector, OUTSTANDING_MAX, READ_MAX_BYTES } from "./modbus-inspector.ts";

const ADUS = Math.max(1_000_000, Number(process.env["SALLYPORT_FUZZ_ADUS"] ?? 0));
const SEED = Number(process.env["SALLYPORT_FUZZ_SEED"] ?? 20_261_122);
/** Requests of one connection; then the next begins, so that closed ones do not use up the run. */
const PER_CONNECTION = 40;

/** Marsaglia's xorshift32: the same numbers for the same seed. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed | 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const LIMITS: ModbusLimits = {
  protocol: "modbus",
  functions: modbus.FUNCTION_NAMES.filter(
    (name) => name !== "write-multiple-coils" && name !== "read-input-registers",
  ),
  units: [{ first: 1, last: 3 }],
  coils: [{ first: 0, last: 99 }],
  discreteInputs: [{ first: 10, last: 19 }],
  holdingRegisters: [{ first: 0, last: 199 }],
  inputRegisters: [{ first: 0, last: 9 }],
  maxQuantity: 60,
  writeValues: [{ registers: { first: 0, last: 120 }, values: { first: 0, last: 0x7fff } }],
};
const AREAS: Readonly<Record<string, readonly [number, number]>> = {
  coils: [0, 99],
  "discrete-inputs": [10, 19],
  "holding-registers": [0, 199],
  "input-registers": [0, 9],
};

/** The limits once more, in the plainest words and on decoded PDUs: what `judge` must agree with. */
function isAllowed(pdu: Pdu): boolean {
  if (!LIMITS.functions.includes(pdu.function)) return false;
  const unit = pdu.target === undefined ? -1 : pdu.target.unit;
  if (unit < 1 || unit > 3) return false;
  for (const target of [pdu.target, pdu.readTarget]) {
    if (target?.kind !== "memory") continue;
    const [first, last] = AREAS[target.area] ?? [1, 0];
    if (target.address < first || target.address + target.count - 1 > last) return false;
    if (target.count > 60) return false;
  }
  if (pdu.function === "write-file-record") return false;
  const { target, values } = pdu;
  if (values === undefined || target?.kind !== "memory" || target.area === "coils") return true;
  if (target.address + target.count - 1 > 120) return false;
  if (pdu.function === "mask-write-register") {
    const [and = 0, or = 0] = values;
    return ((or & ~and & 0xffff) | and) <= 0x7fff;
  }
  return values.every((value) => value <= 0x7fff);
}

class Fuzzer {
  readonly random: (below: number) => number;
  adus = 0;
  forwarded = 0;
  refused = 0;
  closed = 0;
  delivered = 0;

  constructor(seed: number) {
    this.random = randomFrom(seed);
  }

  u16(): number {
    return this.random(4) === 0 ? this.random(0x10000) : this.random(260);
  }

  /** A well-formed request, about half of them within the limits. */
  request(): Uint8Array {
    const { random } = this;
    const head = { transaction: random(0x10000), unit: 1 + random(4) };
    const name = modbus.FUNCTION_NAMES[random(modbus.FUNCTION_NAMES.length)] ?? "read-coils";
    const values = Array.from({ length: 1 + random(20) }, () => random(0x8800));
    const address = random(10) === 0 ? random(0x10000 - 64) : random(130);
    return modbus.encodeRequest(head, this.words(name, address, values));
  }

  words(name: modbus.FunctionName, address: number, values: number[]): modbus.RequestWords {
    const { random } = this;
    switch (name) {
      case "read-coils":
      case "read-discrete-inputs":
      case "read-holding-registers":
      case "read-input-registers":
        return { function: name, address, quantity: 1 + random(64) };
      case "write-single-coil":
        return { function: name, address, value: random(2) };
      case "write-single-register":
        return { function: name, address, value: random(0x9000) };
      case "write-multiple-coils":
      case "write-multiple-registers":
        return { function: name, address, values };
      case "read-write-multiple-registers":
        return {
          function: name,
          address,
          values,
          readAddress: random(210),
          readQuantity: 1 + random(62),
        };
      case "mask-write-register":
        return { function: name, address, andMask: random(0x10000), orMask: random(0x10000) };
      case "diagnostics":
        return { function: name, subFunction: [0, 2, 4, 10, 5, 300][random(6)] ?? 0, data: [0] };
      case "read-file-record":
        return {
          function: name,
          records: [{ file: 1 + random(9), record: random(9), registers: 1 + random(9) }],
        };
      case "write-file-record":
        return { function: name, records: [{ file: 1, record: 0, values: values.slice(0, 9) }] };
      case "read-fifo-queue":
        return { function: name, address };
      case "canopen-general-reference":
        return { function: name, bytes: [random(256), random(256)] };
      case "read-device-identification":
        return { function: name, access: 1 + random(4), object: random(256) };
      case "read-exception-status":
      case "get-comm-event-counter":
      case "get-comm-event-log":
      case "report-server-id":
        return { function: name };
    }
  }

  mutate(adu: Uint8Array): Uint8Array {
    const { random } = this;
    const out = Uint8Array.from(adu);
    switch (random(5)) {
      case 0:
        out[random(out.length)] = random(256);
        return out;
      case 1:
        out[random(out.length)] = (out[random(out.length)] ?? 0) ^ (1 << random(8));
        return out;
      case 2:
        return out.subarray(0, random(out.length));
      case 3:
        return Uint8Array.from([...out, random(256)]);
      default: {
        // A header that fits whatever stands behind it.
        const body = Array.from({ length: 2 + random(30) }, () => random(256));
        return Uint8Array.from([
          0,
          random(256),
          0,
          0,
          0,
          body.length,
          1 + random(3),
          ...body.slice(1),
        ]);
      }
    }
  }

  /** A response that fits the request, of zeros where it is free. */
  response(adu: Uint8Array, pdu: Pdu): Uint8Array {
    const head = { transaction: ((adu[0] ?? 0) << 8) | (adu[1] ?? 0), unit: adu[6] ?? 0 };
    const code = pdu.functionCode;
    const read = pdu.readTarget ?? pdu.target;
    const count = read?.kind === "memory" ? read.count : 0;
    const zeros = (length: number): number[] => Array.from({ length }, () => 0);
    if (this.random(12) === 0) return modbus.encodeException(head, code, 1 + this.random(11));
    switch (code) {
      case 1:
      case 2:
        return modbus.encodeCountedResponse(head, code, zeros((count + 7) >> 3));
      case 3:
      case 4:
      case 23:
        return modbus.encodeCountedResponse(head, code, zeros(count * 2));
      case 15:
      case 16:
        return modbus.encodeAdu(head, [...adu.subarray(7, 12)]);
      case 7:
        return modbus.encodeAdu(head, [7, 0]);
      case 11:
        return modbus.encodeAdu(head, [11, 0, 0, 0, 0]);
      case 12:
        return modbus.encodeCountedResponse(head, 12, zeros(6));
      case 17:
        return modbus.encodeCountedResponse(head, 17, [1, 255]);
      case 20: {
        const registers = ((adu[14] ?? 0) << 8) | (adu[15] ?? 0);
        return modbus.encodeCountedResponse(head, 20, [
          1 + registers * 2,
          6,
          ...zeros(registers * 2),
        ]);
      }
      case 24:
        return modbus.encodeAdu(head, [24, 0, 2, 0, 0]);
      case 43:
        return modbus.encodeAdu(head, adu[8] === 14 ? [43, 14, 1, 1, 0, 0, 0] : [43, 13, 0]);
      default:
        return Uint8Array.from(adu);
    }
  }
}

const shared = Buffer.alloc(READ_MAX_BYTES);

/** One connection from its first byte to its end. */
class Connection implements Outlet {
  readonly #fuzzer: Fuzzer;
  readonly inspector: ModbusInspector;
  isClosed = false;
  #sent = 0;
  #accepted = 0;
  #refusedHere = 0;
  /** Whether only well-formed messages were sent, so that each must come to something. */
  isClean = true;
  readonly #answers: Uint8Array[] = [];
  #toClient = 0;

  constructor(fuzzer: Fuzzer) {
    this.#fuzzer = fuzzer;
    this.inspector = new ModbusInspector(this, compileLimits(LIMITS));
  }

  send(bytes: Uint8Array, count: number): void {
    this.#sent += count;
    for (const part of this.#cut(bytes)) {
      if (this.isClosed) return;
      // As the I/O does: nothing is delivered while it is full.
      while (this.inspector.isFull && !this.isClosed) this.answerOne(false);
      if (!this.isClosed) this.#deliver("fromClient", part);
    }
  }

  *#cut(bytes: Uint8Array): Generator<Uint8Array> {
    const { random } = this.#fuzzer;
    if (random(3) > 0) {
      for (let at = 0; at < bytes.length; at += READ_MAX_BYTES)
        yield bytes.subarray(at, at + READ_MAX_BYTES);
      return;
    }
    for (let at = 0; at < bytes.length; ) {
      const size = 1 + random(bytes.length);
      yield bytes.subarray(at, at + size);
      at += size;
    }
  }

  answerOne(isHostile: boolean): void {
    const { random } = this.#fuzzer;
    const at = random(8) === 0 ? random(this.#answers.length) : 0;
    const answer = this.#answers.splice(at, 1)[0];
    if (answer === undefined) {
      this.isClosed = true;
      return;
    }
    this.#fuzzer.adus++;
    const bytes = isHostile ? this.#fuzzer.mutate(answer) : answer;
    if (isHostile) this.isClean = false;
    this.#deliver("fromDevice", bytes);
  }

  /** As a socket does: in a shared buffer, a Buffer at that, which is read into again. */
  #deliver(side: "fromClient" | "fromDevice", bytes: Uint8Array): void {
    shared.set(bytes);
    this.inspector[side](shared, 0, bytes.length);
    shared.fill(0xee, 0, bytes.length);
  }

  get hasAnswers(): boolean {
    return this.#answers.length > 0;
  }

  /** The heart of it: what a device gets must be whole, well-formed and within the limits. */
  toDevice(bytes: Uint8Array, start: number, end: number): void {
    assert.equal(this.isClosed, false);
    for (let at = start; at < end; ) {
      const adu = bytes.slice(at, end);
      const decoded = modbus.decodeRequest(adu);
      assert.ok(decoded.kind === "message", "a part, or something malformed, was forwarded");
      assert.ok(isAllowed(decoded.message), `forwarded: ${JSON.stringify(decoded.message)}`);
      const whole = adu.slice(0, decoded.sizeBytes);
      const isSilent = whole[7] === 8 && whole[9] === 4;
      if (!isSilent) this.#answers.push(this.#fuzzer.response(whole, decoded.message));
      assert.ok(this.#answers.length <= OUTSTANDING_MAX, "more are outstanding than may be");
      this.#fuzzer.forwarded++;
      this.#accepted++;
      at += decoded.sizeBytes;
    }
  }

  toClient(bytes: Uint8Array, start: number, end: number): void {
    for (let at = start; at < end; ) {
      const decoded = modbus.decodeResponse(bytes.subarray(at, end));
      assert.ok(decoded.kind === "message", "something malformed was delivered");
      this.#fuzzer.delivered++;
      this.#toClient++;
      at += decoded.sizeBytes;
    }
  }

  refused(
    _refusal: unknown,
    request: modbus.ModbusRequest,
    bytes: Uint8Array,
    start: number,
  ): void {
    assert.equal(isAllowed(modbus.requestPdu(request, bytes, start)), false);
    this.#fuzzer.refused++;
    this.#refusedHere++;
  }

  close(reason: string, why: string): void {
    assert.match(reason, /^l7\.(request|response)-[a-z-]+$/);
    assert.ok(why.length > 0);
    assert.equal(this.isClean, false, `closed with ${reason} though nothing malformed was sent`);
    this.isClosed = true;
    this.#fuzzer.closed++;
  }

  finish(): void {
    this.isClosed = true;
  }

  /** Every well-formed request was forwarded or refused, and each was answered. */
  settle(): void {
    while (!this.isClosed && this.hasAnswers) this.answerOne(false);
    if (!this.isClean || this.isClosed) return;
    assert.equal(this.#accepted + this.#refusedHere, this.#sent);
    assert.ok(this.#toClient <= this.#sent);
  }

  endDevice(): void {
    assert.fail("Modbus ends both sides at once");
  }
  endClient(): void {
    assert.fail("Modbus ends both sides at once");
  }
  allowed(): void {
    // Counted where it arrives.
  }
  nowMs(): number {
    return 0;
  }
}

function run(fuzzer: Fuzzer): void {
  const { random } = fuzzer;
  const connection = new Connection(fuzzer);
  const hostility = random(3);
  for (let sent = 0; sent < PER_CONNECTION && !connection.isClosed; ) {
    const adus = Array.from({ length: 1 + random(OUTSTANDING_MAX + 4) }, () => fuzzer.request());
    if (hostility === 1 && random(4) === 0) {
      const at = random(adus.length);
      adus[at] = fuzzer.mutate(adus[at] ?? new Uint8Array(1));
      connection.isClean = false;
    }
    sent += adus.length;
    fuzzer.adus += adus.length;
    connection.send(Buffer.concat(adus), adus.length);
    for (let answers = random(20); answers > 0 && !connection.isClosed; answers--) {
      if (connection.hasAnswers) connection.answerOne(hostility === 2 && random(16) === 0);
    }
  }
  connection.settle();
}

test(`nothing that the decoder or the limits refuse is forwarded, in ${ADUS} ADUs`, (t) => {
  const fuzzer = new Fuzzer(SEED);
  while (fuzzer.adus < ADUS) run(fuzzer);
  const { adus, forwarded, refused, closed, delivered } = fuzzer;
  t.diagnostic(`seed ${SEED}: ${JSON.stringify({ adus, forwarded, refused, closed, delivered })}`);
  assert.ok(adus >= 1_000_000);
  // A fuzzer whose messages all die at the first check has looked at nothing.
  assert.ok(forwarded > adus / 20, `only ${forwarded} were forwarded`);
  assert.ok(refused > adus / 20, `only ${refused} were refused`);
  assert.ok(delivered > adus / 20, `only ${delivered} were delivered`);
  assert.ok(closed > 1000, `only ${closed} connections were closed`);
});

test("a million random bytes, in chunks of any size, end every connection or nothing", () => {
  const fuzzer = new Fuzzer(SEED + 1);
  for (let bytes = 0; bytes < 1_000_000; ) {
    const connection = new Connection(fuzzer);
    connection.isClean = false;
    for (let chunk = 0; chunk < 20 && !connection.isClosed; chunk++) {
      const data = Uint8Array.from({ length: 1 + fuzzer.random(300) }, () => fuzzer.random(256));
      bytes += data.length;
      if (fuzzer.random(2) === 0) connection.send(data, 0);
      else connection.inspector.fromDevice(data, 0, data.length);
    }
  }
});
