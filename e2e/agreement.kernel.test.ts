import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Lowering } from "@sallyport/enforce/agreement";
import { compilePolicy, type Legs, type Point } from "@sallyport/policy";
import { generatePolicy } from "../lab/generate-policy.ts";
import { agree, disagreements, textOf } from "./agreement/agreement.ts";
import { dialledSequences, sameKeySequence } from "./agreement/dialled-sequences.ts";
import { classFrames, kernelFrames, randomFrames } from "./agreement/frames.ts";
import { groundOf, type Sequence, sequencesOf } from "./agreement/sequences.ts";
import { ebpfWorld, ModelWorld, nftWorld, type Situation, type World } from "./agreement/worlds.ts";

const SKIP = process.getuid?.() === 0 ? false : "needs root: eBPF and network namespaces";
const POINTS: readonly Point[] = ["outer", "inner"];
const RANDOM_FRAMES = 20_000;
const GENERATED_POLICIES = 20;
const GENERATED_RANDOM = 300;
const PLANT = path.join(import.meta.dirname, "../lab/plant/site.yaml");

function compiled(files: Parameters<typeof compilePolicy>[0]): Legs {
  const { legs, diagnostics } = compilePolicy(files, { now: Date.now() });
  assert.ok(legs !== undefined, JSON.stringify(diagnostics.slice(0, 3)));
  return legs;
}

function plantLegs(): Legs {
  return compiled([{ name: "site.yaml", bytes: fs.readFileSync(PLANT) }]);
}

/** The same plant, but no device there knows a way back: each is dialled from the gateway's address. */
function dialledLegs(): Legs {
  const text = fs
    .readFileSync(PLANT, "utf8")
    .replaceAll(/^    kind: (?:control|safety|business)$/gm, "$&\n    source: gateway");
  const legs = compiled([{ name: "site.yaml", bytes: new TextEncoder().encode(text) }]);
  assert.equal(legs.zones.filter(({ dialledFrom }) => dialledFrom !== undefined).length, 5);
  return legs;
}

async function withWorlds(
  situation: Situation,
  use: (worlds: readonly World[]) => Promise<void>,
): Promise<void> {
  const worlds: World[] = [new ModelWorld(situation.point)];
  try {
    worlds.push(await ebpfWorld(), await nftWorld(situation));
    await use(worlds);
  } finally {
    for (const world of worlds) await world.close();
  }
}

for (const point of POINTS) {
  test(`${point}: model, eBPF and nftables judge every class of packet and ${RANDOM_FRAMES} random ones alike`, {
    skip: SKIP,
  }, async () => {
    const legs = plantLegs();
    const situation: Situation = { legs, point, circumstances: {} };
    const groups = [
      classFrames(legs, point, 1),
      kernelFrames(legs, point),
      randomFrames(legs, point, 2, RANDOM_FRAMES),
    ];
    let judged = 0;
    for (const frames of groups) {
      await withWorlds(situation, async (worlds) => {
        assert.deepEqual(await disagreements(worlds, situation, frames), { count: 0, shown: [] });
      });
      judged += frames.length;
    }
    assert.ok(judged > RANDOM_FRAMES + 5000, `${judged} frames were judged`);
  });
}

for (const point of POINTS) {
  test(`${point}: the three judge alike where devices are dialled from the gateway's address`, {
    skip: SKIP,
  }, async () => {
    const legs = dialledLegs();
    const situation: Situation = { legs, point, circumstances: {} };
    const frames = [...classFrames(legs, point, 4), ...randomFrames(legs, point, 5, 5000)];
    await withWorlds(situation, async (worlds) => {
      assert.deepEqual(await disagreements(worlds, situation, frames), { count: 0, shown: [] });
    });
  });
}

test("conversations with devices that are dialled from the gateway's address come to the same end", {
  skip: SKIP,
}, async (t) => {
  for (const sequence of dialledSequences(groundOf(dialledLegs()))) {
    await t.test(sequence.name, async () => {
      await playSequence(sequence);
    });
  }
  const same = sameKeySequence(groundOf(dialledLegs()));
  await t.test(same.name, async () => {
    await playSequence(same, ["model", "eBPF"]);
  });
});

