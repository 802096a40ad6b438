/**
 * A rule engine of a page for the tests of rooms and apply: nftables text, linear, stateless. It keeps
 * the port's promises (two slots, a timed fallback, a live set, marks) and none of the product's rules.
 */
import { formatIpv4, type Interval } from "@sallyport/core";
import type { Legs, Point } from "@sallyport/policy/legs";
import type {
  Engine,
  EngineCounters,
  EngineState,
  Entries,
  GrantRow,
  Selection,
} from "../apply/engine-port.ts";
import { run } from "../apply/run.ts";
import { type LiveEntry, type Lowering, MARKS } from "../engine.ts";

export class PlainEngine implements Engine {
  readonly kind = "nftables";
  readonly point: Point;
  readonly netns: string;

  constructor(point: Point, netns: string) {
    this.point = point;
    this.netns = netns;
  }

  sysctls(): Readonly<Record<string, string>> {
    return {};
  }

  async install(): Promise<void> {
    await this.nft(`
      table arp plain { chain input { type filter hook input priority 0; meta mark set ${MARKS.arp}; }; }
      table ip plain {
        set live { type mark; flags timeout; }
        map pending { type mark : verdict; flags timeout; }
        map active { type mark : verdict; }
        chain slot0 { }
        chain slot1 { }
        chain entry { type filter hook prerouting priority -150; policy accept;
          meta mark vmap @pending
          meta mark vmap @active
        }
        chain gates { type nat hook prerouting priority -100; policy accept; }
      }`);
  }

  async attach(): Promise<void> {}

  async load(lowering: Lowering): Promise<void> {
    const chain = `slot${lowering.slot}`;
    const lines = [`add chain ip plain ${chain}`, `flush chain ip plain ${chain}`];
    for (const { conduit, leg } of legsAt(lowering.legs, this.point)) {
      const id = lowering.conduits.get(conduit.key)?.id ?? 0;
      const [from, to] = [addresses(leg.from), addresses(leg.to)];
      const port =
        leg.protocol === "icmp"
          ? "ip protocol icmp"
          : `${leg.protocol} dport ${set(leg.ports, String)}`;
      const back = leg.protocol === "icmp" ? port : port.replace("dport", "sport");
      const [redirect] = leg.redirects;
      const index = lowering.legs.rooms.findIndex(({ name }) => name === redirect?.room);
      const mark = redirect === undefined ? MARKS.pass : MARKS.inspectBase + index;
      // The live set is asked through the mark: first the number, then the verdict in its place.
      lines.push(
        `add rule ip plain ${chain} ip saddr ${from} ip daddr ${to} ${port} meta mark set ${id}`,
        `add rule ip plain ${chain} ip saddr ${to} ip daddr ${from} ${back} meta mark set ${id}`,
        `add rule ip plain ${chain} ip daddr ${to} meta mark ${id} meta mark @live meta mark set ${mark}`,
        `add rule ip plain ${chain} ip saddr ${to} meta mark ${id} meta mark @live meta mark set ${MARKS.pass}`,
      );
      if (redirect === undefined) continue;
      const target = `${formatIpv4(redirect.listenAddress)}:${redirect.listenPort}`;
      lines.push(
        `add rule ip plain gates meta mark ${mark} tcp dport ${redirect.port} dnat to ${target}`,
        `add rule ip plain ${chain} ip saddr ${formatIpv4(redirect.listenAddress)} meta mark set ${MARKS.pass}`,
      );
    }
    await this.nft(lines.join("\n"));
    await this.setLive(lowering, [...lowering.conduits.values()]);
  }

  async select({ confirmed, pending }: Selection): Promise<void> {
    const timed =
      pending === undefined
        ? ""
        : `add element ip plain pending { 0 timeout ${Math.ceil(pending.forMs / 1000)}s : jump slot${pending.slot} }`;
    await this.nft(`flush map ip plain pending
      flush map ip plain active
      add element ip plain active { 0 : jump slot${confirmed} }
      ${timed}`);
  }

