import assert from "node:assert/strict";
import { test } from "node:test";
import type { ModbusLimits } from "@sallyport/policy/legs";
import { modbus } from "@sallyport/wire";
import { compileLimits } from "./authorize.ts";
import type { Outlet } from "./inspector.ts";
import {
  MESSAGE_TIMEOUT_MS,
  ModbusInspector,
  OUTSTANDING_MAX,
  RESPONSE_TIMEOUT_MS,
} from "./modbus-inspector.ts";

const LIMITS: ModbusLimits = {
  protocol: "modbus",
  functions: ["read-holding-registers", "write-single-register", "diagnostics"],
  units: [{ first: 1, last: 1 }],
  coils: [],
  discreteInputs: [],
  holdingRegisters: [{ first: 0, last: 99 }],
  inputRegisters: [],
  writeValues: [],
};

function hex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(" ", ""), "hex"));
}

//                         trans prot len  un fn addr qty
const READ = "             0001  0000 0006 01 03 0000 0001";
const READ_ANSWER = "      0001  0000 0005 01 03 02 002a";
const READ_OUTSIDE = "     0002  0000 0006 01 03 0064 0001";
const OUTSIDE_REFUSED = "  0002  0000 0003 01 83 02";
const WRITE = "            0003  0000 0006 01 06 000a 0007";
const COIL = "             0004  0000 0006 01 05 0000 ff00";
const COIL_REFUSED = "     0004  0000 0003 01 85 01";

/** What an inspector let out, and what it told. */
function bench(limits: ModbusLimits = LIMITS) {
  const device: number[] = [];
  const client: number[] = [];
  const told: string[] = [];
  const ends: string[] = [];
  const clock = { nowMs: 0 };
  const outlet: Outlet = {
    toDevice: (bytes, start, end) => void device.push(...bytes.subarray(start, end)),
    toClient: (bytes, start, end) => void client.push(...bytes.subarray(start, end)),
    endDevice: () => void ends.push("end-device"),
    endClient: () => void ends.push("end-client"),
    close: (reason) => void ends.push(`close ${reason}`),
    finish: (reason) => void ends.push(`finish ${reason}`),
    allowed: (index) => void told.push(`allowed ${modbus.functionInfo(index).name}`),
    refused: (refusal, request) => void told.push(`${refusal} ${request.functionCode}`),
    nowMs: () => clock.nowMs,
  };
  const inspector = new ModbusInspector(outlet, compileLimits(limits));
  const feed = (side: "fromClient" | "fromDevice", text: string): void => {
    const bytes = hex(text);
    // In a larger buffer, as a socket's read is, that is read into again afterwards.
    const buffer = Buffer.alloc(bytes.length + 7);
    buffer.set(bytes, 3);
    inspector[side](buffer, 3, 3 + bytes.length);
    buffer.fill(0xee);
  };
  return {
    inspector,
    told,
    ends,
    clock,
    ask: (text: string) => feed("fromClient", text),
    answer: (text: string) => feed("fromDevice", text),
    device: () => Buffer.from(device.splice(0)).toString("hex"),
    client: () => Buffer.from(client.splice(0)).toString("hex"),
  };
}

const plain = (...texts: string[]): string => texts.join("").replaceAll(" ", "");

test("an allowed request reaches the device, its response the client", () => {
  const { ask, answer, device, client, told, ends } = bench();
  ask(READ);
  assert.equal(device(), plain(READ));
  answer(READ_ANSWER);
  assert.equal(client(), plain(READ_ANSWER));
  assert.deepEqual(told, ["allowed read-holding-registers"]);
  assert.deepEqual(ends, []);
});

test("a refused request never reaches the device and is answered with an exception at once", () => {
  const { ask, device, client, told } = bench();
  ask(READ_OUTSIDE);
  ask(COIL);
  assert.equal(device(), "");
  assert.equal(client(), plain(OUTSIDE_REFUSED, COIL_REFUSED));
  assert.deepEqual(told, ["address-not-allowed 3", "function-not-allowed 5"]);
});

