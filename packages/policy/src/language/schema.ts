/**
 * The form of a policy file: one source for its types, its checks and the published JSON Schema.
 * It holds no transform; addresses, ports, dates and names are read afterwards, with their places.
 */
import { modbus } from "@sallyport/wire";
import * as z from "zod";
import type { ComponentKind, Via, ZoneKind } from "../legs/types.ts";
import { NAME_CHARACTERS, SESSION_SLOTS, TEXT_CHARACTERS } from "./limits.ts";

/** A number, or text like `4711-4713`. */
export type RangeText = number | string;

export interface SiteFile {
  readonly name: string;
  readonly timezone: string;
  readonly nodes?: readonly string[];
  readonly transit: { readonly outer: string; readonly inner: string };
}

export interface RealmFile {
  readonly description?: string;
}

export interface AttachFile {
  readonly nic: string;
  readonly vlan?: number;
  readonly mode?: "routed" | "proxy-arp" | "tap";
  readonly address?: string | readonly string[];
  readonly routes?: readonly { readonly network: string; readonly via: string }[];
}

export interface ZoneFile {
  readonly kind: ZoneKind;
  readonly level: number;
  readonly realm?: string;
  readonly networks?: readonly string[];
  readonly hosts?: readonly string[];
  readonly attach?: AttachFile;
  readonly source?: "gateway" | "conduit";
  readonly owner: string;
  readonly "sl-t"?: SecurityLevels;
  readonly "sl-c"?: SecurityLevels;
  readonly approvals?: number;
  readonly description?: string;
}
/** One level for all, or IAC, UC, SI, DC, RDF, TRE, RA. */
export type SecurityLevels = number | readonly number[];

export interface AssetFile {
  readonly zone: string;
  readonly address?: string;
  readonly endpoint?: string;
  readonly tags?: readonly string[];
  readonly owner?: string;
  readonly description?: string;
}

export interface ComponentFile {
  readonly kind: ComponentKind;
  readonly zone?: string;
  readonly description?: string;
}

export interface ServiceFile {
  readonly tcp?: readonly RangeText[];
  readonly udp?: readonly RangeText[];
  readonly icmp?: "echo";
  readonly multicast?: readonly string[];
  readonly ethertype?: RangeText;
  readonly decoder?: "modbus" | "tcp";
  readonly description?: string;
}

export interface WindowFile {
  readonly days: readonly string[];
  readonly from: string;
  readonly to: string;
  readonly timezone?: string;
}

export interface ConnectionsFile {
  readonly max?: number;
  readonly idle?: string;
  readonly connect?: string;
}

export interface DefaultsFile {
  readonly notice?: string;
  readonly connections?: ConnectionsFile;
}

export interface LimitsFile {
  readonly "sessions-per-zone"?: number;
  readonly timeouts?: {
    readonly "tcp-opening"?: number;
    readonly "tcp-open"?: number;
    readonly "tcp-closing"?: number;
    readonly udp?: number;
    readonly icmp?: number;
  };
}

/** All the given ones must hold. */
export interface SelectorFile {
  readonly zone?: string | readonly string[];
  readonly kind?: ZoneKind | readonly ZoneKind[];
  readonly tags?: readonly string[];
  readonly asset?: string;
}
export type EndpointFile = string | SelectorFile | readonly (string | SelectorFile)[];

export interface ModbusFile {
  readonly functions: readonly string[];
  readonly units: readonly RangeText[];
  readonly coils?: readonly RangeText[];
  readonly "discrete-inputs"?: readonly RangeText[];
  readonly "holding-registers"?: readonly RangeText[];
  readonly "input-registers"?: readonly RangeText[];
  readonly "max-quantity"?: number;
  readonly "write-values"?: readonly {
    readonly registers: RangeText;
    readonly values: RangeText;
  }[];
  readonly rate?: string;
}

