import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as passes } from "node:timers/promises";
import type { Json } from "@sallyport/core";
import type { PacketReason } from "@sallyport/policy/legs";
import {
  ARP,
  CONDUITS,
  conduit,
  FLAG,
  frame,
  GRANT,
  icmpError,
  INSPECT,
  leg,
  lowering,
  NOW,
  PASS,
  plant,
  port,
  span,
  udp,
} from "../ebpf/plant.test-kit.ts";
import type { Lowering } from "../engine.ts";
import { kernelTestsNeed } from "../rooms/site.test-kit.ts";
import { type EngineVerdict, type Frame, Harness } from "./harness.ts";
import { addGrant, removeGrant, select, setLive } from "./lower.ts";
import { readDenied, readHits, readPeers } from "./read.ts";

const skip = kernelTestsNeed() ?? false;
const HMI = "10.40.0.10";
const PLC = "10.41.0.10";
const GATE = "10.31.0.20";
const EGRESS = "10.31.0.21";
const ID = new Map(CONDUITS.map(({ name }, index) => [name, index + 1]));
const PLENTY = { sessionsPerZone: 1000 };

async function withEngine(
  first: Lowering,
  use: (harness: Harness) => Promise<void>,
): Promise<void> {
  const harness = await Harness.open(["sup0", "cella0", "gate-cells", "nic9"]);
  try {
    await harness.load(first);
    await use(harness);
  } finally {
    await harness.close();
  }
}

const tcp = (source: number, target: number, flags: number = FLAG.syn): Uint8Array =>
  frame({ from: HMI, to: PLC, ports: [source, target], flags });
const answer = (source: number, target: number, flags: number): Uint8Array =>
  frame({ from: PLC, to: HMI, ports: [source, target], flags });
const asks = (bytes: Uint8Array): Frame => ({ interface: "sup0", bytes });
const answers = (bytes: Uint8Array): Frame => ({ interface: "cella0", bytes });

