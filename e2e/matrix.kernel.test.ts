import assert from "node:assert/strict";
import process from "node:process";
import { after, before, test, type TestContext } from "node:test";
import { ask } from "sallyport";
import type { ScanKind } from "../lab/attacks.ts";
import { readModbus } from "../lab/client.ts";
import { whyNoNamespaces } from "../lab/namespaces.ts";
import { HOSTS, type HostName, hostNamed } from "../lab/plant.ts";
import { applyAndConfirm, plantPolicy } from "../lab/site.ts";
import type { Sighting } from "./matrix/links.ts";
import { othersOf } from "./matrix/plant-ports.ts";
import {
  conversations,
  expectedFacts,
  inTurns,
  judge,
  playRound,
  type Probe,
  type Round,
  rowTexts,
  scanRound,
  surveyFaults,
} from "./matrix/rounds.ts";
import { buildStand, type Stand } from "./matrix/stand.ts";
import { type Told, toldBy } from "./matrix/told.ts";

const why = process.getuid?.() === 0 ? await whyNoNamespaces() : "needs root: rooms, eBPF and uids";
const MODBUS = 502;
/** The direct conduit's ports and their neighbors; 4711 is the press's own. */
const DRIVE_PORTS = [4710, 4712, 4713, 4714];
const SOURCES: readonly HostName[] = HOSTS.map(({ name }) => name);
/** As long as the rest of the file may take, and far longer than what it is needed for. */
const GRANT_SECONDS = 240;
const PYMODBUS_AT_ONCE = 6;

let stand: Stand | undefined;
const rounds: Round[] = [];
/** The matrix at each change, to compare a round with the wrong one on purpose. */
let beforeDirect: Told | undefined;

before(async () => {
  if (why === undefined) stand = await buildStand("m", { "press-plc": DRIVE_PORTS });
});
after(async () => {
  await stand?.site.destroy();
});

function standing(t: TestContext): Stand | undefined {
  if (stand === undefined) t.skip(why ?? "no plant");
  return stand;
}

function probesOf(ports: string, sources: readonly HostName[] = SOURCES): Probe[] {
  return sources.map((from) => ({ from, targets: othersOf(from), ports }));
}

test("a pymodbus client reads exactly the PLCs that the matrix gives its host", async (t) => {
  const here = standing(t);
  if (here === undefined) return;
  const { site } = here;
  const plcs = (["tank-plc", "press-plc", "sis"] as const).map((name) => hostNamed(name));
  const probes = SOURCES.flatMap((from) =>
    plcs
      .filter(({ segment }) => segment !== hostNamed(from).segment)
      .map(({ address }) => ({ from, targets: [address], ports: String(MODBUS) })),
  );
  let answered = 0;
  const faults: string[] = [];
  const round = await playRound(site, "pymodbus", "talk", probes, async (told) => {
    const readOne = async (probe: Probe): Promise<void> => {
      const to = { address: probe.targets[0] ?? "", port: MODBUS };
      // The one register that every conduit of the plant may read.
      const request = { area: "holding", address: 20, count: 1 } as const;
      const { ok } = await readModbus(site.plant, probe.from, to, request);
      if (ok) answered++;
      const expected = conversations(told, probe, "talk").length > 0;
      if (ok !== expected) faults.push(`${probe.from} ${to.address}: ${ok ? "" : "not "}answered`);
    };
    await inTurns(probes, readOne, PYMODBUS_AT_ONCE);
  });
  rounds.push(round);
  assert.deepEqual(faults, []);
  assert.equal(answered, 5, "each Modbus conduit that needs no grant was used");
  assert.equal(probes.length, 31);
});

const KINDS: readonly ScanKind[] = ["connect", "syn", "udp", "fragments", "ip-options"];
for (const kind of KINDS) {
  test(`nmap, ${kind}, of every host from every other finds what the matrix says`, async (t) => {
    const here = standing(t);
    if (here === undefined) return;
    const faults: string[] = [];
    const probes = probesOf(kind === "udp" ? here.ports.udp : here.ports.tcp);
    rounds.push(await scanRound(here.site, kind, probes, faults));
    assert.deepEqual(faults, []);
  });
}

const AFTER_CHANGE: readonly HostName[] = ["vendor-pc", "vendor-rogue", "erp", "eng-ws", "rogue"];

test("a grant adds one row to the matrix, nmap finds that one more, and neither once it is revoked", async (t) => {
  const here = standing(t);
  if (here === undefined) return;
  const { site, first, ports } = here;
  const { id } = await site.product.grant({
    conduit: "vendor-services-press",
    person: "vendor-tech",
    reason: "The matrix with a grant",
    source: site.plant.address("vendor-pc"),
    asset: "press-plc",
    seconds: GRANT_SECONDS,
  });
  const during = await toldBy(site);
  const known = rowTexts(first.rows);
  const added = rowTexts(during.rows).filter((row) => !known.includes(row));
  assert.deepEqual(added, ["10.20.0.10 10.42.0.10 tcp/502-502 vendor-services-press by a grant"]);
  assert.equal(during.rows.length, first.rows.length + 1);
  const faults: string[] = [];
  const probes = probesOf(ports.policy, AFTER_CHANGE);
  rounds.push(await scanRound(site, "connect", probes, faults, "connect with a grant"));
  rounds.push(await scanRound(site, "syn", probes, faults, "syn with a grant"));
  await ask(site.instance.name, { type: "grant-revoke", grant: id });
  const revoked = await toldBy(site);
  assert.deepEqual(rowTexts(revoked.rows), known);
  rounds.push(await scanRound(site, "connect", probes, faults, "connect once it is revoked"));
  assert.deepEqual(faults, []);
});

