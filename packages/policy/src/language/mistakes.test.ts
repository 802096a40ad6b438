import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { type Diagnostic, formatDiagnostic } from "@sallyport/core";
import { compilePolicy } from "./compile.ts";

const NOW = Date.parse("2026-11-22T12:00:00Z");
const PLANT = readFileSync(new URL("../../../../lab/plant/site.yaml", import.meta.url), "utf8");

function diagnose(text: string): readonly Diagnostic[] {
  const bytes = new TextEncoder().encode(text);
  return compilePolicy([{ name: "site.yaml", bytes }], { now: NOW }).diagnostics;
}

/** Where `mark` stands in the text: `line:column`. */
function placeOf(text: string, mark: string): string {
  const at = text.indexOf(mark);
  assert.ok(at >= 0, `${mark} is not in the text`);
  const before = text.slice(0, at).split("\n");
  return `${before.length}:${(before.at(-1) ?? "").length + 1}`;
}

interface Mistake {
  readonly code: string;
  /** Replaced in the plant's file, once. */
  readonly from: string;
  readonly to: string;
  /** Where it is reported: the first place of this in the changed text. */
  readonly at: string;
  readonly hint?: RegExp;
}

const DIRECT =
  "{ service: press-diag, via: direct, reason: r, owner: o, why: w, expires: 2027-01-31,";
const INSPECT =
  "{ service: opc-ua, via: inspect, through: gate-cells, owner: o, why: w, expires: 2027-01-31,";
const PROXY =
  "{ service: opc-ua, via: proxy, through: gate-erp, owner: o, why: w, expires: 2027-01-31,";
const add = (conduits: string): { from: string; to: string } => ({
  from: "\nconduits:\n",
  to: `\nconduits:\n${conduits}\n`,
});