export interface SessionFile {
  readonly people: readonly string[];
  readonly max: string;
  readonly approvals: number;
  readonly protocols?: readonly string[];
  readonly attended?: boolean;
  readonly "local-enable"?: boolean;
  readonly device?: "any" | "enrolled";
  readonly record: boolean;
  readonly mode: "read-only" | "write-approved";
  readonly slots?: number;
}

export interface ConduitFile {
  readonly from: EndpointFile;
  readonly to: EndpointFile;
  readonly service: string | readonly string[];
  readonly via: Via;
  readonly through?: string;
  readonly owner: string;
  readonly why: string;
  readonly expires: string;
  readonly ticket?: string;
  readonly reason?: string;
  readonly when?: string | readonly string[];
  readonly island?: "keep" | "drop";
  readonly system?: boolean;
  readonly l7?: { readonly [protocol: string]: unknown; readonly modbus?: ModbusFile };
  readonly connections?: ConnectionsFile;
  readonly session?: SessionFile;
}

export interface ModeFile {
  readonly from: string;
  readonly to: string;
  readonly mode: "audit" | "enforce";
  readonly until?: string;
  readonly owner?: string;
  readonly why?: string;
}

export interface InvariantFile {
  readonly never?: {
    readonly from?: SelectorFile;
    readonly to?: SelectorFile;
    readonly service?: string | readonly string[];
    readonly unless?: { readonly via: readonly Via[] };
  };
  readonly require?: {
    readonly field: (typeof REQUIRABLE)[number];
    readonly where?: {
      readonly service?: string | readonly string[];
      readonly via?: Via | readonly Via[];
      readonly from?: SelectorFile;
      readonly to?: SelectorFile;
    };
  };
}
export const REQUIRABLE = ["l7", "ticket", "when", "reason", "connections", "session"] as const;

type Named<Value> = Readonly<Record<string, Value>>;

export interface PolicyFile {
  readonly version: 1;
  readonly site: SiteFile;
  readonly realms?: Named<RealmFile>;
  readonly zones: Named<ZoneFile>;
  readonly components?: Named<ComponentFile>;
  readonly assets?: Named<AssetFile>;
  readonly services?: Named<ServiceFile>;
  readonly windows?: Named<WindowFile>;
  readonly defaults?: DefaultsFile;
  readonly limits?: LimitsFile;
  readonly conduits?: Named<ConduitFile>;
  readonly modes?: readonly ModeFile[];
  readonly invariants?: readonly InvariantFile[];
}

const opt = z.exactOptional;
/** No slash, colon or blank: names are parts of `dmz/portal`, `audit:a:b` and kernel names. */
export const NAME: RegExp = new RegExp(
  `^[a-z0-9](?:[a-z0-9-]{0,${NAME_CHARACTERS - 2}}[a-z0-9])?$`,
);
const name = z.string().max(100);
const text = z.string().min(1).max(TEXT_CHARACTERS);
const names = z.array(name).min(1).max(10_000);
const oneOrMore = z.union([name, names], { error: "expected a name or a list of names" });
const rangeText = z.union([z.int(), z.string().max(20)], {
  error: "expected a number or a range like 10-20",
});
const ranges = z.array(rangeText).max(1000);

const KINDS = ["business", "dmz", "control", "safety", "temporary", "external"] as const;
const VIAS = ["proxy", "inspect", "session", "direct", "diode"] as const;
const kind = z.enum(KINDS);
const via = z.enum(VIAS);

export const siteFile: z.ZodType<SiteFile> = z.strictObject({
  name: z.string().regex(NAME, "expected lower-case letters, digits and dashes"),
  timezone: z.string().max(64),
  nodes: opt(z.array(name).min(1).max(16)),
  transit: z.strictObject({ outer: z.string().max(20), inner: z.string().max(20) }),
});

export const realmFile: z.ZodType<RealmFile> = z.strictObject({ description: opt(text) });