  async setLive({ now }: Lowering, entries: readonly LiveEntry[]): Promise<Entries> {
    const lines = entries.flatMap(({ id, liveness }) => {
      const { open, until } = liveness;
      const timeout =
        until === null
          ? ""
          : ` timeout ${Math.max(1, Math.min(Math.ceil((until - now) / 1000), 1e6))}s`;
      const gone = [
        `add element ip plain live { ${id} }`,
        `delete element ip plain live { ${id} }`,
      ];
      return open ? [...gone, `add element ip plain live { ${id}${timeout} }`] : gone;
    });
    await this.nft(lines.join("\n"));
    return new Map();
  }

  async addGrant(lowering: Lowering, { grant, entry }: GrantRow): Promise<Entries> {
    const { legs, slot } = lowering;
    const from = formatIpv4(this.point === "outer" ? grant.source : egressOf(legs, grant));
    const to = formatIpv4(grant.target);
    const live = `meta mark set ${entry.id} meta mark @live meta mark set ${MARKS.pass} accept`;
    await this.nft(`
      insert rule ip plain slot${slot} ip saddr ${from} ip daddr ${to} tcp dport ${grant.port} ${live}
      insert rule ip plain slot${slot} ip saddr ${to} ip daddr ${from} tcp sport ${grant.port} ${live}`);
    await this.setLive(lowering, [entry]);
    return this.slotChains(slot);
  }

  async removeGrant(_lowering: Lowering, { entry }: GrantRow): Promise<Entries> {
    await this.nft(
      `add element ip plain live { ${entry.id} }\ndelete element ip plain live { ${entry.id} }`,
    );
    return new Map();
  }

  async readBack(): Promise<EngineState> {
    const text = await this.nft("list ruleset", ["-s"]);
    const now = await this.nft("list map ip plain pending");
    const active = await this.nft("list map ip plain active");
    const slot = /slot([01])/.exec(now)?.[1] ?? /slot([01])/.exec(active)?.[1];
    const timeless = text
      .replace(/ (expires|timeout) [0-9a-z]+/g, "")
      .replace(/\s+elements = \{[^}]*\}/g, "");
    return {
      digest: timeless.replace(/chain slot[01] \{[^}]*(\{[^}]*\}[^}]*)*\}/g, ""),
      entries: await this.slotChains(0, 1),
      slot: slot === "1" ? 1 : 0,
      interfaces: undefined,
    };
  }

  /** Grants add rules here. */
  private async slotChains(...slots: readonly number[]): Promise<Map<string, string>> {
    const chains = slots.map((slot) => `slot${slot}`);
    const texts = await Promise.all(chains.map((name) => this.nft(`list chain ip plain ${name}`)));
    return new Map(chains.map((name, index) => [name, texts[index] ?? ""]));
  }

  async counters(): Promise<EngineCounters> {
    return { hits: [], denials: [], peers: [] };
  }

  async remove(): Promise<void> {}

  private nft(input: string, flags: readonly string[] = []): Promise<string> {
    return run("nft", [...flags, "-f", "-"], { netns: this.netns, input: `${input}\n` });
  }
}

function* legsAt(
  legs: Legs,
  point: Point,
): Generator<{
  conduit: Legs["conduits"][number];
  leg: Legs["conduits"][number]["legs"][number];
}> {
  for (const conduit of legs.conduits) {
    if (conduit.session !== undefined) continue;
    for (const leg of conduit.legs) if (leg.point === point) yield { conduit, leg };
  }
}

function egressOf(legs: Legs, grant: GrantRow["grant"]): number {
  const conduit = legs.conduits.find(({ name }) => name === grant.conduit);
  const listener = conduit?.listeners.find((l) => l.slot === grant.slot && l.asset === grant.asset);
  return listener?.egressAddress ?? 0;
}

function addresses(intervals: readonly Interval[]): string {
  return set(intervals, formatIpv4);
}

function set(intervals: readonly Interval[], show: (value: number) => string): string {
  const items = intervals.map(({ first, last }) =>
    first === last ? show(first) : `${show(first)}-${show(last)}`,
  );
  return `{ ${items.join(", ")} }`;
}
