/**
 * Beside an engine that only judges: the address translation to a gate, for packets that carry that
 * engine's inspected mark and for no others; and, for those with its mark `pass` that are on their
 * way out to a zone with `source: gateway`, the gateway's own address as their source. It allows
 * nothing: what it does not translate to a gate, the mark's own routing table stops; what it does not
 * send from the gateway's address gets no answer that the engine would take.
 */
import { contains, formatIpv4, type Interval, type Ipv4, subtract, union } from "@sallyport/core";
import type { Legs, Point, Redirect } from "@sallyport/policy/legs";
import { type Lowering, MARKS, type Slot } from "../engine.ts";
import { conntrackSysctls } from "../nftables/conntrack.ts";
import { dialledFrom } from "../nftables/places.ts";
import type {
  Engine,
  EngineCounters,
  EngineState,
  Entries,
  GrantRow,
  Selection,
} from "./engine-port.ts";
import { bootMs } from "./guard.ts";
import { run } from "./run.ts";
import { mustBeWritten } from "./written.ts";

/** What the boot clock is rounded to; an end may come so much early, never late. */
const BOOT_CLOCK_STEP_MS = 10;
const TABLE = "ip sallyport_gates";
const KEY = "ipv4_addr . ipv4_addr . inet_service : ipv4_addr . inet_service";
const DIALLED = "ip saddr . ip daddr . tcp dport";
const FRAME = `
add table ${TABLE}
add map ${TABLE} pending { type mark : verdict; flags timeout; }
add chain ${TABLE} gates { type nat hook prerouting priority dstnat; policy accept; }
add chain ${TABLE} confirmed
flush chain ${TABLE} gates
add map ${TABLE} pending_dialled { type mark : verdict; flags timeout; }
add chain ${TABLE} confirmed_dialled
${[0, 1]
  .map(
    (slot) => `add map ${TABLE} conduits_${slot} { type ${KEY}; flags interval; }
add map ${TABLE} grants_${slot} { type ${KEY}; }
add chain ${TABLE} slot_${slot}
flush chain ${TABLE} slot_${slot}
add map ${TABLE} dialled_from_${slot} { type ipv4_addr : ipv4_addr; flags interval; }
add chain ${TABLE} dialled_${slot}
add rule ${TABLE} slot_${slot} dnat ip to ${DIALLED} map @grants_${slot}
add rule ${TABLE} slot_${slot} dnat ip to ${DIALLED} map @conduits_${slot}`,
  )
  .join("\n")}
add rule ${TABLE} gates meta mark & 0xffff0000 != ${MARKS.inspectBase} accept
add rule ${TABLE} gates meta mark & 0 vmap @pending
add rule ${TABLE} gates goto confirmed
`;

/**
 * Added with the first such zone: else each new session would pay for it. The port by name, because
 * the kernel would choose another one where it is taken, and the engine knows answers by their port.
 */
const dialling = (slot: Slot): readonly string[] => [
  `add chain ${TABLE} dial { type nat hook postrouting priority srcnat; policy accept; }`,
  `flush chain ${TABLE} dial`,
  `add rule ${TABLE} dial meta mark != ${MARKS.pass} accept`,
  `add rule ${TABLE} dial meta mark & 0 vmap @pending_dialled`,
  `add rule ${TABLE} dial goto confirmed_dialled`,
  `flush chain ${TABLE} dialled_${slot}`,
  `add rule ${TABLE} dialled_${slot} meta l4proto { tcp, udp } snat to ip daddr map @dialled_from_${slot} : th sport`,
  `add rule ${TABLE} dialled_${slot} meta l4proto icmp snat to ip daddr map @dialled_from_${slot}`,
];

export class TranslatedEngine implements Engine {
  readonly point: Point;
  readonly kind: Engine["kind"];
  private readonly engine: Engine;
  private readonly netns: string;

  constructor(engine: Engine, netns: string) {
    this.point = engine.point;
    this.kind = engine.kind;
    this.engine = engine;
    this.netns = netns;
  }

  /** Translated sessions live as long in connection tracking as in the engine. */
  sysctls(legs: Legs): Readonly<Record<string, string>> {
    const isDialling = dialledFrom(legs, this.point).length > 0;
    return { ...(isDialling ? conntrackSysctls(legs.limits) : {}), ...this.engine.sysctls(legs) };
  }

  async install(legs: Legs): Promise<void> {
    await Promise.all([this.engine.install(legs), this.nft(FRAME)]);
  }

  attach(interfaces: readonly string[]): Promise<void> {
    return this.engine.attach(interfaces);
  }

  async load(lowering: Lowering): Promise<void> {
    const { slot, legs } = lowering;
    const names = [`conduits_${slot}`, `grants_${slot}`] as const;
    const sources = dialledFrom(legs, this.point).map(
      (part) => `${rangeOf(part)} : ${formatIpv4(part.address)}`,
    );
    const lines = [
      ...[...names, `dialled_from_${slot}`].map((name) => `flush map ${TABLE} ${name}`),
      ...(sources.length > 0 ? dialling(slot) : []),
      ...adding(`dialled_from_${slot}`, sources),
      ...adding(names[0], conduitElements(legs, this.point)),
      ...adding(names[1], granted(lowering)),
    ];
    await Promise.all([this.engine.load(lowering), this.nft(lines.join("\n"))]);
  }