const level = z.int().min(0).max(4);
const levels: z.ZodType<SecurityLevels> = z.union([level, z.array(level).length(7)], {
  error: "expected a level 0 to 4, or seven of them: IAC, UC, SI, DC, RDF, TRE, RA",
});

export const zoneFile: z.ZodType<ZoneFile> = z.strictObject({
  kind,
  level: z.union([z.int().min(0).max(5), z.literal(3.5)], {
    error: "expected a Purdue level: 0 to 5, or 3.5",
  }),
  realm: opt(name),
  networks: opt(z.array(z.string().max(20)).max(1000)),
  hosts: opt(z.array(z.string().max(20)).max(1000)),
  attach: opt(
    z.strictObject({
      nic: z.string().max(20),
      vlan: opt(z.int().min(1).max(4094)),
      mode: opt(z.enum(["routed", "proxy-arp", "tap"])),
      address: opt(
        z.union([z.string().max(20), z.array(z.string().max(20)).min(1).max(64)], {
          error: "expected an address with prefix length, or a list of them",
        }),
      ),
      routes: opt(
        z.array(z.strictObject({ network: z.string().max(20), via: z.string().max(20) })).max(1000),
      ),
    }),
  ),
  source: opt(z.enum(["gateway", "conduit"])),
  owner: text,
  "sl-t": opt(levels),
  "sl-c": opt(levels),
  approvals: opt(z.int().min(0).max(5)),
  description: opt(text),
});

export const assetFile: z.ZodType<AssetFile> = z.strictObject({
  zone: name,
  address: opt(z.string().max(20)),
  endpoint: opt(z.string().max(100)),
  tags: opt(z.array(name).max(100)),
  owner: opt(text),
  description: opt(text),
});

export const componentFile: z.ZodType<ComponentFile> = z.strictObject({
  kind: z.enum(["gate", "replica", "portal", "control", "service"]),
  zone: opt(name),
  description: opt(text),
});

export const serviceFile: z.ZodType<ServiceFile> = z.strictObject({
  tcp: opt(ranges),
  udp: opt(ranges),
  icmp: opt(z.literal("echo")),
  multicast: opt(z.array(z.string().max(20)).max(100)),
  ethertype: opt(rangeText),
  decoder: opt(z.enum(["modbus", "tcp"])),
  description: opt(text),
});

export const windowFile: z.ZodType<WindowFile> = z.strictObject({
  days: z.array(z.string().max(10)).min(1).max(7),
  from: z.string().max(10),
  to: z.string().max(10),
  timezone: opt(z.string().max(64)),
});

const connections: z.ZodType<ConnectionsFile> = z.strictObject({
  max: opt(z.int().min(1).max(10_000)),
  idle: opt(z.string().max(10)),
  connect: opt(z.string().max(10)),
});

export const defaultsFile: z.ZodType<DefaultsFile> = z.strictObject({
  notice: opt(z.string().max(10)),
  connections: opt(connections),
});

const seconds = z.int().min(1).max(604_800);
export const limitsFile: z.ZodType<LimitsFile> = z.strictObject({
  "sessions-per-zone": opt(z.int().min(1).max(65_536)),
  timeouts: opt(
    z.strictObject({
      "tcp-opening": opt(seconds),
      "tcp-open": opt(seconds),
      "tcp-closing": opt(seconds),
      udp: opt(seconds),
      icmp: opt(seconds),
    }),
  ),
});

export const selectorFile: z.ZodType<SelectorFile> = z.strictObject({
  zone: opt(oneOrMore),
  kind: opt(
    z.union([kind, z.array(kind).min(1).max(6)], {
      error: `expected one or more of ${KINDS.join(", ")}`,
    }),
  ),
  tags: opt(names),
  asset: opt(name),
});
const endpoint: z.ZodType<EndpointFile> = z.union(
  [
    name,
    selectorFile,
    z
      .array(z.union([name, selectorFile]))
      .min(1)
      .max(10_000),
  ],
  { error: "expected an asset, a zone, dmz/<component>, { tags: [...] }, or a list of these" },
);