test("each refusal has its exception code", () => {
  const exceptionOf = (request: string, limits: ModbusLimits = LIMITS): string => {
    const { ask, client, device } = bench(limits);
    ask(request);
    assert.equal(device(), "");
    return client().slice(-2);
  };
  assert.equal(exceptionOf("0001 0000 0002 01 5a"), "01", "not decoded");
  assert.equal(exceptionOf(COIL), "01", "function");
  assert.equal(exceptionOf("0001 0000 0006 02 03 0000 0001"), "0a", "unit");
  assert.equal(exceptionOf(READ_OUTSIDE), "02", "address");
  assert.equal(exceptionOf("0001 0000 0006 01 03 0000 0003", { ...LIMITS, maxQuantity: 2 }), "03");
  const writeValues = [{ registers: { first: 10, last: 10 }, values: { first: 0, last: 6 } }];
  assert.equal(exceptionOf(WRITE, { ...LIMITS, writeValues }), "03", "value");
});

test("exceptions come in the order of pipelined requests, not before", () => {
  const { ask, answer, device, client } = bench();
  ask(plain(READ, READ_OUTSIDE, WRITE, COIL));
  assert.equal(device(), plain(READ, WRITE), "what is allowed goes on at once");
  assert.equal(client(), "", "the refusal waits for its turn");
  answer(plain(READ_ANSWER));
  assert.equal(client(), plain(READ_ANSWER, OUTSIDE_REFUSED));
  answer(WRITE);
  assert.equal(client(), plain(WRITE, COIL_REFUSED));
});

test("two responses in one segment keep the refusal between them", () => {
  const { ask, answer, client } = bench();
  ask(plain(READ, READ_OUTSIDE, WRITE));
  answer(plain(READ_ANSWER, WRITE));
  assert.equal(client(), plain(READ_ANSWER, OUTSIDE_REFUSED, WRITE));
});

test("a device may answer out of order; refusals then wait for all before them", () => {
  const { ask, answer, client } = bench();
  ask(plain(READ, WRITE, READ_OUTSIDE));
  answer(WRITE);
  assert.equal(client(), plain(WRITE));
  answer(READ_ANSWER);
  assert.equal(client(), plain(READ_ANSWER, OUTSIDE_REFUSED));
});

test("requests and responses cut at every byte come out whole and equal", () => {
  const requests = plain(READ, READ_OUTSIDE, WRITE);
  const responses = plain(READ_ANSWER, WRITE);
  for (let cut = 2; cut < requests.length; cut += 2) {
    const { ask, answer, device, client, ends } = bench();
    ask(requests.slice(0, cut));
    ask(requests.slice(cut));
    assert.equal(device(), plain(READ, WRITE));
    const at = Math.min(cut, responses.length - 2);
    answer(responses.slice(0, at));
    answer(responses.slice(at));
    assert.equal(client(), plain(READ_ANSWER, OUTSIDE_REFUSED, WRITE));
    assert.deepEqual(ends, []);
  }
  const { ask, answer, device, client } = bench();
  for (let at = 0; at < requests.length; at += 2) ask(requests.slice(at, at + 2));
  assert.equal(device(), plain(READ, WRITE));
  for (let at = 0; at < responses.length; at += 2) answer(responses.slice(at, at + 2));
  assert.equal(client(), plain(READ_ANSWER, OUTSIDE_REFUSED, WRITE));
});

test("a part of a request is never forwarded before it is whole and allowed", () => {
  const { ask, device } = bench();
  const bytes = plain(READ);
  for (let at = 0; at < bytes.length - 2; at += 2) {
    ask(bytes.slice(at, at + 2));
    assert.equal(device(), "");
  }
  ask(bytes.slice(-2));
  assert.equal(device(), plain(READ));
});

