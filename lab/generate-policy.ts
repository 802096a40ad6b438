/**
 * Policies of any size for agreement runs and benchmarks: valid YAML files, the same for the same
 * seed. They hold every `via`, nested zones, windows, overlapping conduits, sessions and components,
 * and never a conflict that the compiler refuses. Audit modes are left out: they end within 30 days
 * of the compiler's clock, which a file can't know.
 */
export interface GenerateOptions {
  readonly conduits: number;
  /** 4 to 120, with two of IT among them; 8 unless told. */
  readonly zones?: number;
  /** 1 to 200; 10 unless told. */
  readonly assetsPerZone?: number;
  /** `direct`: every conduit between two OT assets on one port. `proxy`: every one from IT through a gate. */
  readonly mix?: "plant" | "direct" | "proxy";
}

export interface GeneratedFile {
  readonly name: string;
  readonly text: string;
}

/** Below the compiler's 1 MiB a file. */
const FILE_CHARACTERS = 900_000;
/** A gate has 12,768 listeners; a few thousand conduits each leave room for sessions' slots. */
const CONDUITS_PER_GATE = 3000;
const EXPIRES = "2035-12-31";

export function generatePolicy(seed: number, options: GenerateOptions): GeneratedFile[] {
  return new Generator(seed, options).files();
}

interface Asset {
  readonly name: string;
  readonly zone: number;
}

const GATED_SERVICES = ["modbus", "opc-ua", "s7", "iec104", "https"];
const DIRECT_FIRST_PORT = 5000;
const DIRECT_PORTS = 1500;
const WIDE_FIRST_PORT = 7000;

class Generator {
  readonly #random: () => number;
  readonly #count: number;
  readonly #mix: "plant" | "direct" | "proxy";
  readonly #assets: Asset[] = [];
  readonly #it: Asset[] = [];
  readonly #ot: Asset[] = [];
  readonly #zoneCount: number;
  readonly #used = new Set<string>();
  readonly #ports = new Set<number>();
  readonly #gates: number;