test(`the three agree on ${GENERATED_POLICIES} generated policies`, { skip: SKIP }, async () => {
  for (let seed = 1; seed <= GENERATED_POLICIES; seed++) {
    const files = generatePolicy(seed, { conduits: 5 + seed * 2, zones: 3 + (seed % 5) });
    const encoder = new TextEncoder();
    const legs = compiled(files.map(({ name, text }) => ({ name, bytes: encoder.encode(text) })));
    const point = POINTS[seed % 2] ?? "inner";
    const situation: Situation = { legs, point, circumstances: {} };
    const frames = randomFrames(legs, point, seed, GENERATED_RANDOM).concat(
      classFrames(legs, point, seed).filter((_, index) => index % 7 === 0),
    );
    await withWorlds(situation, async (worlds) => {
      const found = await disagreements(worlds, situation, frames);
      assert.deepEqual(found, { count: 0, shown: [] }, `policy of seed ${seed}`);
    });
  }
});

test("conversations over time come to the same end in all three, and to the right one", {
  skip: SKIP,
}, async (t) => {
  for (const sequence of sequencesOf(groundOf(plantLegs()))) {
    await t.test(sequence.name, async () => {
      await playSequence(sequence);
    });
  }
});

async function playSequence(
  sequence: Sequence,
  names: readonly string[] = ["model", "eBPF", "nftables"],
): Promise<void> {
  const first = sequence.steps.find((step) => "load" in step);
  assert.ok(first !== undefined && "load" in first);
  await withWorlds(first.load(Date.now()), async (all) => {
    const worlds = all.filter(({ name }) => names.includes(name));
    assert.equal(worlds.length, names.length);
    for (const step of sequence.steps) {
      if ("waitMs" in step) await sleep(step.waitMs);
      else if ("load" in step) {
        const situation = step.load(Date.now());
        for (const world of worlds) await world.load(situation);
      } else {
        for (const world of worlds) {
          const seen = await world.run(step.send);
          step.send.forEach((frame, index) => {
            const answer = seen[index];
            const got = answer?.verdict === "allow" ? "allow" : answer?.reason;
            assert.equal(got, frame.expect, `${world.name}: ${frame.what}`);
          });
        }
      }
    }
  });
}

/** Each is a mistake that a rule compiler could make. */
const FAULTS: Readonly<Record<string, (lowering: Lowering) => Lowering>> = {
  "a network one address too wide": edited((leg) => ({
    ...leg,
    from: leg.from.map(({ first, last }) => ({ first, last: last + 1 })),
  })),
  "a port one too many": edited((leg) => ({
    ...leg,
    ports: leg.ports.map(({ first, last }) => ({ first, last: last + 1 })),
  })),
  "a destination one off": edited((leg) => ({
    ...leg,
    to: leg.to.map(({ first, last }) => ({ first: first - 1, last })),
  })),
  "a conduit left out": (lowering) => ({
    ...lowering,
    legs: { ...lowering.legs, conduits: lowering.legs.conduits.slice(1) },
  }),
  "zones on any interface": (lowering) => {
    const here = lowering.legs.zones.find(({ point }) => point === lowering.point)?.interface ?? "";
    const zones = lowering.legs.zones.map((zone) => ({
      ...zone,
      interface: here,
      point: lowering.point,
    }));
    return { ...lowering, legs: { ...lowering.legs, zones } };
  },
  "own addresses not carved out": (lowering) => ({
    ...lowering,
    legs: { ...lowering.legs, own: [] },
  }),
};

function edited(
  change: (leg: Legs["conduits"][number]["legs"][number]) => typeof leg,
): (lowering: Lowering) => Lowering {
  return (lowering) => {
    const conduits = lowering.legs.conduits.map((conduit) => ({
      ...conduit,
      legs: conduit.legs.map(change),
    }));
    return { ...lowering, legs: { ...lowering.legs, conduits } };
  };
}

for (const [fault, plant] of Object.entries(FAULTS)) {
  test(`a fault planted in either compiler is found: ${fault}`, { skip: SKIP }, async () => {
    const legs = plantLegs();
    const situation: Situation = { legs, point: "inner", circumstances: {} };
    const frames = classFrames(legs, "inner", 3);
    for (const faulty of [() => ebpfWorld(plant), () => nftWorld(situation, plant)]) {
      const worlds = [new ModelWorld("inner"), await faulty()];
      try {
        const { count } = await disagreements(worlds, situation, frames);
        assert.ok(count > 0, `${worlds[1]?.name ?? ""}: nothing was noticed`);
      } finally {
        for (const world of worlds) await world.close();
      }
    }
  });
}

test("the comparison itself can fail", () => {
  assert.equal(agree(["allow a", "allow a", "deny no-conduit"]), false);
  assert.equal(agree(["deny short", "deny short", "deny by the kernel"]), true);
  assert.equal(agree(["deny fragment", "deny fragment", "deny by the kernel"]), false);
  assert.equal(
    textOf({ verdict: "deny", reason: undefined, conduit: undefined }),
    "deny by the kernel",
  );
});