test("a direct conduit opens its ports and not their neighbors", async (t) => {
  const here = standing(t);
  if (here === undefined) return;
  const { site } = here;
  beforeDirect = await toldBy(site);
  const { name, text } = plantPolicy();
  const always = text.replace("    when: sunday-maintenance\n", "");
  assert.notEqual(always, text);
  await applyAndConfirm(site.product, { name, text: always });
  const faults: string[] = [];
  const probes = probesOf(here.ports.policy, AFTER_CHANGE);
  const told = await toldBy(site);
  const direct = probes.flatMap((probe) =>
    conversations(told, probe, "connect").filter(({ row }) => row.via === "direct"),
  );
  assert.deepEqual(
    direct.map(({ port }) => port),
    [4711, 4712, 4713],
  );
  for (const kind of ["connect", "syn", "fragments", "ip-options"] as const) {
    rounds.push(await scanRound(site, kind, probes, faults, `${kind} with a direct conduit`));
  }
  assert.deepEqual(faults, []);
});

let seen: readonly Sighting[] = [];

test("every link showed what the matrix says and nothing else, in every round", async (t) => {
  const here = standing(t);
  if (here === undefined) return;
  seen = await here.links.stop();
  assert.equal(here.links.names.length, HOSTS.length + 5, here.links.names.join(" "));
  assert.equal(rounds.length, 13);
  for (const round of rounds) {
    await t.test(round.name, () => {
      assert.deepEqual(judge(round, seen), []);
    });
  }
});

test("a conduit left out of the matrix, or one too many, is noticed on the links", (t) => {
  const here = standing(t);
  if (here === undefined) return;
  const { first, ports } = here;
  const round = rounds.find(({ name }) => name === "connect");
  assert.ok(round !== undefined);
  const probes = probesOf(ports.tcp);
  const from = (told: Told): Round => {
    const facts = expectedFacts(told, probes, "connect");
    return { ...round, required: facts, allowed: new Set([...facts, ...heard]) };
  };
  const heard = [...round.allowed].filter((fact) => !round.required.has(fact));
  assert.deepEqual(judge(from(first), seen), []);
  for (const left of first.rows.filter(({ via }) => via === "proxy" || via === "inspect")) {
    const narrower = { ...first, rows: first.rows.filter((row) => row !== left) };
    const found = judge(from(narrower), seen);
    assert.ok(
      found.some((line) => line.startsWith("too much")),
      left.conduit,
    );
  }
  const [row] = first.rows;
  assert.ok(row !== undefined);
  const open = { ...row, answeredBy: "target" as const, ports: [{ first: 503, last: 503 }] };
  const found = judge(from({ ...first, rows: [...first.rows, open] }), seen);
  assert.ok(found.some((line) => line.startsWith("missing")));
  assert.ok(beforeDirect !== undefined);
  const direct = rounds.find(({ name }) => name === "connect with a direct conduit");
  assert.ok(direct !== undefined);
  const old = expectedFacts(beforeDirect, probesOf(ports.policy, AFTER_CHANGE), "connect");
  const stale = { ...direct, allowed: new Set([...old, ...heard]), required: old };
  assert.equal(
    judge(stale, seen).length > 0,
    beforeDirect.rows.every(({ via }) => via !== "direct"),
  );
});

test("a scan that answers otherwise than the matrix, or not at all, is noticed", (t) => {
  const here = standing(t);
  if (here === undefined) return;
  const probe: Probe = { from: "erp", targets: ["10.41.0.10"], ports: "501-503" };
  const control = { target: "10.10.0.11", port: 7779, state: "open" };
  const open = { target: "10.41.0.10", port: 502, state: "open" };
  const faults = (ports: readonly (typeof open)[], others = "filtered"): string => {
    const { answers, silences } = surveyFaults(here.first, probe, "syn", {
      ports,
      others: [{ target: "10.41.0.10", state: others, count: 2 }],
      targets: ["10.41.0.10", "10.10.0.11"],
    });
    return `${answers.length} too many, ${silences.length} missing`;
  };
  assert.equal(faults([control, open]), "0 too many, 0 missing");
  assert.equal(faults([open]), "0 too many, 1 missing", "the control port");
  assert.equal(faults([control]), "0 too many, 1 missing", "an allowed port that is silent");
  const beside = { ...open, port: 503, state: "closed" };
  assert.equal(faults([control, open, beside]), "1 too many, 0 missing");
  assert.equal(faults([control, open], "closed"), "1 too many, 0 missing");
});
