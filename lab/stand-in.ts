/**
 * Routers that stand where the gateway will, so that the lab can be tested without the product: one
 * lets everything pass, the other drops by a dozen rules written by hand. Neither decodes anything.
 */
import { type DenialSeen, type GatewayPort, type GatewayState } from "./story.ts";
import { SEGMENTS } from "./plant.ts";
import { must } from "./shell.ts";
import type { Plant } from "./topology.ts";

export interface StandIn {
  readonly port: GatewayPort;
  /** Gives the NICs back to the box and removes the router. */
  remove(): Promise<void>;
}

/** Rules of the strict one, each a counter named `<reason>-<from zone>-to-<to zone>`. */
const STRICT_RULES = `
table ip filter {
  chain pre {
    type filter hook prerouting priority -450; policy accept;
    ip frag-off & 0x3fff != 0 counter name "fragment" drop
    @nh,0,8 != 0x45 counter name "options" drop
    iifname "cellb0" ip saddr != 10.42.0.0/24 counter name "wrong" drop
  }
  chain forward {
    type filter hook forward priority 0; policy drop;
    ip saddr 10.20.0.10 ip daddr 10.42.0.10 tcp dport 502 counter name "grant" drop
    ip saddr 10.10.0.0/24 ip daddr 10.41.0.0/24 counter name "it" drop
    ip saddr 10.20.0.0/24 ip daddr 10.42.0.0/24 counter name "vendor" drop
    ip saddr 10.42.0.0/24 ip daddr 10.41.0.0/24 counter name "cell" drop
  }
  counter fragment {}
  counter options {}
  counter wrong {}
  counter grant {}
  counter it {}
  counter vendor {}
  counter cell {}
}
`;

const MEANINGS: Readonly<Record<string, Omit<DenialSeen, "count">>> = {
  fragment: { reason: "fragment", fromZone: "", toZone: "", conduit: "" },
  options: { reason: "ip-options", fromZone: "", toZone: "", conduit: "" },
  wrong: { reason: "wrong-interface", fromZone: "", toZone: "", conduit: "" },
  grant: {
    reason: "no-grant",
    fromZone: "vendor",
    toZone: "cell-b",
    conduit: "vendor-services-press",
  },
  it: { reason: "no-conduit", fromZone: "enterprise", toZone: "cell-a", conduit: "" },
  vendor: { reason: "no-conduit", fromZone: "vendor", toZone: "cell-b", conduit: "" },
  cell: { reason: "no-conduit", fromZone: "cell-b", toZone: "cell-a", conduit: "" },
};

export async function standIn(plant: Plant, kind: "open" | "strict"): Promise<StandIn> {
  const router = `${plant.prefix}-router`;
  await must(["ip", "netns", "add", router]);
  for (const { nic, gateway, prefixLength } of SEGMENTS) {
    await must(["ip", "-n", plant.box, "link", "set", nic, "netns", router]);
    const lines = [`address add ${gateway}/${prefixLength} dev ${nic}`, `link set ${nic} up`];
    await must(["ip", "-n", router, "-batch", "-"], { input: `${lines.join("\n")}\n` });
  }
  const settings = ["net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0"];
  settings.push(...SEGMENTS.map(({ nic }) => `net.ipv4.conf.${nic}.rp_filter=0`));
  await must(["sysctl", "-q", "-w", ...settings], { netns: router });
  if (kind === "strict") await must(["nft", "-f", "-"], { netns: router, input: STRICT_RULES });
  return {
    port: new StandInPort(router, kind === "strict"),
    remove: async () => {
      for (const { nic } of SEGMENTS) {
        await must(["ip", "-n", router, "link", "set", nic, "down"]);
        await must(["ip", "-n", router, "link", "set", nic, "netns", plant.box]);
      }
      await must(["ip", "netns", "del", router]);
    },
  };
}

/** Grants nothing, applies nothing, and says so truthfully: it accepts each wish and does nothing. */
class StandInPort implements GatewayPort {
  readonly mode = "kernel";
  readonly #router: string;
  readonly #isStrict: boolean;
  readonly #state: GatewayState = { generation: 1, pending: false };

  constructor(router: string, isStrict: boolean) {
    this.#router = router;
    this.#isStrict = isStrict;
  }

  dial(): undefined {
    return undefined;
  }

  egressAddress(): Promise<string> {
    return Promise.resolve("10.31.0.2");
  }

  /** Since the last question: it has counters and no clock. */
  async denials(): Promise<readonly DenialSeen[]> {
    if (!this.#isStrict) return [];
    const listed = await must(["nft", "reset", "counters", "table", "ip", "filter"], {
      netns: this.#router,
    });
    const out: DenialSeen[] = [];
    for (const found of listed.matchAll(/counter (\w+) \{\s*packets (\d+)/g)) {
      const meaning = MEANINGS[found[1] ?? ""];
      if (meaning !== undefined) out.push({ ...meaning, count: Number(found[2]) });
    }
    return out;
  }

  grant(): Promise<{ id: string; notAfter: number }> {
    return Promise.resolve({ id: "g-none", notAfter: Date.now() + 500 });
  }

  apply(): Promise<{ kind: "pending"; generation: number }> {
    return Promise.resolve({ kind: "pending", generation: 2 });
  }

  status(): Promise<GatewayState> {
    return Promise.resolve(this.#state);
  }

  detachProgram(): Promise<{ repair(): Promise<void> }> {
    return Promise.resolve({ repair: () => Promise.resolve() });
  }
}