const MISTAKES: readonly Mistake[] = [
  // Form.
  {
    code: "unknown-key",
    from: "    owner: it-ops",
    to: "    ownr: it-ops",
    at: "ownr",
    hint: /"owner"/,
  },
  { code: "missing-key", from: "    owner: it-ops\n", to: "", at: "enterprise:" },
  {
    code: "missing-key",
    from: "    expires: 2027-06-30\n    l7:\n",
    to: "    l7:\n",
    at: "erp-reads-tank",
  },
  { code: "missing-key", from: "version: 1\n", to: "", at: "#" },
  { code: "wrong-value", from: "kind: safety", to: "kind: saftey", at: "saftey", hint: /"safety"/ },
  { code: "wrong-value", from: "level: 3.5", to: "level: 2.5", at: "2.5" },
  {
    code: "wrong-value",
    from: "why: Fill levels for production planning",
    to: "why:",
    at: "\n    expires: 2027-06-30",
  },
  { code: "unknown-key", from: "\nassets:", to: "\nassest:", at: "assest", hint: /"assets"/ },
  {
    code: "duplicate-key",
    from: "    via: session\n",
    to: "    via: session\n    via: direct\n",
    at: "via: direct\n    through",
  },
  {
    code: "duplicate-key",
    from: "  historian-reads-press:",
    to: "  erp-reads-tank:",
    at: "erp-reads-tank:\n    from: historian",
  },
  {
    code: "default-not-allowed",
    from: "\nconduits:",
    to: "\ndefaults: { owner: me }\nconduits:",
    at: "owner: me",
  },
  {
    code: "reserved-name",
    from: "  portal:       { kind",
    to: "  watch: { kind",
    at: "watch: { kind",
  },
  { code: "bad-name", from: "  cell-b:\n", to: "  cell-B!:\n", at: "cell-B!" },
  {
    code: "policy-syntax",
    from: "kind: safety",
    to: "kind: [safety",
    at: "level: 1\n    networks: [10.43",
  },
  {
    code: "policy-syntax",
    from: "kind: safety",
    to: "kind: !thing safety",
    at: "safety\n    level",
  },
  { code: "policy-syntax", from: "  erp:  ", to: "  <<: {}\n  erp:", at: "<<" },
  // Values.
  { code: "bad-port", from: "[4711-4713]", to: "[0]", at: "0] }" },
  { code: "bad-port", from: "[4711-4713]", to: "[65536]", at: "65536" },
  { code: "bad-port", from: "[4711-4713]", to: "[4713-4711]", at: "4713-4711" },
  { code: "bad-date", from: "expires: 2027-06-30", to: "expires: 2027-02-30", at: "2027-02-30" },
  {
    code: "bad-network",
    from: "[10.10.0.0/24]",
    to: "[10.10.0.5/24]",
    at: "10.10.0.5/24",
    hint: /10\.10\.0\.0\/24/,
  },
  { code: "bad-network", from: "[10.10.0.0/24]", to: "[10.010.0.0/24]", at: "10.010" },
  { code: "bad-network", from: "[10.10.0.0/24]", to: "[224.0.0.0/24]", at: "224.0.0.0" },
  { code: "bad-address", from: "10.10.0.1/24", to: "10.10.0.1", at: "10.10.0.1 }" },
  { code: "bad-address", from: "10.10.0.1/24", to: "10.10.0.255/24", at: "10.10.0.255" },
  {
    code: "bad-address",
    from: "zone: vendor, address: 10.20.0.10",
    to: "zone: vendor, address: 10.20.0.256",
    at: "10.20.0.256",
  },
  {
    code: "bad-range",
    from: "holding-registers: [20-39]",
    to: "holding-registers: [39-20]",
    at: "39-20",
  },
  {
    code: "bad-range",
    from: "units: [1]\n        holding-registers: [0-99]",
    to: "units: [256]\n        holding-registers: [0-99]",
    at: "256",
  },
  { code: "bad-range", from: "rate: 50/s", to: "rate: fast", at: "fast" },
  { code: "bad-duration", from: "max: 2h", to: "max: 2 hours", at: "2 hours" },
  { code: "bad-duration", from: "max: 2h", to: "max: 13h", at: "13h" },
  { code: "bad-time", from: 'from: "02:00"', to: 'from: "25:00"', at: '"25:00"' },
  {
    code: "bad-timezone",
    from: "timezone: Europe/Vienna",
    to: "timezone: Europe/Wien",
    at: "Europe/Wien",
  },
  { code: "bad-name", from: "nic: cella0", to: "nic: a-very-long-nic-name", at: "a-very-long" },
  {
    code: "wrong-value",
    from: "[read-holding-registers, write-multiple-registers, write-single-register]",
    to: "[read-holding-register]",
    at: "read-holding-register]",
    hint: /"read-holding-registers"/,
  },
  // Names.
  {
    code: "unknown-zone",
    from: "{ zone: enterprise, address: 10.10.0.10 }",
    to: "{ zone: enterprize, address: 10.10.0.10 }",
    at: "enterprize",
    hint: /"enterprise"/,
  },
  {
    code: "unknown-zone",
    ...add(`  x: ${DIRECT} from: cel-a, to: cell-b }`),
    at: "cel-a",
    hint: /"cell-a"/,
  },
  {
    code: "unknown-asset",
    from: "to: press-plc",
    to: "to: pres-plc",
    at: "pres-plc",
    hint: /"press-plc"/,
  },
  { code: "unknown-endpoint", from: "to: press-plc", to: "to: 10.42.0.10", at: "10.42.0.10\n" },
  {
    code: "unknown-tag",
    from: "{ tags: [plc] }\n    service",
    to: "{ tags: [plk] }\n    service",
    at: "{ tags: [plk]",
    hint: /"plc"/,
  },
  {
    code: "unknown-component",
    from: "through: gate-vendor",
    to: "through: gate-vender",
    at: "gate-vender",
    hint: /"gate-vendor"/,
  },
  {
    code: "unknown-component",
    ...add(
      "  x: { from: enterprise, to: dmz/portl, service: https, via: proxy, owner: o, why: w, expires: 2027-01-31 }",
    ),
    at: "dmz/portl",
    hint: /dmz\/portal/,
  },
  {
    code: "unknown-service",
    from: "service: press-diag",
    to: "service: press-dig",
    at: "press-dig",
    hint: /"press-diag"/,
  },
  {
    code: "unknown-window",
    from: "when: sunday-maintenance",
    to: "when: sunday-maintenence",
    at: "sunday-maintenence",
    hint: /"sunday-maintenance"/,
  },
  { code: "name-taken", from: "  press-diag:", to: "  modbus:", at: "modbus: { tcp" },
  { code: "name-taken", from: "  sis:        {", to: "  safety:     {", at: "safety:     {" },
  // Zones and addresses.
  {
    code: "zone-overlap",
    from: "networks: [10.42.0.0/24]",
    to: "networks: [10.41.0.0/24]",
    at: "10.41.0.0/24]\n    attach: { nic: cellb0",
  },
  { code: "zone-without-network", from: "    networks: [10.20.0.0/24]\n", to: "", at: "vendor:\n" },
  {
    code: "zone-unattached",
    from: "    attach: { nic: vendor0, address: 10.20.0.1/24 }\n",
    to: "",
    at: "vendor:\n",
  },
  {
    code: "zone-unattached",
    from: "networks: [10.20.0.0/24]",
    to: "networks: [10.20.0.0/23]",
    at: "10.20.0.0/23",
  },
  { code: "attach-conflict", from: "nic: vendor0", to: "nic: sup0", at: "supervisory:\n" },
  {
    code: "transit-overlap",
    from: "outer: 10.30.0.0/24",
    to: "outer: 10.40.0.0/24",
    at: "10.40.0.0/24, inner",
  },
  {
    code: "transit-too-small",
    from: "inner: 10.31.0.0/24",
    to: "inner: 10.31.0.0/29",
    at: "10.31.0.0/29",
    hint: /\/28/,
  },
  {
    code: "asset-outside-zone",
    from: "zone: vendor, address: 10.20.0.10",
    to: "zone: vendor, address: 10.10.0.99",
    at: "10.10.0.99",
    hint: /"enterprise"/,
  },
  {
    code: "asset-address-taken",
    from: "address: 10.10.0.11",
    to: "address: 10.10.0.10",
    at: "10.10.0.10 }\n  vendor-pc",
  },
  {
    code: "asset-address-reserved",
    from: "address: 10.10.0.11",
    to: "address: 10.10.0.1",
    at: "10.10.0.1 }\n  vendor-pc",
  },
  { code: "no-dmz-zone", from: "  dmz:\n", to: "  middle:\n", at: "middle" },
  // Conduits.
  {
    code: "plain-dmz",
    ...add(
      "  x: { from: enterprise, to: dmz, service: https, via: proxy, owner: o, why: w, expires: 2027-01-31 }",
    ),
    at: "dmz, service",
  },
  {
    code: "network-not-enumerated",
    ...add(`  x: ${PROXY} from: enterprise, to: tank-plc }`),
    at: "enterprise, to",
  },
  {
    code: "network-not-enumerated",
    ...add(`  x: ${INSPECT} from: hmi, to: cell-a }`),
    at: "cell-a }",
  },
  {
    code: "mixed-sides",
    ...add(`  x: ${PROXY} from: [erp, hmi], to: tank-plc }`),
    at: "[erp, hmi]",
  },
  {
    code: "direct-between-it-and-ot",
    ...add(`  x: ${DIRECT} from: erp, to: tank-plc }`),
    at: "direct, reason: r",
  },
  {
    code: "direct-between-it-and-ot",
    ...add(`  x: ${DIRECT} from: tank-plc, to: erp }`),
    at: "direct, reason: r",
  },
  {
    code: "reason-missing",
    from: "    reason: A vendor protocol without a decoder, inside OT, in the weekly window only\n",
    to: "",
    at: "direct\n",
  },
  { code: "diode-not-udp", from: "service: syslog", to: "service: syslog-tls", at: "syslog-tls" },
  {
    code: "gate-not-tcp",
    ...add(
      "  x: { from: erp, to: tank-plc, service: ntp, via: proxy, through: gate-erp, owner: o, why: w, expires: 2027-01-31 }",
    ),
    at: "ntp",
  },
  { code: "wrong-via", ...add(`  x: ${PROXY} from: hmi, to: tank-plc }`), at: "proxy, through" },
  {
    code: "wrong-gate",
    from: "through: gate-cells",
    to: "through: gate-erp",
    at: "gate-erp\n    owner: operations",
  },
  { code: "wrong-gate", from: "    through: gate-vendor\n", to: "", at: "session\n" },
  {
    code: "wrong-component",
    from: "  portal:       { kind: portal }",
    to: "  portal:       { kind: portal, zone: cell-a }",
    at: "cell-a }",
  },
  {
    code: "wrong-component",
    ...add(`  x: ${DIRECT} from: hmi, to: dmz/portal }`),
    at: "dmz/portal",
  },
  {
    code: "session-terms",
    from: "    session: { people",
    to: "    connections: {}\n    #",
    at: "session\n",
  },
  {
    code: "approvals-below-zone",
    ...add(
      "  x: { from: vendor-pc, to: tank-plc, service: ssh, via: session, through: gate-vendor, owner: o, why: w, expires: 2027-01-31, session: { people: [p], max: 1h, approvals: 0, record: true, mode: read-only } }",
    ),
    at: "0, record: true, mode: read-only",
  },
  {
    code: "l7-mismatch",
    ...add(
      "  x: { from: erp, to: tank-plc, service: opc-ua, via: proxy, through: gate-erp, owner: o, why: w, expires: 2027-01-31, l7: { modbus: { functions: [read-coils], units: [1], coils: [1] } } }",
    ),
    at: "modbus: { functions: [read-coils]",
  },
  {
    code: "ambiguous-inspection",
    ...add(`  x: ${INSPECT.replace("opc-ua", "modbus")} from: hmi, to: tank-plc }`),
    at: "x: {",
  },
  {
    code: "conflicting-via",
    ...add(`  x: ${DIRECT.replace("press-diag", "modbus")} from: supervisory, to: cell-a }`),
    at: "x: {",
  },
  {
    code: "mode-not-ot",
    from: "\ninvariants:",
    to: "\nmodes:\n  - { from: enterprise, to: cell-a, mode: audit, until: 2026-12-01, owner: o, why: w }\ninvariants:",
    at: "enterprise, to: cell-a",
  },
  {
    code: "mode-too-long",
    from: "\ninvariants:",
    to: "\nmodes:\n  - { from: cell-b, to: cell-a, mode: audit, until: 2026-12-31, owner: o, why: w }\ninvariants:",
    at: "2026-12-31",
  },
  { code: "invariant-violated", ...add(`  x: ${INSPECT} from: hmi, to: sis }`), at: "x: {" },
  {
    code: "invariant-violated",
    ...add(`  x: ${PROXY.replace("opc-ua", "modbus")} from: erp, to: press-plc }`),
    at: "x: {",
  },
  {
    code: "attach-conflict",
    from: "kind: dmz\n",
    to: "kind: dmz\n    source: gateway\n",
    at: "gateway",
  },
  // Not yet.
  { code: "not-supported-yet", from: "nodes: [gw1]", to: "nodes: [gw1, gw2]", at: "[gw1, gw2]" },
  {
    code: "not-supported-yet",
    from: "\nzones:",
    to: "\nrealms: { a: {}, b: {} }\nzones:",
    at: "b: {}",
  },
  {
    code: "not-supported-yet",
    from: "nic: cella0,",
    to: "nic: cella0, mode: proxy-arp,",
    at: "proxy-arp",
  },
  { code: "not-supported-yet", from: "service: syslog", to: "service: goose", at: "goose" },
  {
    code: "not-supported-yet",
    ...add(`  x: ${INSPECT} from: hmi, to: tank-plc, l7: { opc-ua: {} } }`),
    at: "opc-ua: {}",
  },
];

