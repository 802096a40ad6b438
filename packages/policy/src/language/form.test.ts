import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { CATALOGUE } from "./catalogue.ts";
import { CODES } from "./codes.ts";
import { compilePolicy } from "./compile.ts";
import { formatPolicy } from "./format.ts";
import { policyJsonSchema } from "./schema.ts";
import { starterPolicy } from "./starter.ts";

const NOW = Date.parse("2026-11-22T12:00:00Z");
const at = (path: string): URL => new URL(`../../../../${path}`, import.meta.url);
const PLANT = readFileSync(at("lab/plant/site.yaml"), "utf8");

function compile(text: string): ReturnType<typeof compilePolicy> {
  return compilePolicy([{ name: "site.yaml", bytes: new TextEncoder().encode(text) }], {
    now: NOW,
  });
}
const errorsOf = (text: string): unknown[] =>
  compile(text).diagnostics.filter(({ severity }) => severity === "error");

test("the published JSON Schema is the one that the compiler checks by", () => {
  const committed: unknown = JSON.parse(
    readFileSync(at("packages/policy/schema/policy.schema.json"), "utf8"),
  );
  assert.deepEqual(
    committed,
    policyJsonSchema(),
    "stale: run `sallyport policy schema > packages/policy/schema/policy.schema.json`",
  );
  assert.deepEqual(Object.keys((committed as { properties: object }).properties).slice(0, 3), [
    "version",
    "site",
    "realms",
  ]);
});

test("every diagnostic has a page of its own that begins with its name", () => {
  for (const code of Object.keys(CODES)) {
    const page = at(`docs/diagnostics/${code}.md`);
    assert.ok(existsSync(page), `docs/diagnostics/${code}.md is missing`);
    assert.ok(readFileSync(page, "utf8").startsWith(`# ${code}\n`), code);
  }
});

test("every diagnostic is reported by some part of the compiler", () => {
  const here = new URL(".", import.meta.url);
  const sources = readdirSync(here)
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts") && name !== "codes.ts")
    .map((name) => readFileSync(new URL(name, here), "utf8"))
    .join("\n");
  for (const code of Object.keys(CODES)) assert.ok(sources.includes(`"${code}"`), code);
});

test("the reference names every service of the catalogue and every section of the file", () => {
  const page = readFileSync(at("docs/reference/policy.md"), "utf8");
  for (const name of CATALOGUE.keys()) assert.ok(page.includes(`\`${name}\``), name);
  const { properties } = policyJsonSchema() as { properties: Record<string, object> };
  for (const name of Object.keys(properties)) assert.ok(page.includes(`\`${name}\``), name);
});

test("every example in the reference compiles", () => {
  const page = readFileSync(at("docs/reference/policy.md"), "utf8");
  const examples = [...page.matchAll(/```yaml\n([\s\S]*?)```/g)].map((match) => match[1] ?? "");
  const whole = examples.filter((text) => text.startsWith("version: 1"));
  assert.ok(whole.length >= 1);
  for (const text of whole) assert.deepEqual(errorsOf(text), []);
});

test("formatting keeps every comment and the meaning, and a second time changes nothing", () => {
  const once = formatPolicy(PLANT);
  assert.equal(formatPolicy(once), once);
  for (const comment of PLANT.match(/# .*/g) ?? []) assert.ok(once.includes(comment), comment);
  const strip = (text: string): unknown => {
    const { legs } = compile(text);
    assert.ok(legs);
    return {
      ...legs,
      policySha256: "",
      conduits: legs.conduits.map((one) => ({ ...one, source: "" })),
    };
  };
  assert.deepEqual(strip(once), strip(PLANT));
  assert.equal(formatPolicy('a:   [ 1,2 ]\nb: {c: "[ x ]"}\n'), 'a: [1, 2]\nb: { c: "[ x ]" }\n');
});

test("what is not YAML can't be formatted, and says where", () => {
  assert.throws(() => formatPolicy("a: [1\nb: 2\n"), { code: "policy-syntax", message: /^line 2/ });
  assert.throws(() => formatPolicy("[".repeat(1000)), { code: "policy-too-deep" });
});

test("the starter compiles for any number of NICs, names each, and allows nothing", () => {
  for (const nics of [[], ["eth0"], ["eth0", "eth1"], ["eno1", "eno2", "enp3s0", "enp4s0f1"]]) {
    const text = starterPolicy(nics);
    assert.deepEqual(errorsOf(text), []);
    const { legs } = compile(text);
    assert.deepEqual(legs?.conduits, []);
    for (const nic of nics)
      assert.ok(
        legs?.attachments.some((one) => one.nic === nic),
        nic,
      );
  }
});

test("the starter's example is a conduit that compiles once its marks are taken away", () => {
  const [head = "", tail = ""] = starterPolicy(["eth0", "eth1"]).split("\nconduits:\n");
  const text = `${head}\nconduits:\n${tail.replaceAll(/^ {2}# ( *\S.*)$/gm, "  $1")}`;
  assert.deepEqual(errorsOf(text), []);
  assert.deepEqual(
    compile(text).legs?.conduits.map(({ name, via }) => [name, via]),
    [["erp-reads-tank", "proxy"]],
  );
});
