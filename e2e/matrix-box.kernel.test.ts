import assert from "node:assert/strict";
import process from "node:process";
import { after, before, test, type TestContext } from "node:test";
import { formatIpv4, type Ipv4 } from "@sallyport/core";
import type { Legs } from "@sallyport/policy";
import type { ScanKind } from "../lab/attacks.ts";
import { readModbus } from "../lab/client.ts";
import { whyNoNamespaces } from "../lab/namespaces.ts";
import { HOSTS, type HostName, segmentOf } from "../lab/plant.ts";
import { boxAddresses, othersOf } from "./matrix/plant-ports.ts";
import {
  conversations,
  inTurns,
  judge,
  playRound,
  type Probe,
  type Round,
  scanRound,
} from "./matrix/rounds.ts";
import { buildStand, type Stand } from "./matrix/stand.ts";

const why = process.getuid?.() === 0 ? await whyNoNamespaces() : "needs root: rooms, eBPF and uids";
const SOURCES: readonly HostName[] = HOSTS.map(({ name }) => name);
/** What else a gateway might answer: ssh, dns, http, ntp, snmp, https, syslog, and our console's. */
const BOX_PORTS = "22,53,80,123,161,443,514,8080,8443";
const TRANSIT_SIZE = 256;

let stand: Stand | undefined;
const rounds: Round[] = [];

before(async () => {
  if (why === undefined) stand = await buildStand("b");
});
after(async () => {
  await stand?.site.destroy();
});

function standing(t: TestContext): Stand | undefined {
  if (stand === undefined) t.skip(why ?? "no plant");
  return stand;
}

/** Networks and broadcasts of the other segments: those of its own no router ever sees. */
function broadcastsFor(legs: Legs, from: HostName): string[] {
  const { gateway } = segmentOf(from);
  const own = gateway.slice(0, gateway.lastIndexOf(".") + 1);
  return legs.broadcast.map(formatIpv4).filter((address) => !address.startsWith(own));
}

/** Every address of the /24 around each of the box's transit addresses. */
function transitAddresses({ transit }: Legs): string[] {
  return [transit.outer, transit.inner].flatMap((own: Ipv4) =>
    Array.from({ length: TRANSIT_SIZE }, (_, index) => formatIpv4(own - (own % 256) + index)),
  );
}

const KINDS: readonly ScanKind[] = ["connect", "syn", "udp", "fragments", "ip-options"];
for (const kind of KINDS) {
  test(`nmap, ${kind}, finds nothing of the gateway, of its rooms, of any broadcast address`, async (t) => {
    const here = standing(t);
    if (here === undefined) return;
    const { site, ports, first } = here;
    const faults: string[] = [];
    const box = boxAddresses(first.legs);
    assert.equal(box.length, 8 + 11);
    const addressed = SOURCES.map((from) => ({
      from,
      targets: [...box, ...broadcastsFor(first.legs, from)],
      ports: kind === "udp" ? ports.udp : ports.tcp,
    }));
    rounds.push(await scanRound(site, kind, addressed, faults, `${kind} to the box`));
    assert.deepEqual(faults, []);
  });

  test(`nmap, ${kind}, finds no listener in all of the transit networks`, async (t) => {
    const here = standing(t);
    if (here === undefined) return;
    const faults: string[] = [];
    const ranges = SOURCES.map((from) => ({
      from,
      targets: transitAddresses(here.first.legs),
      ports: `${here.ports.policy},${BOX_PORTS}`,
    }));
    rounds.push(await scanRound(here.site, kind, ranges, faults, `${kind} to the transit`));
    assert.deepEqual(faults, []);
  });
}

test("the listeners were there all the time: through their conduits each of them answers", async (t) => {
  const here = standing(t);
  if (here === undefined) return;
  const { site, first } = here;
  const probes: Probe[] = SOURCES.flatMap((from) =>
    conversations(first, { from, targets: othersOf(from), ports: "502" }, "talk").map(
      ({ target }) => ({ from, targets: [target], ports: "502" }),
    ),
  );
  assert.equal(probes.length, 5);
  const round = await playRound(site, "through conduits", "talk", probes, async () => {
    await inTurns(probes, async ({ from, targets }) => {
      const to = { address: targets[0] ?? "", port: 502 };
      const answer = await readModbus(site.plant, from, to, {
        area: "holding",
        address: 20,
        count: 1,
      });
      assert.ok(answer.ok, `${from} ${JSON.stringify(answer)}`);
    });
  });
  rounds.push(round);
});

test("no link showed anything that the matrix does not say", async (t) => {
  const here = standing(t);
  if (here === undefined) return;
  const seen = await here.links.stop();
  assert.equal(rounds.length, 2 * KINDS.length + 1);
  for (const round of rounds) {
    await t.test(round.name, () => {
      assert.deepEqual(judge(round, seen), []);
    });
  }
});