test("a malformed request closes both sides with what was wrong", () => {
  const closed = (request: string): string[] => {
    const { ask, device, client, ends } = bench();
    ask(request);
    assert.equal(device(), "");
    assert.equal(client(), "");
    ask(READ);
    assert.equal(device(), "", "nothing passes after the end");
    return ends;
  };
  assert.deepEqual(closed("0001 0001 0006 01 03 0000 0001"), ["close l7.request-bad-protocol-id"]);
  assert.deepEqual(closed("0001 0000 0001"), ["close l7.request-bad-length"]);
  assert.deepEqual(closed("0001 0000 00ff"), ["close l7.request-bad-length"]);
  assert.deepEqual(closed("0001 0000 ffff"), ["close l7.request-bad-length"]);
  assert.deepEqual(closed("0001 0000 0005 01 03 0000 00"), ["close l7.request-bad-length"]);
  assert.deepEqual(closed("0001 0000 0006 01 03 0000 0000"), ["close l7.request-bad-quantity"]);
  assert.deepEqual(closed("0001 0000 0006 01 83 0000 0001"), ["close l7.request-bad-function"]);
  assert.deepEqual(closed("4745 5420 2f20"), ["close l7.request-bad-protocol-id"]);
});

test("what was allowed before a malformed request has passed, what comes after it has not", () => {
  const { ask, device, ends } = bench();
  ask(plain(READ, "0009 0000 0006 01 03 0000 0000", WRITE));
  assert.equal(device(), plain(READ));
  assert.deepEqual(ends, ["close l7.request-bad-quantity"]);
});

test("a response that answers nothing, or not what was asked, closes both sides", () => {
  const closed = (request: string, ...responses: string[]): string[] => {
    const { ask, answer, client, ends } = bench();
    if (request !== "") ask(request);
    for (const response of responses.slice(0, -1)) answer(response);
    client();
    answer(responses.at(-1) ?? "");
    assert.equal(client(), "", "the client does not see it");
    return ends;
  };
  const unsolicited = ["close l7.response-unsolicited"];
  const mismatch = ["close l7.response-mismatch"];
  assert.deepEqual(closed("", READ_ANSWER), unsolicited);
  assert.deepEqual(closed(READ, READ_ANSWER, READ_ANSWER), unsolicited, "a second answer");
  assert.deepEqual(closed(READ, "0009 0000 0005 01 03 02 002a"), unsolicited, "transaction");
  assert.deepEqual(closed(READ, "0001 0000 0005 02 03 02 002a"), mismatch, "unit");
  assert.deepEqual(closed(READ, "0001 0000 0005 01 04 02 002a"), mismatch, "function");
  assert.deepEqual(closed(READ, "0001 0000 0007 01 03 04 002a 0000"), mismatch, "quantity");
  assert.deepEqual(closed(WRITE, "0003 0000 0006 01 06 000a 0008"), mismatch, "echoed value");
  assert.deepEqual(
    closed(READ_OUTSIDE, "0002 0000 0005 01 03 02 002a"),
    unsolicited,
    "was refused",
  );
  assert.deepEqual(closed(READ, "0001 0000 0004 01 03 01 2a"), [
    "close l7.response-bad-byte-count",
  ]);
  assert.deepEqual(closed(READ, "0001 0001"), ["close l7.response-bad-protocol-id"]);
});

test("an exception of the device is a response like any other", () => {
  const { ask, answer, client } = bench();
  ask(READ);
  answer("0001 0000 0003 01 83 04");
  assert.equal(client(), plain("0001 0000 0003 01 83 04"));
});

