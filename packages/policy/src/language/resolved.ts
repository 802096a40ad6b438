/** The policy after its names were given meaning, before addresses are allotted to conduits. */
import type { Interval, Ipv4, Prefix } from "@sallyport/core";
import type {
  ComponentKind,
  ConnectionLimits,
  L7,
  Point,
  SessionTerms,
  Via,
  Window,
  ZoneKind,
} from "../legs/types.ts";
import type { Place } from "./report.ts";
import type { ConduitFile, ZoneFile } from "./schema.ts";

/** Which side of the DMZ: no packet is forwarded from one to the other. */
export type Side = "it" | "ot" | "dmz";

export interface ZoneAttachment {
  readonly nic: string;
  readonly vlan: number | undefined;
  readonly interface: string;
  readonly mode: "routed" | "tap";
  readonly addresses: readonly Prefix[];
  readonly routes: readonly { readonly network: Prefix; readonly via: Ipv4 }[];
}

export interface Zone {
  readonly name: string;
  readonly kind: ZoneKind;
  readonly side: Side;
  /** The room it is attached to; the DMZ's components have links instead. */
  readonly point: Point | undefined;
  readonly networks: readonly Prefix[];
  readonly attachment: ZoneAttachment | undefined;
  readonly form: ZoneFile;
  readonly place: Place;
}

export interface Asset {
  readonly name: string;
  readonly zone: Zone;
  readonly address: Ipv4;
  readonly tags: readonly string[];
  readonly place: Place;
}

export interface Component {
  readonly name: string;
  readonly kind: ComponentKind;
  /** For a gate between segments: the OT zone it counts as. It has no link to `outer`. */
  readonly zone: Zone;
  readonly place: Place;
}

export interface Service {
  readonly name: string;
  readonly tcp: readonly Interval[];
  readonly udp: readonly Interval[];
  readonly icmp: boolean;
  readonly isOt: boolean;
  /** Which decoder a gate has for it. */
  readonly decoder: "modbus" | undefined;
  /** Why no conduit can name it. */
  readonly unsupported: string | undefined;
}

/** One end of a conduit. */
export interface End {
  readonly side: Side;
  readonly zones: readonly Zone[];
  /** Assets it names, by name or tag. */
  readonly assets: readonly Asset[];
  /** Zones named as a whole. */
  readonly networks: readonly Zone[];
  /** The one component it is; never together with others. */
  readonly component: Component | undefined;
  readonly place: Place;
}

export interface ResolvedConduit {
  readonly name: string;
  readonly place: Place;
  /** Absent for the conduits that audit modes make. */
  readonly form: ConduitFile | undefined;
  readonly via: Via;
  readonly audit: boolean;
  readonly owner: string;
  readonly why: string;
  readonly expires: number;
  readonly windows: readonly Window[];
  readonly island: "keep" | "drop";
  readonly system: boolean;
  readonly from: End;
  readonly to: End;
  readonly services: readonly Service[];
  readonly gate: Component | undefined;
  /** Where a packet of `from` enters, and where one to `to` leaves. */
  readonly firstPoint: Point;
  readonly lastPoint: Point;
  readonly l7: L7;
  readonly connections: ConnectionLimits;
  readonly session: SessionTerms | undefined;
}

export interface Network {
  readonly zones: ReadonlyMap<string, Zone>;
  /** By zone: its addresses without those of nested zones, of the box, and of no host. */
  readonly addresses: ReadonlyMap<Zone, readonly Interval[]>;
  readonly own: readonly Ipv4[];
  readonly broadcast: readonly Ipv4[];
  /** Addresses free for components; the first of each pool is the room's own. */
  readonly pools: Readonly<Record<Point, Pool>>;
}

export interface Pool {
  readonly gateway: Ipv4;
  readonly usable: Interval;
  readonly text: string;
  readonly place: Place;
}
