/** The gate between programs of other people: a pymodbus client and a pymodbus device. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import path from "node:path";
import { createInterface } from "node:readline";
import { type TestContext, test } from "node:test";
import { parseIpv4 } from "@sallyport/core";
import type { ModbusLimits } from "@sallyport/policy/legs";
import type { GateEvent, PduRefused } from "./events.ts";
import { startGate } from "./gate.ts";

const PYTHON = "/usr/bin/python3";
const SCRIPTS = path.join(import.meta.dirname, "..", "test");
const SKIP =
  spawnSync(PYTHON, ["-c", "import pymodbus.client, pymodbus.server"]).status === 0
    ? ""
    : "needs pymodbus: apt-get install python3-pymodbus python3-serial-asyncio";

const LIMITS: ModbusLimits = {
  protocol: "modbus",
  functions: [
    "read-coils",
    "read-holding-registers",
    "read-input-registers",
    "write-single-register",
    "write-multiple-registers",
    "write-multiple-coils",
    "mask-write-register",
    "read-write-multiple-registers",
  ],
  units: [{ first: 1, last: 1 }],
  coils: [{ first: 0, last: 15 }],
  discreteInputs: [],
  holdingRegisters: [{ first: 0, last: 99 }],
  inputRegisters: [{ first: 0, last: 15 }],
  maxQuantity: 20,
  writeValues: [{ registers: { first: 10, last: 19 }, values: { first: 0, last: 800 } }],
};

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

interface Ask {
  readonly do: string;
  readonly with?: readonly unknown[];
  readonly named?: Readonly<Record<string, unknown>>;
  readonly unit?: number;
}
interface Answer {
  readonly exception?: number;
  readonly error?: string;
  readonly registers?: readonly number[] | null;
  readonly bits?: readonly boolean[] | null;
}

/** A pymodbus program, ended with the test. */
function python(t: TestContext, script: string, port: number) {
  const child: ChildProcess = spawn(PYTHON, [path.join(SCRIPTS, script), String(port)], {
    stdio: ["pipe", "pipe", "ignore"],
  });
  t.after(() => child.kill("SIGKILL"));
  assert.ok(child.stdout !== null && child.stdin !== null);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const { stdin } = child;
  const next = async (): Promise<string> => {
    const { value, done } = await lines.next();
    assert.notEqual(done, true, `${script} ended`);
    return String(value);
  };
  const ask = async (question: Ask): Promise<Answer> => {
    stdin.write(`${JSON.stringify(question)}\n`);
    return JSON.parse(await next()) as Answer;
  };
  return { next, ask };
}

async function plant(t: TestContext) {
  const events: GateEvent[] = [];
  const devicePort = await freePort();
  const gatePort = await freePort();
  const device = python(t, "modbus_server.py", devicePort);
  assert.equal(await device.next(), "ready");
  const loopback = parseIpv4("127.0.0.1") ?? 0;
  const gate = await startGate({
    listeners: [
      {
        conduit: "hmi-operates-cells",
        policyLine: "site.yaml:108",
        room: "gate-cells",
        listenAddress: loopback,
        listenPort: gatePort,
        egressAddress: loopback + 8,
        targetAddress: loopback,
        targetPort: devicePort,
        asset: "tank-plc",
        slot: 0,
        l7: LIMITS,
        connections: { max: 10, idleSeconds: 60, connectSeconds: 5 },
      },
    ],
    onEvent: (event) => void events.push(event),
    clock: { wallMs: () => Date.now(), nowMs: () => performance.now() },
  });
  t.after(() => gate.close());
  const through = python(t, "modbus_client.py", gatePort);
  const direct = python(t, "modbus_client.py", devicePort);
  const refused = (): PduRefused[] =>
    events.filter((event): event is GateEvent & PduRefused => event.type === "pdu-refused");
  return { through, direct, refused };
}

test("a real client reads and writes a real device through the gate, within the limits", async (t) => {
  if (SKIP !== "") {
    t.skip(SKIP);
    return;
  }
  const { through, direct, refused } = await plant(t);
  const registers = async (address: number, count: number): Promise<Answer> =>
    through.ask({ do: "read_holding_registers", with: [address, count] });
  assert.deepEqual((await registers(5, 3)).registers, [5, 6, 7]);
  assert.deepEqual(
    (await through.ask({ do: "read_input_registers", with: [0, 2] })).registers,
    [0, 1],
  );
  assert.equal((await through.ask({ do: "write_register", with: [10, 800] })).exception, undefined);
  await through.ask({ do: "write_registers", with: [11, [1, 2, 3]] });
  await through.ask({ do: "write_coils", with: [3, [true, false, true]] });
  assert.deepEqual(
    (await direct.ask({ do: "read_holding_registers", with: [10, 4] })).registers,
    [800, 1, 2, 3],
  );
  const coils = await through.ask({ do: "read_coils", with: [3, 3] });
  assert.deepEqual(coils.bits?.slice(0, 3), [true, false, true]);
  const both = await through.ask({
    do: "readwrite_registers",
    named: { unit: 1, read_address: 10, read_count: 2, write_address: 15, write_registers: [4, 5] },
  });
  assert.deepEqual(both.registers, [800, 1]);
  assert.deepEqual((await registers(15, 2)).registers, [4, 5]);
  assert.deepEqual(refused(), []);
});

test("a refused write gets its exception and leaves the real device's register as it was", async (t) => {
  if (SKIP !== "") {
    t.skip(SKIP);
    return;
  }
  const { through, direct, refused } = await plant(t);
  const cases: readonly (readonly [Ask, number, string])[] = [
    [{ do: "write_register", with: [10, 801] }, 3, "l7.value-not-allowed"],
    [{ do: "write_register", with: [20, 1] }, 3, "l7.value-not-allowed"],
    [{ do: "write_register", with: [100, 1] }, 2, "l7.address-not-allowed"],
    [{ do: "write_registers", with: [18, [1, 2, 3]] }, 3, "l7.value-not-allowed"],
    [{ do: "write_registers", with: [98, [1, 2, 3]] }, 2, "l7.address-not-allowed"],
    [{ do: "write_coil", with: [0, true] }, 1, "l7.function-not-allowed"],
    [{ do: "write_coils", with: [14, [true, true, true]] }, 2, "l7.address-not-allowed"],
    [{ do: "write_register", with: [10, 5], unit: 2 }, 10, "l7.unit-not-allowed"],
    [
      { do: "mask_write_register", named: { unit: 1, address: 10, and_mask: 0xffff, or_mask: 0 } },
      3,
      "l7.value-not-allowed",
    ],
    [
      {
        do: "readwrite_registers",
        named: {
          unit: 1,
          read_address: 100,
          read_count: 1,
          write_address: 10,
          write_registers: [1],
        },
      },
      2,
      "l7.address-not-allowed",
    ],
  ];
  for (const [question, exception, reason] of cases) {
    assert.equal((await through.ask(question)).exception, exception, JSON.stringify(question));
    assert.equal(refused().at(-1)?.reason, reason);
  }
  assert.equal(refused().length, cases.length);
  assert.deepEqual(refused()[0]?.pdu.values, [801]);
  const after = await direct.ask({ do: "read_holding_registers", with: [0, 120] });
  assert.deepEqual(
    after.registers,
    Array.from({ length: 120 }, (_, register) => register),
    "no register changed",
  );
  const coils = await direct.ask({ do: "read_coils", with: [0, 16] });
  assert.ok(coils.bits?.every((bit) => !bit));
  const read = await through.ask({ do: "read_holding_registers", with: [0, 21] });
  assert.equal(read.exception, 3, "more than max-quantity");
});