test("clients that repeat a transaction id, or use only one, get each response once", () => {
  const { ask, answer, client, ends } = bench();
  const one = "0000 0000 0006 01 03 0000 0001";
  const two = "0000 0000 0006 01 03 0000 0002";
  ask(plain(one, two, one));
  answer("0000 0000 0007 01 03 04 0001 0002");
  answer("0000 0000 0005 01 03 02 0001");
  answer("0000 0000 0005 01 03 02 0001");
  assert.equal(client().length, 2 * (13 + 11 + 11));
  assert.deepEqual(ends, []);
  answer("0000 0000 0005 01 03 02 0001");
  assert.deepEqual(ends, ["close l7.response-unsolicited"]);
});

test("a request for silence is not waited for", () => {
  const { ask, device, inspector, clock, ends } = bench();
  const listenOnly = "0005 0000 0006 01 08 0004 0000";
  ask(listenOnly);
  assert.equal(device(), plain(listenOnly));
  clock.nowMs = 10 * RESPONSE_TIMEOUT_MS;
  inspector.sweep(1);
  inspector.sweep(clock.nowMs);
  assert.deepEqual(ends, []);
});

test("past the pipelining limit the rest waits, and goes on as responses come", () => {
  const { ask, answer, device, client, inspector, ends } = bench();
  const id = (n: number): string => n.toString(16).padStart(4, "0");
  const count = OUTSTANDING_MAX + 5;
  const requests = Array.from({ length: count }, (_, n) => `${id(n)} 0000 0006 01 03 0000 0001`);
  ask(plain(...requests));
  assert.equal(device(), plain(...requests.slice(0, OUTSTANDING_MAX)));
  assert.equal(inspector.isFull, true);
  let passed = "";
  for (let n = 0; n < count; n++) {
    answer(`${id(n)} 0000 0005 01 03 02 002a`);
    passed += device();
  }
  assert.equal(passed, plain(...requests.slice(OUTSTANDING_MAX)));
  assert.equal(inspector.isFull, false);
  assert.equal(client().length, count * 22);
  assert.deepEqual(ends, []);
});

test("a caller that goes on delivering while it is full is cut off, not buffered without bound", () => {
  const { ask, ends, inspector } = bench();
  const many = plain(...Array.from({ length: 100 }, () => READ));
  let kept = 0;
  while (ends.length === 0 && kept < 1000) {
    ask(many);
    kept++;
  }
  assert.equal(inspector.isFull, false);
  assert.deepEqual(ends, ["close l7.overflow"]);
  assert.ok(kept < 30);
});

test("the rate is a bucket of one second, filled by the clock that was passed in", () => {
  const { ask, client, device, told, clock } = bench({ ...LIMITS, requestsPerSecond: 5 });
  const burst = plain(...Array.from({ length: 7 }, (_, n) => `000${n} 0000 0006 01 03 0000 0001`));
  ask(burst);
  assert.equal(device().length / 24, 5);
  assert.deepEqual(told.slice(5), ["rate 3", "rate 3"]);
  assert.equal(client(), "", "still in order");
  clock.nowMs = 199;
  ask("0010 0000 0006 01 03 0000 0001");
  assert.equal(device(), "");
  clock.nowMs = 400;
  ask("0011 0000 0006 01 03 0000 0001");
  ask("0012 0000 0006 01 03 0000 0001");
  assert.equal(device().length / 24, 2);
  clock.nowMs = 100;
  ask("0013 0000 0006 01 03 0000 0001");
  assert.equal(device(), "", "a clock that goes back gives nothing");
});

test("a rate refusal says that the device is busy", () => {
  const { ask, client } = bench({ ...LIMITS, requestsPerSecond: 1 });
  ask(READ_OUTSIDE);
  ask("0007 0000 0006 01 03 0000 0001");
  assert.equal(client(), plain(OUTSIDE_REFUSED, "0007 0000 0003 01 83 06"));
});

test("new limits hold from the next request on, also for what the connection asked before", () => {
  const { ask, answer, client, inspector } = bench();
  ask(READ);
  assert.equal(inspector.setLimits({ ...LIMITS, functions: [] }), true);
  answer(READ_ANSWER);
  assert.equal(client(), plain(READ_ANSWER), "what was allowed may be answered");
  ask(READ);
  assert.equal(client(), plain("0001 0000 0003 01 83 01"));
  assert.equal(inspector.setLimits({ protocol: "tcp" }), false);
});