test("every kind of mistake is told at its line and column, with what to type instead", () => {
  for (const { code, from, to, at, hint } of MISTAKES) {
    assert.ok(PLANT.includes(from), `${code}: "${from}" is not in the plant's file`);
    const text = PLANT.replace(from, () => to);
    const found = diagnose(text);
    const all = found.map(formatDiagnostic).join("\n");
    const where = placeOf(text, at);
    const match = found.find((one) => one.code === code && `${one.line}:${one.column}` === where);
    assert.ok(match, `${code} at ${where} of:\n${to}\nfound:\n${all}`);
    assert.equal(match.severity, "error");
    if (hint !== undefined) assert.match(match.hint ?? "", hint);
  }
});

test("a component that IT reaches must not reach OT, also through another one, unless by a gate", () => {
  const components = PLANT.replace(
    "  portal: ",
    "  relay: { kind: service }\n  hist: { kind: replica }\n  portal: ",
  );
  const into = (from: string, to: string): string =>
    `{ from: ${from}, to: ${to}, service: opc-ua, via: proxy, owner: o, why: w, expires: 2027-01-31 }`;
  const errors = (conduits: string): string[] =>
    diagnose(components.replace("\nconduits:\n", `\nconduits:\n${conduits}`))
      .filter(({ severity }) => severity === "error")
      .map(({ code, line }) => `${code} ${line}`);
  const reached = `  x1: ${into("enterprise", "dmz/relay")}\n  x2: ${into("dmz/relay", "dmz/hist")}\n`;
  assert.deepEqual(errors(reached), []);
  assert.deepEqual(errors(`${reached}  x3: ${into("dmz/hist", "tank-plc")}\n`), [
    "component-bridges 88",
  ]);
  const gated = into("dmz/hist", "tank-plc").replace("via: proxy", "via: proxy, through: gate-erp");
  assert.deepEqual(errors(`${reached}  x3: ${gated}\n`), []);
});

