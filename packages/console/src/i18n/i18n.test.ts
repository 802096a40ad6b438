import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { de } from "./de.ts";
import { en } from "./en.ts";
import { languageOf, wordsOf } from "./i18n.ts";

const SOURCES = path.join(import.meta.dirname, "..");
const holes = (text: string): readonly string[] =>
  [...text.matchAll(/\{\w+\}/g)].map(String).sort();

test("English and German have the same keys with the same places for values", () => {
  assert.deepEqual(Object.keys(de).sort(), Object.keys(en).sort());
  let checked = 0;
  for (const [key, text] of Object.entries(en)) {
    const other = de[key as keyof typeof en];
    assert.deepEqual(holes(other), holes(text), key);
    assert.notEqual(other.trim(), "", key);
    checked += 1;
  }
  assert.ok(checked > 400, `${checked} texts`);
});

test("what is counted has a form for one and a form for several", () => {
  const stems = Object.keys(en).filter((key) => key.endsWith(".one"));
  assert.ok(stems.length > 5);
  for (const stem of stems) assert.ok(stem.replace(/\.one$/, ".other") in en, stem);
  const [english, german] = [wordsOf("en"), wordsOf("de")];
  assert.equal(english.tn("map.conduits", 1), "1 conduit");
  assert.equal(english.tn("map.conduits", 2000), "2,000 conduits");
  assert.equal(german.tn("map.conduits", 2000), "2.000 Verbindungen");
});

test("every text is used somewhere", () => {
  const files = fs
    .readdirSync(SOURCES, { recursive: true, encoding: "utf8" })
    .filter((file) => /\.tsx?$/.test(file) && !/^i18n|\.test/.test(file));
  const code = files.map((file) => fs.readFileSync(path.join(SOURCES, file), "utf8")).join("\n");
  const unused = Object.keys(en).filter((key) => {
    const stem = key.replace(/\.(one|other)$/, "");
    if (code.includes(`"${key}"`) || code.includes(`"${stem}"`)) return false;
    const prefix = key.slice(0, key.lastIndexOf("."));
    // Keys made of a prefix and a word, such as reason.no-conduit.
    return !(
      code.includes(`\`${prefix}.$`) ||
      code.includes(`keyOf("${prefix}"`) ||
      /^edge|^explain\.(pass|refuse)/.test(key)
    );
  });
  assert.deepEqual(unused, []);
});

test("sizes, rates, times and ages are written as the language does, and time tells its zone", () => {
  const [english, german] = [wordsOf("en", "UTC"), wordsOf("de", "UTC")];
  assert.equal(english.rate(1536), "1.5 kB/s");
  assert.equal(german.rate(1536), "1,5 kB/s");
  assert.equal(english.ago(12_400), "12 sec. ago");
  assert.match(english.time("2026-01-15T10:00:00Z"), /10:00:00.*UTC/);
  assert.equal(english.time("not a time"), "not a time");
});

test("the language is the chosen one, else the browser's first that is here, else English", () => {
  assert.equal(languageOf(null, ["fr-FR", "de-AT", "en"]), "de");
  assert.equal(languageOf("en", ["de"]), "en");
  assert.equal(languageOf("xx", ["fr"]), "en");
});
