import assert from "node:assert/strict";
import { test } from "node:test";
import { SallyportError } from "@sallyport/core";
import { type GateListener, MESSAGE_MAX_CHARS, parseGateMessage } from "./protocol.ts";

const LISTENER: GateListener = {
  conduit: "hmi-operates-cells",
  policyLine: "site.yaml:108",
  room: "gate-cells",
  listenAddress: 0x0a1f0005,
  listenPort: 20_001,
  egressAddress: 0x0a1f0006,
  targetAddress: 0x0a29000a,
  targetPort: 502,
  asset: "tank-plc",
  slot: 0,
  l7: {
    protocol: "modbus",
    functions: ["read-holding-registers", "write-single-register"],
    units: [{ first: 1, last: 1 }],
    coils: [],
    discreteInputs: [],
    holdingRegisters: [{ first: 0, last: 99 }],
    inputRegisters: [],
    maxQuantity: 20,
    writeValues: [{ registers: { first: 10, last: 10 }, values: { first: 0, last: 800 } }],
    requestsPerSecond: 50,
  },
  connections: { max: 16, idleSeconds: 300, connectSeconds: 5 },
};

function message(...listeners: unknown[]): string {
  return JSON.stringify({ type: "listeners", listeners });
}

/** The place and the mistake, or the empty text. */
function refusal(line: string): string {
  try {
    parseGateMessage(line);
    return "";
  } catch (error) {
    assert.ok(error instanceof SallyportError);
    assert.equal(error.code, "gate-message-refused");
    return error.message;
  }
}

test("a set of listeners comes out as it went in", () => {
  const relay = { ...LISTENER, listenPort: 20_002, l7: { protocol: "tcp" } };
  assert.deepEqual(parseGateMessage(message(LISTENER, relay)), {
    type: "listeners",
    listeners: [LISTENER, relay],
  });
  assert.deepEqual(parseGateMessage(message()), { type: "listeners", listeners: [] });
  assert.deepEqual(parseGateMessage('{"type":"drain"}'), { type: "drain" });
});

test("whatever lacks a member, or has one that is unknown, is refused as a whole", () => {
  let checked = 0;
  const walk = (value: unknown, set: (changed: unknown) => unknown): void => {
    if (typeof value !== "object" || value === null) return;
    if (Array.isArray(value)) {
      value.forEach((item, index) => walk(item, (changed) => set(value.with(index, changed))));
      return;
    }
    const members = value as Record<string, unknown>;
    assert.notEqual(refusal(message(set({ ...members, extra: 1 }))), "");
    checked++;
    for (const [name, member] of Object.entries(members)) {
      const { [name]: _, ...rest } = members;
      const isOptional = name === "maxQuantity" || name === "requestsPerSecond";
      assert.equal(refusal(message(set(rest))) === "", isOptional, `without ${name}`);
      for (const wrong of [null, true, "", -1, 1.5e300, {}, "x".repeat(300)]) {
        const line = message(set({ ...members, [name]: wrong }));
        assert.notEqual(refusal(line), "", `${name}: ${JSON.stringify(wrong)}`);
        checked++;
      }
      walk(member, (changed) => set({ ...members, [name]: changed }));
    }
  };
  walk(LISTENER, (changed) => changed);
  assert.ok(checked > 200);
});

test("numbers on both sides of their limits", () => {
  const port = (listenPort: number): string => refusal(message({ ...LISTENER, listenPort }));
  assert.match(port(0), /^listeners\[0\]\.listenPort: it is no whole number from 1 to 65535$/);
  assert.equal(port(1), "");
  assert.equal(port(65_535), "");
  assert.notEqual(port(65_536), "");
  const units = (first: number, last: number): string =>
    refusal(message({ ...LISTENER, l7: { ...LISTENER.l7, units: [{ first, last }] } }));
  assert.equal(units(0, 255), "");
  assert.notEqual(units(0, 256), "");
  assert.notEqual(units(5, 4), "");
  assert.notEqual(units(0.5, 4), "");
});

test("a function that Modbus does not have is refused, and so is what is not decoded", () => {
  for (const name of ["read-everything", "other", "READ-COILS"]) {
    const l7 = { ...LISTENER.l7, functions: [name] };
    assert.match(refusal(message({ ...LISTENER, l7 })), /functions\[0\]: it is no Modbus function/);
  }
});

test("what is no message at all is refused", () => {
  for (const line of ["", "{", "[]", "null", "3", '{"type":"open"}', '{"type":"drain","now":1}']) {
    assert.notEqual(refusal(line), "", line);
  }
  assert.match(refusal(message(LISTENER, LISTENER)), /two listen at the same address and port/);
  assert.match(refusal("x".repeat(MESSAGE_MAX_CHARS + 1)), /too long/);
  assert.match(refusal('{"type":"listeners","listeners":[],"__proto__":{}}'), /unknown/);
});