test("a gate conduit over a wide port range is refused before it makes thousands of listeners", () => {
  const text = PLANT.replace("[4711-4713]", "[4000-4600]")
    .replace("via: direct", "via: inspect\n    through: gate-cells")
    .replace("    reason: A vendor", "    ticket: A vendor");
  const errors = diagnose(text).filter(({ severity }) => severity === "error");
  assert.deepEqual(
    errors.map(({ code, line }) => [code, line]),
    [["too-many-listeners", 154]],
  );
});

test("a mistake is told once, not again wherever the broken thing is used", () => {
  const text = PLANT.replace("  cell-a:\n    kind: control", "  cell-a:\n    kind: controll");
  const errors = diagnose(text).filter(({ severity }) => severity === "error");
  assert.deepEqual(
    errors.map(({ code }) => code),
    ["wrong-value"],
  );
});

test("all mistakes of a file are told in one run, in the order of its lines", () => {
  const text = PLANT.replace("kind: external", "kind: externl")
    .replace("address: 10.10.0.11", "address: 10.10.0.300")
    .replace("[4711-4713]", "[4711-99999]")
    .replace("expires: 2027-06-30", "expires: tomorrow")
    .replace("service: syslog", "service: sylog");
  const errors = diagnose(text).filter(({ severity }) => severity === "error");
  assert.deepEqual(
    errors.map(({ code }) => code),
    ["wrong-value", "bad-address", "bad-port", "bad-date", "unknown-service"],
  );
  assert.equal(
    formatDiagnostic(errors[4] ?? assert.fail())
      .split("\n")
      .at(-1),
    '  hint: did you mean "syslog"?',
  );
});

