import assert from "node:assert/strict";
import { test } from "node:test";
import { addConduit, conduitAtLine, readPolicy, removeConduit, setField } from "./policy-text.ts";

const TEXT = `# The brewery.
zones:
  cell-a: { kind: control }        # two   spaces are kept

conduits:
  # Fill levels for planning.
  erp-reads-tank:
    from: erp        # the office's server
    to: tank-plc
    service: modbus
    via: proxy
    why: "levels: all of them"
    l7: { modbus: { functions: [read-coils] } }
  hmi: { from: hmi, to: { tags: [plc] }, service: modbus, via: inspect }   # operators
`;

test("a value is replaced where it stands; every other letter of the file stays", () => {
  const after = setField(TEXT, "erp-reads-tank", "to", "press-plc");
  assert.equal(after, TEXT.replace("to: tank-plc", "to: press-plc"));
  const why = setField(TEXT, "erp-reads-tank", "why", "no: colons # lost");
  assert.equal(readPolicy(why).conduits[0]?.value["why"], "no: colons # lost");
  assert.ok(why.includes("# the office's server") && why.includes("# operators"));
});

test("a value that was missing is added, in a block and between braces", () => {
  const block = setField(TEXT, "erp-reads-tank", "owner", "ot");
  assert.equal(readPolicy(block).conduits[0]?.fields.owner.text, "ot");
  assert.ok(block.includes("from: erp        # the office's server"));
  const flow = setField(TEXT, "hmi", "owner", "ot");
  assert.equal(readPolicy(flow).conduits[1]?.fields.owner.text, "ot");
  assert.deepEqual(readPolicy(flow).faults, []);
});

test("a value that is no plain word is shown, and said not to be for the form", () => {
  const to = readPolicy(TEXT).conduits[1]?.fields.to;
  assert.deepEqual([to?.isPlain, to?.text.includes("plc")], [false, true]);
});

test("a conduit is added at the end and removed with its comment, and the file is what it was", () => {
  const added = addConduit(TEXT, "new", { from: "erp", to: "tank-plc", why: "a: b" });
  assert.deepEqual(
    readPolicy(added).conduits.map(({ name }) => name),
    ["erp-reads-tank", "hmi", "new"],
  );
  assert.equal(removeConduit(added, "new"), TEXT);
  const less = removeConduit(TEXT, "erp-reads-tank");
  assert.ok(!less.includes("Fill levels") && less.includes("hmi: {"));
  assert.equal(
    readPolicy(addConduit("version: 1\n", "one", { from: "a" })).conduits[0]?.name,
    "one",
  );
});

test("a mistake's line is told with the conduit that it stands in", () => {
  const policy = readPolicy(TEXT);
  assert.equal(conduitAtLine(policy, 9), "erp-reads-tank");
  assert.equal(conduitAtLine(policy, 14), "hmi");
  assert.equal(conduitAtLine(policy, 2), undefined);
});

test("half-typed text is never an exception, and its faults have lines", () => {
  for (let size = 0; size <= TEXT.length; size += 1) readPolicy(TEXT.slice(0, size));
  const [fault] = readPolicy("conduits:\n  a: { from: [\n").faults;
  assert.ok(fault !== undefined && fault.line >= 2);
});