  constructor(
    seed: number,
    { conduits, zones = 8, assetsPerZone = 10, mix = "plant" }: GenerateOptions,
  ) {
    this.#random = mulberry32(seed);
    this.#count = conduits;
    this.#mix = mix;
    this.#zoneCount = Math.max(4, Math.min(120, zones));
    this.#gates = Math.ceil(conduits / CONDUITS_PER_GATE) || 1;
    for (let zone = 0; zone < this.#zoneCount; zone++) {
      for (let index = 0; index < assetsPerZone; index++) {
        const asset = { name: `a${zone}-${index}`, zone };
        this.#assets.push(asset);
        (zone < 2 ? this.#it : this.#ot).push(asset);
      }
    }
  }

  files(): GeneratedFile[] {
    const conduits: string[] = [];
    for (let index = 0; index < this.#count; index++) conduits.push(this.#conduit(index));
    const out = [{ name: "00-site.yaml", text: this.#site() }];
    let text = "conduits:\n";
    for (const conduit of conduits) {
      if (text.length + conduit.length > FILE_CHARACTERS) {
        out.push({ name: fileName(out.length), text });
        text = "conduits:\n";
      }
      text += conduit;
    }
    if (conduits.length > 0) out.push({ name: fileName(out.length), text });
    return out;
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  #pick<Item>(list: readonly Item[]): Item {
    const item = list[this.#below(list.length)];
    if (item === undefined) throw new RangeError("picked from an empty list");
    return item;
  }

  /** The same triple twice, through a gate, would be refused as ambiguous. */
  #fresh(
    from: readonly Asset[],
    to: readonly Asset[],
    what: () => string | number,
  ): [Asset, Asset, string] {
    for (let attempt = 0; attempt < 10_000; attempt++) {
      const source = this.#pick(from);
      const target = this.#pick(to);
      const service = String(what());
      const key = `${source.name} ${target.name} ${service}`;
      if (source.zone === target.zone || this.#used.has(key)) continue;
      this.#used.add(key);
      return [source, target, service];
    }
    throw new RangeError("too few assets for that many different conduits");
  }

  #conduit(index: number): string {
    const name = `c${String(index).padStart(5, "0")}`;
    if (this.#mix === "direct") return this.#direct(name);
    const gate = `gate-${Math.floor(index / CONDUITS_PER_GATE)}`;
    if (this.#mix === "proxy") return this.#gated(name, "proxy", this.#it, this.#ot, gate);
    const way = index % 10;
    if (way < 3) return this.#gated(name, "proxy", this.#it, this.#ot, gate);
    if (way === 3) return this.#gated(name, "proxy", this.#ot, this.#it, gate);
    if (way === 4) return this.#gated(name, "inspect", this.#ot, this.#ot, "gate-ot");
    if (way === 5) return this.#session(name, gate);
    if (way === 6) return this.#diode(name);
    if (way === 7) return this.#wide(name);
    if (way === 8) return this.#listener(name, index);
    return this.#direct(name);
  }

  #gated(
    name: string,
    via: string,
    from: readonly Asset[],
    to: readonly Asset[],
    gate: string,
  ): string {
    const [source, target, service] = this.#fresh(from, to, () => this.#pick(GATED_SERVICES));
    const l7 =
      service === "modbus"
        ? `    l7: { modbus: { functions: [read-holding-registers], units: [1], holding-registers: [${this.#below(100)}-${100 + this.#below(900)}] } }\n`
        : "";
    return entry(
      name,
      source.name,
      target.name,
      service,
      via,
      `    through: ${gate}\n${l7}${this.#terms()}`,
    );
  }

  #session(name: string, gate: string): string {
    const [source, target, service] = this.#fresh(this.#it, this.#ot, () => "ssh");
    const slots = 1 + this.#below(2);
    const session = `    session: { people: [tech-${this.#below(9)}], max: 2h, approvals: 1, record: true, mode: read-only, slots: ${slots} }\n`;
    return entry(
      name,
      source.name,
      target.name,
      service,
      "session",
      `    through: ${gate}\n${session}`,
    );
  }

  #diode(name: string): string {
    const [source, target, service] = this.#fresh(this.#ot, this.#ot, () =>
      this.#pick(["syslog", "snmp-trap"]),
    );
    return entry(name, source.name, target.name, service, "diode", this.#terms());
  }

  #direct(name: string): string {
    const port = (): string => `p${DIRECT_FIRST_PORT + this.#below(DIRECT_PORTS)}`;
    const [source, target, service] = this.#fresh(this.#ot, this.#ot, port);
    this.#ports.add(Number(service.slice(1)));
    return entry(
      name,
      source.name,
      target.name,
      service,
      "direct",
      `    reason: generated\n${this.#terms()}`,
    );
  }

  /** Between whole zones, each pair once a port; so some cells have two open candidates. */
  #wide(name: string): string {
    for (let attempt = 0; attempt < 1000; attempt++) {
      const from = 2 + this.#below(this.#zoneCount - 2);
      const to = 2 + this.#below(this.#zoneCount - 2);
      const port = WIDE_FIRST_PORT + this.#below(500);
      const key = `z${from} z${to} ${port}`;
      if (from === to || this.#used.has(key)) continue;
      this.#used.add(key);
      this.#ports.add(port);
      const service = this.#below(4) === 0 ? `[p${port}, icmp-echo]` : `p${port}`;
      if (service.includes("icmp")) {
        if (this.#used.has(`icmp z${from} z${to}`)) continue;
        this.#used.add(`icmp z${from} z${to}`);
      }
      return entry(
        name,
        `z${from}`,
        `z${to}`,
        service,
        "direct",
        `    reason: generated\n${this.#terms()}`,
      );
    }
    return this.#direct(name);
  }

  #listener(name: string, index: number): string {
    const isIt = index % 20 === 8;
    const [from, to, service] = isIt
      ? [`z${this.#below(2)}`, "dmz/portal", "https"]
      : [`z${2 + this.#below(this.#zoneCount - 2)}`, "dmz/ntp", "ntp"];
    const key = `${from} ${to}`;
    if (this.#used.has(key)) return this.#direct(name);
    this.#used.add(key);
    return entry(name, from, to, service, "proxy", this.#terms());
  }

  #terms(): string {
    const roll = this.#below(8);
    if (roll === 0) return "    when: nights\n";
    if (roll === 1) return "    island: keep\n";
    return roll === 2 ? "    when: [nights, sundays]\n" : "";
  }

  #site(): string {
    const lines = [
      "version: 1",
      "site: { name: generated, timezone: Europe/Vienna, nodes: [gw1], transit: { outer: 100.64.0.0/16, inner: 100.65.0.0/16 } }",
      "zones:",
      "  dmz: { kind: dmz, level: 3.5, owner: ot-security }",
    ];
    for (let zone = 0; zone < this.#zoneCount; zone++) lines.push(this.#zone(zone));
    // A zone nested in another one's network, on the same link.
    lines.push(
      "  nested: { kind: control, level: 1, networks: [10.2.2.0/28], attach: { nic: n2 }, owner: cells }",
    );
    lines.push(
      "components:",
      "  gate-ot: { kind: gate, zone: z2 }",
      "  portal: { kind: portal }",
      "  ntp: { kind: service }",
    );
    for (let gate = 0; gate < this.#gates; gate++) lines.push(`  gate-${gate}: { kind: gate }`);
    lines.push("assets:");
    for (const { name, zone } of this.#assets) {
      const index = Number(name.slice(name.indexOf("-") + 1));
      lines.push(
        `  ${name}: { zone: z${zone}, address: 10.${zone}.0.${index + 10}, tags: [t${index % 3}] }`,
      );
    }
    lines.push("windows:", '  nights: { days: [daily], from: "22:00", to: "05:00" }');
    lines.push('  sundays: { days: [sun], from: "06:00", to: "18:00" }', "services:");
    for (const port of [...this.#ports].sort((a, b) => a - b))
      lines.push(`  p${port}: { tcp: [${port}], udp: [${port}] }`);
    if (this.#ports.size === 0) lines.push("  p4999: { tcp: [4999] }");
    return `${lines.join("\n")}\n`;
  }

  #zone(zone: number): string {
    let kind = zone === 0 ? "business" : "external";
    if (zone >= 2) kind = zone === this.#zoneCount - 1 ? "safety" : "control";
    const level = zone < 2 ? 4 : 1;
    const attach = `attach: { nic: n${zone}, address: 10.${zone}.0.1/22 }`;
    // Two of three: the devices there know no way back.
    const source = zone % 3 === 1 ? "" : ", source: gateway";
    return `  z${zone}: { kind: ${kind}, level: ${level}, networks: [10.${zone}.0.0/22], ${attach}, owner: team-${zone}${source} }`;
  }
}

function fileName(index: number): string {
  return `${String(index).padStart(2, "0")}-conduits.yaml`;
}

function entry(
  name: string,
  from: string,
  to: string,
  service: string,
  via: string,
  more: string,
): string {
  return (
    `  ${name}:\n    from: ${from}\n    to: ${to}\n    service: ${service}\n    via: ${via}\n` +
    `    owner: team\n    why: Generated conduit ${name}\n    expires: ${EXPIRES}\n${more}`
  );
}

/** Mulberry32 (public domain): 32 bits of state, the same numbers everywhere. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