test("a message that does not come to its end in time closes both sides", () => {
  for (const [side, reason] of [
    ["ask", "close l7.request-slow"],
    ["answer", "close l7.response-slow"],
  ] as const) {
    const one = bench();
    if (side === "answer") one.ask(READ);
    one[side](side === "ask" ? READ.slice(0, -4) : READ_ANSWER.slice(0, -4));
    one.inspector.sweep(1000);
    one.inspector.sweep(1000 + MESSAGE_TIMEOUT_MS - 1);
    assert.deepEqual(one.ends, []);
    one.inspector.sweep(1000 + MESSAGE_TIMEOUT_MS);
    assert.deepEqual(one.ends, [reason]);
  }
});

test("a drip of single bytes does not put the end off", () => {
  const { ask, ends, inspector } = bench();
  ask("00");
  let nowMs = 0;
  for (const byte of ["01", "00", "00", "00", "06", "01", "03", "00"]) {
    inspector.sweep((nowMs += MESSAGE_TIMEOUT_MS / 5));
    ask(byte);
  }
  assert.deepEqual(ends, ["close l7.request-slow"]);
});

test("a request that the device does not answer in time closes both sides", () => {
  const { ask, answer, ends, inspector } = bench();
  ask(READ);
  inspector.sweep(0);
  inspector.sweep(RESPONSE_TIMEOUT_MS - 1);
  answer(READ_ANSWER);
  ask(READ);
  inspector.sweep(RESPONSE_TIMEOUT_MS);
  inspector.sweep(2 * RESPONSE_TIMEOUT_MS - 1);
  assert.deepEqual(ends, []);
  inspector.sweep(2 * RESPONSE_TIMEOUT_MS);
  assert.deepEqual(ends, ["close l7.response-timeout"]);
});

test("a client that ends its side still gets what it asked for, then both are ended", () => {
  const { ask, answer, client, ends, inspector } = bench();
  ask(plain(READ, READ_OUTSIDE));
  inspector.clientEnded();
  assert.deepEqual(ends, []);
  answer(READ_ANSWER);
  assert.equal(client(), plain(READ_ANSWER, OUTSIDE_REFUSED));
  assert.deepEqual(ends, ["finish closed-by-client"]);
});

test("an end inside a message is not an end", () => {
  const one = bench();
  one.ask(READ.slice(0, -2));
  one.inspector.clientEnded();
  assert.deepEqual(one.ends, ["close l7.request-truncated"]);
  const other = bench();
  other.ask(READ);
  other.answer(READ_ANSWER.slice(0, -2));
  other.inspector.deviceEnded();
  assert.deepEqual(other.ends, ["close l7.response-truncated"]);
});

test("a device that ends leaves no request without an answer", () => {
  const { ask, client, ends, inspector } = bench();
  ask(plain(READ, READ_OUTSIDE, WRITE));
  inspector.deviceEnded();
  assert.equal(
    client(),
    plain("0001 0000 0003 01 83 0b", OUTSIDE_REFUSED, "0003 0000 0003 01 86 0b"),
  );
  assert.deepEqual(ends, ["finish closed-by-device"]);
});

test("without a device, requests are answered 0B and the connection ends", () => {
  const { ask, client, device, ends, inspector } = bench();
  inspector.deviceUnavailable("device-refused");
  assert.deepEqual(ends, [], "the client has not asked yet");
  ask(plain(READ_OUTSIDE, READ));
  assert.equal(client(), plain(OUTSIDE_REFUSED, "0001 0000 0003 01 83 0b"));
  assert.equal(device(), "");
  assert.deepEqual(ends, ["finish device-refused"]);
});