  async select(selection: Selection): Promise<void> {
    const { confirmed, pending } = selection;
    const lines = [
      ["pending", "confirmed", "slot"],
      ["pending_dialled", "confirmed_dialled", "dialled"],
    ].flatMap(([map = "", chain = "", name = ""]) => [
      `flush map ${TABLE} ${map}`,
      `flush chain ${TABLE} ${chain}`,
      `add rule ${TABLE} ${chain} goto ${name}_${confirmed}`,
      ...(pending === undefined
        ? []
        : [
            `add element ${TABLE} ${map} { 0 timeout ${Math.ceil(pending.forMs / 1000)}s : goto ${name}_${pending.slot} }`,
          ]),
    ]);
    const from = bootMs();
    await this.nft(lines.join("\n"));
    // The engine's time runs already: told the whole of it, it would fall back late.
    const tookMs = bootMs() - from;
    const rest =
      pending === undefined ? {} : { pending: { ...pending, forMs: pending.forMs - tookMs } };
    await this.engine.select({ confirmed, ...rest });
  }

  setLive(...args: Parameters<Engine["setLive"]>): Promise<Entries> {
    return this.engine.setLive(...args);
  }

  async addGrant(lowering: Lowering, row: GrantRow): Promise<Entries> {
    const from = bootMs();
    const ours = await this.fillGrants(lowering);
    // The engine takes the lowering's moment for its own: an end told later would come later.
    const now = lowering.now + Math.ceil(bootMs() - from) + BOOT_CLOCK_STEP_MS;
    return new Map([...ours, ...(await this.engine.addGrant({ ...lowering, now }, row))]);
  }

  async removeGrant(lowering: Lowering, row: GrantRow): Promise<Entries> {
    const theirs = await this.engine.removeGrant(lowering, row);
    return new Map([...theirs, ...(await this.fillGrants(lowering))]);
  }

  async readBack(): Promise<EngineState> {
    const [state, text] = await Promise.all([
      this.engine.readBack(),
      run("nft", ["-s", "list", "ruleset"], { netns: this.netns }),
    ]);
    // The timed element comes and goes by itself; the engine itself says which slot is in force.
    const lasting = text.replaceAll(/map pending(?:_dialled)? \{[^}]*(\{[^}]*\}[^}]*)?\}/g, "");
    const digest = `${state.digest} ${lasting.replaceAll(GRANTS, "")}`;
    return { ...state, digest, entries: new Map([...state.entries, ...grantsIn(text)]) };
  }

  counters(): Promise<EngineCounters> {
    return this.engine.counters();
  }

  remove(): Promise<void> {
    return this.engine.remove();
  }

  /** Flushed and filled in one step, and read back. */
  private async fillGrants(lowering: Lowering): Promise<Entries> {
    const name = `grants_${lowering.slot}`;
    const elements = granted(lowering);
    await this.nft([`flush map ${TABLE} ${name}`, ...adding(name, elements)].join("\n"));
    const words = ["-s", "list", "map", ...TABLE.split(" "), name];
    const found = grantsIn(await run("nft", words, { netns: this.netns }));
    const wanted = new Map([[name, sortedText(elements)]]);
    mustBeWritten(this.point, wanted, found);
    return wanted;
  }

  private async nft(input: string): Promise<void> {
    if (input !== "") await run("nft", ["-f", "-"], { netns: this.netns, input: `${input}\n` });
  }
}

function adding(map: string, elements: readonly string[]): string[] {
  return elements.length === 0 ? [] : [`add element ${TABLE} ${map} { ${elements.join(", ")} }`];
}

/** A map of grants in a listing, and what is in it. */
const GRANTS = /map (grants_[01]) \{([^{}]*)(?:\{([^{}]*)\}\s*)?\}/g;

function grantsIn(text: string): Map<string, string> {
  return new Map(
    [...text.matchAll(GRANTS)].map(([, name = "", , elements = ""]) => {
      const each = elements.split(",").map((one) => one.trim().replace(/\s+/g, " "));
      return [name, sortedText(each.filter((one) => one !== ""))];
    }),
  );
}

function sortedText(elements: readonly string[]): string {
  return [...elements].sort().join(", ");
}

function granted({ legs, point, grants }: Lowering): string[] {
  return [...new Set(grants.flatMap((row) => grantElements(legs, point, row)))];
}

function rangeOf({ first, last }: Interval): string {
  return [...new Set([first, last])].map(formatIpv4).join("-");
}

/** By name, as packets choose their conduit: a source that an earlier one covers stays with it. */
function conduitElements(legs: Legs, point: Point): string[] {
  const covered = new Map<string, Interval[]>();
  const out: string[] = [];
  for (const conduit of legs.conduits) {
    if (conduit.session !== undefined) continue;
    for (const leg of conduit.legs.filter((one) => one.point === point)) {
      for (const redirect of leg.redirects) {
        const key = `${redirect.address}:${redirect.port}`;
        const taken = covered.get(key) ?? [];
        covered.set(key, union(taken, leg.from));
        out.push(...subtract(leg.from, taken).map((source) => element(source, redirect)));
      }
    }
  }
  return out;
}

function grantElements(legs: Legs, point: Point, { grant }: GrantRow): string[] {
  const conduit = legs.conduits.find(({ name }) => name === grant.conduit);
  const legsHere = conduit?.legs.filter((leg) => leg.point === point) ?? [];
  return legsHere
    .filter((leg) => contains(leg.from, grant.source))
    .flatMap((leg) => leg.redirects)
    .filter(
      ({ slot, address, port }) =>
        slot === grant.slot && address === grant.target && port === grant.port,
    )
    .map((redirect) => element({ first: grant.source, last: grant.source }, redirect));
}

function element(source: { first: Ipv4; last: Ipv4 }, redirect: Redirect): string {
  const from = rangeOf(source);
  const { address, port, listenAddress, listenPort } = redirect;
  return `${from} . ${formatIpv4(address)} . ${port} : ${formatIpv4(listenAddress)} . ${listenPort}`;
}