/** With its checksum: the kernel's address translation drops an ICMP error whose own is wrong. */
function error(type: number, from: string, to: string, about: Uint8Array): Uint8Array {
  const bytes = icmpError(type, from, to, about);
  const view = new DataView(bytes.buffer);
  let sum = 0;
  for (let at = 34; at + 1 < bytes.length; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(36, ~sum & 0xffff);
  return bytes;
}

function shown({ verdict, reason }: EngineVerdict): string {
  return verdict === "allow" ? (reason ?? "allow") : (reason ?? "deny");
}

async function seen(harness: Harness, ...frames: Frame[]): Promise<string[]> {
  return (await harness.run(frames)).map(shown);
}

const arp = new Uint8Array(42);
arp.set([0x08, 0x06], 12);
const ipv6 = frame({ from: HMI, to: PLC });
ipv6.set([0x86, 0xdd], 12);
const tagged = Uint8Array.from([
  ...tcp(9, 1000).subarray(0, 12),
  0x81,
  0,
  0,
  5,
  ...tcp(9, 1000).subarray(12),
]);

describe("steps of the packet semantics", { skip }, () => {
  // The kernel's own input stops step 3 before any rule: refused, without a reason of ours.
  const cases: readonly [
    string,
    string,
    Uint8Array,
    PacketReason | "deny",
    (number | undefined)?,
  ][] = [
    ["2: IPv6", "sup0", ipv6, "not-ipv4"],
    ["2: a VLAN tag", "sup0", tagged, "not-ipv4"],
    [
      "3: a wrong header checksum",
      "sup0",
      frame({ from: HMI, to: PLC, badChecksum: true }),
      "deny",
    ],
    ["3: IHL 4", "sup0", frame({ from: HMI, to: PLC, patch: { 0: 0x44 } }), "deny"],
    ["3: total length 41 of 40", "sup0", frame({ from: HMI, to: PLC, patch: { 3: 41 } }), "deny"],
    ["4: more fragments", "sup0", frame({ from: HMI, to: PLC, patch: { 6: 0x20 } }), "fragment"],
    ["4: a fragment offset", "sup0", frame({ from: HMI, to: PLC, patch: { 7: 1 } }), "fragment"],
    ["5: options", "sup0", frame({ from: HMI, to: PLC, patch: { 0: 0x46 } }), "ip-options"],
    ["6: TCP of 19 bytes", "sup0", frame({ from: HMI, to: PLC, patch: { 3: 39 } }), "short"],
    [
      "6: UDP of 7 bytes",
      "sup0",
      frame({ from: HMI, to: PLC, protocol: 17, patch: { 3: 27 } }),
      "short",
    ],
    ["7: a source in no zone", "sup0", frame({ from: "8.8.8.8", to: PLC }), "no-src-zone"],
    [
      "7: the box's own address as source",
      "sup0",
      frame({ from: "10.40.0.1", to: PLC }),
      "no-src-zone",
    ],
    [
      "7: a source of another interface",
      "cella0",
      frame({ from: HMI, to: PLC }),
      "wrong-interface",
    ],
    [
      "7: a source of the other point",
      "sup0",
      frame({ from: "10.10.0.9", to: PLC }),
      "wrong-interface",
    ],
    [
      "7: an interface that nobody declared",
      "nic9",
      frame({ from: HMI, to: PLC }),
      "wrong-interface",
    ],
    [
      "9: one of the box's own addresses",
      "sup0",
      frame({ from: HMI, to: "10.41.0.1" }),
      "to-gateway",
    ],
    ["9: a broadcast address", "sup0", frame({ from: HMI, to: "10.41.0.255" }), "multicast"],
    ["9: 224.0.0.0/4", "sup0", frame({ from: HMI, to: "239.255.255.255" }), "multicast"],
    ["9: 255.255.255.255", "sup0", frame({ from: HMI, to: "255.255.255.255" }), "multicast"],
    ["9: an address in no zone", "sup0", frame({ from: HMI, to: "240.0.0.1" }), "no-dst-zone"],
    ["10: the port below", "sup0", tcp(9, 999), "no-conduit"],
    ["10: the port above", "sup0", tcp(9, 1011), "no-conduit"],
    ["10: another protocol", "sup0", frame({ from: HMI, to: PLC, protocol: 47 }), "no-conduit"],
    ["10: a conduit outside its window", "sup0", tcp(9, 600), "outside-window", ID.get("closed")],
    ["10: a session conduit without a grant", "sup0", tcp(9, 4711), "no-grant", ID.get("service")],
    [
      "10: a listener dialled directly",
      "sup0",
      frame({ from: HMI, to: GATE, ports: [9, 5001] }),
      "no-conduit",
    ],
    ["11: an ACK first", "sup0", tcp(9, 1000, FLAG.ack), "not-syn", ID.get("open")],
    [
      "11: a SYN with a bad data offset",
      "sup0",
      frame({ from: HMI, to: PLC, ports: [9, 1000], patch: { 32: 0x40 } }),
      "invalid-state",
      ID.get("open"),
    ],
    [
      "11: UDP whose length lies",
      "sup0",
      frame({ from: HMI, to: PLC, protocol: 17, ports: [9, 161], patch: { 25: 9 } }),
      "invalid-state",
      ID.get("status"),
    ],
    [
      "11: an echo reply first",
      "sup0",
      frame({ from: HMI, to: PLC, icmp: [0, 0, 1] }),
      "invalid-state",
      ID.get("ping"),
    ],
    [
      "11: an error about nothing",
      "sup0",
      icmpError(3, HMI, PLC, tcp(9, 9)),
      "invalid-state",
      ID.get("ping"),
    ],
    ["1: ARP on an undeclared interface", "nic9", arp, "deny"],
  ];

  test("each refuses with its own reason, names the conduit, and is counted", () =>
    withEngine(lowering(plant()), async (harness) => {
      const verdicts = await harness.run(
        cases.map(([, name, bytes]) => ({ interface: name, bytes })),
      );
      assert.equal(verdicts.length, cases.length);
      const wanted = new Map<string, number>();
      cases.forEach(([what, , , reason, id], index) => {
        const expected = reason === "deny" ? undefined : reason;
        assert.deepEqual(
          verdicts[index],
          { verdict: "deny", reason: expected, id: id ?? 0, mark: 0 },
          what,
        );
        if (expected !== undefined) wanted.set(expected, (wanted.get(expected) ?? 0) + 1);
      });
      // The harness's own end marker comes from no zone.
      wanted.set("no-src-zone", (wanted.get("no-src-zone") ?? 0) + 1);
      const denials = readDenied(harness.list("list", "ruleset") as Json, plant(), "inner");
      const counted = new Map<string, number>();
      for (const { reason, packets } of denials)
        counted.set(reason, (counted.get(reason) ?? 0) + packets);
      assert.deepEqual(counted, wanted);
      const spoofed = denials.find(
        ({ reason, sourceZone }) => reason === "wrong-interface" && sourceZone === "enterprise",
      );
      assert.deepEqual(spoofed, {
        point: "inner",
        reason: "wrong-interface",
        sourceZone: "enterprise",
        destinationZone: "cell-a",
        id: 0,
        packets: 1,
      });
    }));

  test("an allowed packet gets the pass mark, ARP its own, a redirected one its gate's", () =>
    withEngine(lowering(plant()), async (harness) => {
      const all = await harness.run([
        asks(tcp(9, 1000)),
        asks(tcp(9, 1010)),
        asks(arp),
        asks(tcp(9, 502)),
        { interface: "gate-cells", bytes: frame({ from: EGRESS, to: PLC, ports: [9, 502] }) },
      ]);
      assert.deepEqual(
        all.map(({ mark }) => mark),
        [PASS, PASS, ARP, INSPECT + 1, PASS],
      );
      const inspected = ID.get("inspected");
      assert.deepEqual(
        all.map(({ id }) => id),
        [ID.get("open"), ID.get("open"), 0, inspected, inspected],
      );
    }));

  test("a gate answers from its listener; the dialled address itself does not", () =>
    withEngine(lowering(plant()), async (harness) => {
      const back = { ports: [5001, 9], flags: FLAG.syn | FLAG.ack } as const;
      const all = await harness.run([
        asks(tcp(9, 502)),
        answers(frame({ from: PLC, to: HMI, ports: [502, 9], flags: FLAG.syn | FLAG.ack })),
        { interface: "gate-cells", bytes: frame({ from: GATE, to: HMI, ...back }) },
        asks(tcp(9, 502, FLAG.ack)),
      ]);
      assert.deepEqual(all.map(shown), ["allow", "no-conduit", "allow", "allow"]);
      assert.deepEqual(
        all.map(({ mark }) => mark),
        [INSPECT + 1, 0, PASS, INSPECT + 1],
      );
    }));

  test("of the conduits that cover a packet the first open one by name carries it, audit last", () =>
    withEngine(
      lowering(
        plant(
          [
            conduit("a-audit", [leg(span(HMI), span(PLC), { ports: [port(1, 9)] })], {
              audit: true,
            }),
            conduit("b-closed", [leg(span(HMI), span(PLC), { ports: [port(1, 8)] })]),
            conduit("c-open", [
              leg(span("10.40.0.2", "10.40.0.99"), span(PLC), { ports: [port(5)] }),
            ]),
            conduit("d-open", [
              leg(span(HMI), span("10.41.0.2", "10.41.0.99"), { ports: [port(5)] }),
            ]),
            conduit("e-closed", [leg(span(HMI), span(PLC), { ports: [port(20, 99)] })]),
            conduit("f-closed", [leg(span(HMI), span(PLC), { ports: [port(20, 99)] })]),
          ],
          PLENTY,
        ),
        0,
        {
          live: {
            "b-closed": { open: false, until: null, closedReason: "island" },
            "e-closed": { open: false, until: null, closedReason: "outside-window" },
            "f-closed": { open: false, until: null, closedReason: "expired" },
          },
        },
      ),
      async (harness) => {
        const verdicts = await harness.run([5, 4, 9, 50].map((to) => asks(tcp(100 + to, to))));
        assert.deepEqual(
          verdicts.map(({ id, reason }) => [id, reason]),
          [
            [3, undefined],
            [1, "would-deny"],
            [1, "would-deny"],
            [5, "outside-window"],
          ],
        );
      },
    ));
});

describe("sessions", { skip }, () => {
  const { syn, ack, fin, rst } = FLAG;
  const STATES = ["opening", "answered", "open", "closing"] as const;
  const WAY_TO: readonly (readonly (readonly ["o" | "r", number])[])[] = [
    [],
    [["r", syn | ack]],
    [
      ["r", syn | ack],
      ["o", ack],
    ],
    [
      ["r", syn | ack],
      ["o", ack],
      ["r", fin | ack],
    ],
  ];
  /** Of the page's table: in which states a packet fits. */
  const FITS: readonly (readonly ["o" | "r", number, string])[] = [
    ["o", syn, "opening answered open closing"],
    ["o", syn | ack, ""],
    ["o", ack, "answered open closing"],
    ["o", fin | ack, "answered open closing"],
    ["o", rst, "opening answered open closing"],
    ["r", syn, ""],
    ["r", syn | ack, "opening answered open closing"],
    ["r", ack, "opening answered open closing"],
    ["r", fin | ack, "answered open closing"],
    ["r", rst, "opening answered open closing"],
  ];

  test("of TCP follow the page's table in every state, both directions", () =>
    withEngine(lowering(plant(CONDUITS, PLENTY)), async (harness) => {
      let local = 2000;
      let checked = 0;
      for (const [side, flags, fits] of FITS) {
        for (const [index, state] of STATES.entries()) {
          local++;
          const send = ([from, bits]: readonly ["o" | "r", number]): Frame =>
            from === "o" ? asks(tcp(local, 1000, bits)) : answers(answer(1000, local, bits));
          const way = [["o", syn] as const, ...(WAY_TO[index] ?? []), [side, flags] as const];
          const verdicts = await harness.run(way.map(send));
          const wanted = fits.split(" ").includes(state) ? "allow" : "deny";
          assert.equal(verdicts.at(-1)?.verdict, wanted, `${side} ${flags} in ${state}`);
          checked++;
        }
      }
      assert.equal(checked, 40);
    }));

  test("are not turned round by a SYN from the answering side, opening or after their end", () =>
    withEngine(lowering(plant(CONDUITS, PLENTY)), async (harness) => {
      const opening = [
        asks(tcp(3000, 1000)),
        answers(answer(1000, 3000, syn)),
        asks(tcp(3000, 1000, syn | ack)),
      ];
      assert.deepEqual(await seen(harness, ...opening), ["allow", "no-conduit", "not-syn"]);
      const whole = [
        asks(tcp(3001, 1000)),
        answers(answer(1000, 3001, syn | ack)),
        asks(tcp(3001, 1000, ack)),
        asks(tcp(3001, 1000, fin | ack)),
        answers(answer(1000, 3001, fin | ack)),
        asks(tcp(3001, 1000, ack)),
        answers(answer(1000, 3001, syn)),
        asks(tcp(3001, 1000, ack)),
      ];
      const all = ["allow", "allow", "allow", "allow", "allow", "allow", "no-conduit", "allow"];
      assert.deepEqual(await seen(harness, ...whole), all);
    }));

  test("of UDP and echo are answered, a diode's are not, errors pass for what they quote only", () =>
    withEngine(lowering(plant(CONDUITS, PLENTY)), async (harness) => {
      const query = udp(HMI, PLC, 9, 161);
      const status = udp(PLC, HMI, 9, 514);
      const steps: [Frame, string][] = [
        [asks(query), "allow"],
        [answers(udp(PLC, HMI, 161, 9)), "allow"],
        [answers(error(3, PLC, HMI, query)), "allow"],
        [answers(error(5, PLC, HMI, query)), "no-conduit"],
        [answers(error(3, PLC, HMI, udp(HMI, PLC, 10, 161))), "no-conduit"],
        [asks(frame({ from: HMI, to: PLC, icmp: [8, 0, 7] })), "allow"],
        [answers(frame({ from: PLC, to: HMI, icmp: [0, 0, 7] })), "allow"],
        [answers(frame({ from: PLC, to: HMI, icmp: [0, 0, 8] })), "no-conduit"],
        [answers(status), "allow"],
        [asks(udp(HMI, PLC, 514, 9)), "no-conduit"],
        [asks(error(3, HMI, PLC, status)), "invalid-state"],
      ];
      assert.deepEqual(
        await seen(harness, ...steps.map(([sent]) => sent)),
        steps.map(([, wanted]) => wanted),
      );
    }));

  test("are refused above the zone's budget, none is evicted, and room comes back with time", () =>
    withEngine(
      lowering(
        plant(CONDUITS, {
          timeoutsSeconds: { tcpOpening: 1, tcpOpen: 9, tcpClosing: 1, udp: 1, icmp: 1 },
        }),
      ),
      async (harness) => {
        const open = (local: number): Frame => asks(udp(HMI, PLC, local, 161));
        const four = await seen(harness, open(1), open(2), open(3), open(4), open(1), open(3));
        assert.deepEqual(four, ["allow", "allow", "allow", "session-limit", "allow", "allow"]);
        assert.equal((await harness.run([open(5)]))[0]?.id, ID.get("status"));
        await passes(2200);
        assert.deepEqual(await seen(harness, open(4)), ["allow"]);
      },
    ));

  test("end with the closed reason of their conduit, and with revoked when it is gone", () =>
    withEngine(lowering(plant(CONDUITS, PLENTY)), async (harness) => {
      const mine = lowering(plant(CONDUITS, PLENTY));
      const entry = { id: ID.get("status") ?? 0, audit: false, diode: false };
      const packet = asks(udp(HMI, PLC, 9, 161));
      assert.deepEqual(await seen(harness, packet), ["allow"]);
      harness.apply(
        setLive(mine, [
          { ...entry, liveness: { open: false, until: null, closedReason: "island" } },
        ]),
      );
      assert.deepEqual(await seen(harness, packet), ["island"]);
      const soon = { open: true, until: NOW + 1000, closedReason: "expired" } as const;
      harness.apply(setLive(mine, [{ ...entry, liveness: soon }]));
      assert.deepEqual(await seen(harness, packet), ["allow"]);
      await passes(1100);
      assert.deepEqual(await seen(harness, packet), ["expired"]);
      const without = plant(
        CONDUITS.filter(({ name }) => name !== "status"),
        PLENTY,
      );
      await harness.load(lowering(without, 1, { ids: Object.fromEntries(ID) }));
      assert.deepEqual(await seen(harness, packet, asks(udp(HMI, PLC, 10, 161))), [
        "revoked",
        "no-conduit",
      ]);
    }));

  test("under a grant need it alive on every packet, and go through its gate", () =>
    withEngine(lowering(plant()), async (harness) => {
      const liveness = {
        open: true,
        until: GRANT.notAfter,
        closedReason: "grant-expired",
      } as const;
      const row = { grant: GRANT, entry: { id: 77, liveness, audit: false, diode: false } };
      const granted = { ...lowering(plant()), grants: [row] };
      harness.apply(addGrant(granted, row));
      const [verdict] = await harness.run([asks(tcp(9, 4711))]);
      assert.deepEqual(verdict, { verdict: "allow", reason: undefined, id: 77, mark: INSPECT + 1 });
      const over = { ...liveness, open: false, until: null };
      harness.apply(setLive(granted, [{ ...row.entry, liveness: over }]));
      assert.deepEqual(await seen(harness, asks(tcp(9, 4711)), asks(tcp(10, 4711))), [
        "grant-expired",
        "grant-expired",
      ]);
      harness.apply(removeGrant(lowering(plant())));
      assert.deepEqual(await seen(harness, asks(tcp(9, 4711)), asks(tcp(10, 4711))), [
        "revoked",
        "no-grant",
      ]);
    }));

  test("under a grant go before a conduit of the same hosts, which has them again at its end", () => {
    const direct = conduit("z-direct", [leg(span(HMI), span(PLC), { ports: [port(4711, 4712)] })]);
    const legs = plant([...CONDUITS, direct], PLENTY);
    return withEngine(lowering(legs), async (harness) => {
      const ids = async (...frames: readonly Frame[]): Promise<unknown[]> =>
        (await harness.run([...frames])).map(({ id }) => id);
      const own = CONDUITS.length + 1;
      assert.deepEqual(await ids(asks(tcp(20, 4711))), [own]);
      const liveness = { open: true, until: null, closedReason: "grant-expired" } as const;
      const row = { grant: GRANT, entry: { id: 77, liveness, audit: false, diode: false } };
      const granted = { ...lowering(legs), grants: [row] };
      harness.apply(addGrant(granted, row));
      assert.deepEqual(await ids(asks(tcp(21, 4711)), asks(tcp(21, 4712))), [77, own]);
      assert.deepEqual(await seen(harness, answers(tcp(22, 4711))), ["wrong-interface"]);
      const over = { ...liveness, open: false, until: null };
      harness.apply(setLive(granted, [{ ...row.entry, liveness: over }]));
      assert.deepEqual(await ids(asks(tcp(23, 4711))), [own]);
      harness.apply(removeGrant(lowering(legs)));
      assert.deepEqual(await ids(asks(tcp(24, 4711))), [own]);
    });
  });

  test("fall back with the pending slot, and are counted by number through all of it", () =>
    withEngine(lowering(plant(CONDUITS, PLENTY)), async (harness) => {
      const packet = asks(udp(HMI, PLC, 9, 161));
      assert.deepEqual(await seen(harness, packet), ["allow"]);
      const without = plant(
        CONDUITS.filter(({ name }) => name !== "status"),
        PLENTY,
      );
      await harness.load(lowering(without, 1, { ids: Object.fromEntries(ID) }));
      harness.apply(select({ confirmed: 0, pending: { slot: 1, seconds: 1 } }));
      assert.deepEqual(await seen(harness, packet), ["revoked"]);
      await passes(1100);
      assert.deepEqual(await seen(harness, packet), ["allow"]);
      const listing = harness.list("list", "ruleset") as Json;
      const hit = readHits(listing).find(({ id }) => id === ID.get("status"));
      assert.deepEqual(hit, { id: ID.get("status"), packets: 2, bytes: 56 });
      assert.deepEqual(
        readPeers(listing).map(({ id, port: target, sessions }) => [id, target, sessions]),
        [[ID.get("status"), 161, 1]],
      );
    }));
});