test("a column counts characters, not bytes", () => {
  const text = PLANT.replace("{ tcp: [4711-4713] }", '{ description: "Prüfstand 🏭", tcp: [0] }');
  const [port] = diagnose(text).filter(({ code }) => code === "bad-port");
  const line = text.split("\n")[(port?.line ?? 1) - 1] ?? "";
  assert.equal(Array.from(line)[(port?.column ?? 1) - 1], "0");
});

test("five conduits that can be open for one cell are one too many; four in pairs are not", () => {
  const conduit = (name: string, from: string, to: string): string =>
    `  ${name}: ${DIRECT} from: ${from}, to: ${to} }\n`;
  const four = ["a", "b", "c"].map((name) => conduit(name, "supervisory", "cell-b")).join("");
  const spread = conduit("d", "hmi", "press-plc") + conduit("e", "eng-ws", "cell-a");
  const find = (conduits: string): boolean =>
    diagnose(PLANT.replace("\nconduits:\n", `\nconduits:\n${conduits}`)).some(
      ({ code }) => code === "overlap-too-deep",
    );
  assert.equal(find(four + spread), false);
  assert.equal(find(four + spread + conduit("f", "eng-ws", "press-plc")), true);
});

test("lints name doubtful things and let the policy compile", () => {
  const lints: readonly (readonly [string, string, string])[] = [
    ["expired", "expires: 2027-06-30", "expires: 2026-11-21"],
    ["expiring", "expires: 2027-06-30", "expires: 2026-12-01"],
    [
      "zone-nested",
      "  safety:\n",
      "  box: { kind: control, level: 1, networks: [10.41.0.64/28], attach: { nic: cella0 }, owner: o }\n  safety:\n",
    ],
    [
      "orphan-zone",
      "  safety:\n",
      "  spare: { kind: control, level: 1, networks: [10.49.0.0/24], attach: { nic: sp0, address: 10.49.0.1/24 }, owner: o }\n  safety:\n",
    ],
    ["sl-gap", "    sl-t: 3\n", "    sl-t: 3\n    sl-c: [3, 3, 2, 3, 3, 3, 3]\n"],
    ["unused-name", "\nservices:\n", "\nservices:\n  spare: { tcp: [1] }\n"],
    ["no-l7-on-ot", "\nconduits:\n", `\nconduits:\n  x: ${INSPECT} from: hmi, to: tank-plc }\n`],
    [
      "disjoint-protocols",
      "\nconduits:\n",
      `\nconduits:\n  x: ${PROXY} from: erp, to: tank-plc }\n`,
    ],
    [
      "redundant",
      "\nconduits:\n",
      `\nconduits:\n  x: ${DIRECT} from: hmi, to: press-plc }\n  y: ${DIRECT} from: supervisory, to: cell-b }\n`,
    ],
    [
      "overlap-wider",
      "\nconduits:\n",
      `\nconduits:\n  x: ${DIRECT} from: supervisory, to: press-plc, when: sunday-maintenance }\n`,
    ],
    ["never-crosses", "\nconduits:\n", `\nconduits:\n  x: ${DIRECT} from: hmi, to: eng-ws }\n`],
    ["any-to-any", "\nservices:\n", "\nservices:\n  press-diag: { tcp: [1000-9000] }\n  #"],
    ["l7-unreachable", "        coils: [0-15]\n", ""],
  ];
  for (const [code, from, to] of lints) {
    let text = PLANT.replace(from, () => to);
    if (code === "any-to-any")
      text = text.replace("from: eng-ws\n    to: press-plc", "from: supervisory\n    to: cell-b");
    const bytes = new TextEncoder().encode(text);
    const { legs, diagnostics } = compilePolicy([{ name: "site.yaml", bytes }], { now: NOW });
    const all = diagnostics.map(formatDiagnostic).join("\n");
    assert.ok(
      diagnostics.some((one) => one.code === code && one.severity !== "error"),
      `${code}:\n${all}`,
    );
    assert.ok(legs, `${code} must not keep it from compiling:\n${all}`);
  }
});

test("safety-inbound is a lint where no invariant forbids it", () => {
  const text = PLANT.replace("  - never: { to: { kind: safety } }\n", "").replace(
    "\nconduits:\n",
    `\nconduits:\n  x: ${INSPECT} from: hmi, to: sis }\n`,
  );
  assert.ok(diagnose(text).some(({ code }) => code === "safety-inbound"));
});