export const modbusFile: z.ZodType<ModbusFile> = z.strictObject({
  functions: z.array(z.enum(modbus.FUNCTION_NAMES)).min(1).max(64),
  units: ranges.min(1),
  coils: opt(ranges),
  "discrete-inputs": opt(ranges),
  "holding-registers": opt(ranges),
  "input-registers": opt(ranges),
  "max-quantity": opt(z.int().min(1).max(2000)),
  "write-values": opt(
    z.array(z.strictObject({ registers: rangeText, values: rangeText })).max(1000),
  ),
  rate: opt(z.string().max(10)),
});

const sessionFile: z.ZodType<SessionFile> = z.strictObject({
  people: names,
  max: z.string().max(10),
  approvals: z.int().min(0).max(5),
  protocols: opt(names),
  attended: opt(z.boolean()),
  "local-enable": opt(z.boolean()),
  device: opt(z.enum(["any", "enrolled"])),
  record: z.boolean(),
  mode: z.enum(["read-only", "write-approved"]),
  slots: opt(z.int().min(1).max(SESSION_SLOTS)),
});

export const conduitFile: z.ZodType<ConduitFile> = z.strictObject({
  from: endpoint,
  to: endpoint,
  service: oneOrMore,
  via,
  through: opt(name),
  owner: text,
  why: text,
  expires: z.string().max(40),
  ticket: opt(text),
  reason: opt(text),
  when: opt(oneOrMore),
  island: opt(z.enum(["keep", "drop"])),
  system: opt(z.boolean()),
  // Loose: a protocol that is known but has no decoder yet is told apart from a mistyped one later.
  l7: opt(z.looseObject({ modbus: opt(modbusFile) })),
  connections: opt(connections),
  session: opt(sessionFile),
});

export const modeFile: z.ZodType<ModeFile> = z.strictObject({
  from: name,
  to: name,
  mode: z.enum(["audit", "enforce"]),
  until: opt(z.string().max(40)),
  owner: opt(text),
  why: opt(text),
});

export const invariantFile: z.ZodType<InvariantFile> = z.strictObject({
  never: opt(
    z.strictObject({
      from: opt(selectorFile),
      to: opt(selectorFile),
      service: opt(oneOrMore),
      unless: opt(z.strictObject({ via: z.array(via).min(1) })),
    }),
  ),
  require: opt(
    z.strictObject({
      field: z.enum(REQUIRABLE),
      where: opt(
        z.strictObject({
          service: opt(oneOrMore),
          via: opt(
            z.union([via, z.array(via).min(1)], {
              error: `expected one or more of ${VIAS.join(", ")}`,
            }),
          ),
          from: opt(selectorFile),
          to: opt(selectorFile),
        }),
      ),
    }),
  ),
});

const named = <Value>(value: z.ZodType<Value>): z.ZodType<Named<Value>> =>
  z.record(z.string().regex(NAME), value);

/** The whole file. The compiler checks entry by entry with the schemas above; this is for editors. */
const policyFile: z.ZodType<PolicyFile> = z.strictObject({
  version: z.literal(1),
  site: siteFile,
  realms: opt(named(realmFile)),
  zones: named(zoneFile),
  components: opt(named(componentFile)),
  assets: opt(named(assetFile)),
  services: opt(named(serviceFile)),
  windows: opt(named(windowFile)),
  defaults: opt(defaultsFile),
  limits: opt(limitsFile),
  conduits: opt(named(conduitFile)),
  modes: opt(z.array(modeFile)),
  invariants: opt(z.array(invariantFile)),
});

/** Draft 2020-12, for editors; published as `packages/policy/schema/policy.schema.json`. */
export function policyJsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(policyFile, { io: "input" });
  return { ...schema, title: "Sallyport policy" };
}
