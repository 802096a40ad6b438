import assert from "node:assert/strict";
import { test } from "node:test";
import { writeFrame } from "@sallyport/wire";
import fc from "fast-check";
import { type ExplainContext, explain, formatExplanation, type Question } from "./explain.ts";
import { demoLegs, GRANT, HOST, ip, NOW, SUNDAY } from "./legs/fixture.test-data.ts";
import { Model } from "./legs/model.ts";

const ERP: Question = { from: HOST.erp, to: HOST.tankPlc, protocol: "tcp", port: 502, at: NOW };

function ask(change: Partial<Question>, context: ExplainContext = {}): ReturnType<typeof explain> {
  return explain(demoLegs(), { ...ERP, ...change }, context);
}

test("an allowed conversation shows its way through both rooms and the gate", () => {
  const answer = ask({});
  assert.equal(answer.verdict, "allow");
  assert.deepEqual(
    answer.steps.map(({ where, verdict, conduit }) => [where, verdict, conduit]),
    [
      ["outer", "allow", "erp-reads-tank"],
      ["gate", "allow", "erp-reads-tank"],
      ["inner", "allow", "erp-reads-tank"],
    ],
  );
  assert.match(formatExplanation(answer), /^ALLOW, erp-reads-tank \(site.yaml:79\)/);
});

test("a refusal by the gate names the function, the line, and the legs that were not reached", () => {
  const asked: unknown[] = [];
  const answer = ask(
    { l7: "write-single-register:40" },
    {
      authorize: (limits, request) => {
        asked.push(limits.protocol, request);
        return {
          verdict: "deny",
          reason: "l7.function-not-allowed",
          because: "write-single-register; allowed: read-holding-registers",
          nearest: "add write-single-register to l7.modbus.functions",
        };
      },
      breaks: () => null,
      hits: new Map([["erp-reads-tank#00000000000a", { packets: 18_204 }]]),
    },
  );
  assert.deepEqual(asked, ["modbus", "write-single-register:40"]);
  assert.equal(answer.reason, "l7.function-not-allowed");
  assert.equal(answer.owner, "operations");
  assert.equal(
    formatExplanation(answer),
    [
      "DENY at gate-erp, erp-reads-tank (site.yaml:79, owner operations): l7.function-not-allowed at 2026-11-18T11:00:00Z",
      "  outer     allow        enterprise/10.10.0.10 → tank-plc tcp/502 → gate-erp 10.30.0.10:5001  hits 18204",
      "  gate-erp  DENY         l7.function-not-allowed: write-single-register; allowed: read-holding-registers  hits 18204",
      "  inner     not reached  dmz/gate-erp/10.31.0.11 → tank-plc tcp/502  hits 18204",
      "nearest allowing change: add write-single-register to l7.modbus.functions (site.yaml:79) – breaks no invariant",
    ].join("\n"),
  );
});

test("without a conduit the nearest one is named with the one field that differs", () => {
  const nearest = (change: Partial<Question>): unknown[] => {
    const found = ask(change);
    assert.equal(found.reason, "no-conduit");
    return [found.nearest?.conduit, found.nearest?.field];
  };
  assert.deepEqual(nearest({ port: 503 }), ["erp-reads-tank", "port"]);
  assert.deepEqual(nearest({ from: HOST.erp + 5 }), ["erp-reads-tank", "from"]);
  assert.deepEqual(nearest({ to: HOST.hmi }), ["erp-reads-tank", "to"]);
  assert.deepEqual(nearest({ protocol: "udp" }), ["erp-reads-tank", "protocol"]);
  assert.deepEqual(nearest({ from: HOST.tankPlc, to: HOST.erp, port: 9 }), [undefined, undefined]);
});

test("a change that would forward between IT and OT is said to break the invariant", () => {
  const answer = ask({ from: HOST.engWs, to: HOST.erp, port: 4712 });
  assert.equal(answer.breaks, "nothing is forwarded between IT and OT");
  assert.match(formatExplanation(answer), /breaks invariant: nothing is forwarded/);
  const own = ask({ port: 503 }, { breaks: ({ conduit }) => `never widen ${conduit}` });
  assert.equal(own.breaks, "never widen erp-reads-tank");
  assert.doesNotMatch(formatExplanation(ask({ port: 503 })), /invariant/, "nobody checked");
});

test("a closed conduit says what would open it", () => {
  const diagnosis = { from: HOST.engWs, to: HOST.pressPlc, port: 4712 };
  const shut = ask(diagnosis);
  assert.deepEqual([shut.reason, shut.conduit], ["outside-window", "press-diagnosis"]);
  assert.equal(shut.nearest?.text, "wait: it opens at 2026-11-22T01:00:00Z");
  assert.equal(ask({ ...diagnosis, at: SUNDAY }).verdict, "allow");
  assert.equal(ask({}, { islanded: new Set(["cell-a"]) }).nearest?.field, "island");
  assert.equal(ask({ at: Date.UTC(2028, 0) }).nearest?.field, "expires");
  const vendor = { from: HOST.vendorPc, to: HOST.pressPlc };
  assert.equal(ask(vendor).nearest?.field, "grant");
  assert.equal(ask(vendor, { grants: [GRANT] }).verdict, "allow");
});

test("a spoofed source is judged where it arrives", () => {
  const answer = ask({ fromInterface: "cella0" });
  assert.deepEqual([answer.where, answer.reason], ["inner", "wrong-interface"]);
  assert.equal(ask({ from: ip("192.0.2.9") }).reason, "no-src-zone");
});

test("explain and the model never tell two stories about one packet", () => {
  const legs = demoLegs();
  const devices = {
    outer: ["it0", "vendor0"],
    inner: ["sup0", "cella0", "cellb0", "sis0"],
  } as const;
  const addresses = [
    ...Object.values(HOST),
    ip("10.40.0.1"),
    ip("224.0.0.1"),
    ip("192.0.2.1"),
    ip("10.31.0.20"),
  ];
  const verdicts = new Set<string>();
  fc.assert(
    fc.property(
      fc.constantFrom(...addresses),
      fc.constantFrom(...addresses),
      fc.constantFrom(501, 502, 503, 514, 4711, 5001),
      fc.constantFrom("tcp" as const, "udp" as const),
      fc.constantFrom(NOW, SUNDAY),
      (from, to, port, protocol, at) => {
        for (const point of ["outer", "inner"] as const) {
          for (const fromInterface of devices[point]) {
            const told = explain(legs, { from, fromInterface, to, port, protocol, at }).steps[0];
            const model = new Model({ point });
            model.load(legs);
            const ends = { source: from, destination: to, sourcePort: 9, destinationPort: port };
            const bytes = writeFrame({ protocol, ...ends });
            const done = model.step({ interface: fromInterface, bytes }, at);
            assert.deepEqual(
              [told?.verdict, told?.reason, told?.conduit],
              [done.verdict, done.reason, done.conduit],
            );
            verdicts.add(done.reason ?? "allow");
          }
        }
      },
    ),
    { numRuns: 300 },
  );
  assert.ok(verdicts.size >= 6, [...verdicts].join());
});
