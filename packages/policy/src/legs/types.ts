/**
 * Legs: a policy after names, tags and services were resolved to addresses and ports, and each
 * conduit was cut into one share per enforcement point. This is what approvers sign, what the model
 * runs, and what each engine's compiler lowers by itself. Plain JSON: no functions, no Maps.
 *
 * Addresses are unsigned 32-bit numbers (see `Ipv4`), times are milliseconds since 1970 UTC.
 * Sets of intervals are sorted and disjoint (see `normalize`).
 */
import type { Interval, Ipv4 } from "@sallyport/core";
import type { PacketReason } from "./reasons.ts";

/** The two rooms that route and filter. */
export type Point = "outer" | "inner";
export type ZoneKind = "business" | "dmz" | "control" | "safety" | "temporary" | "external";
export type Via = "proxy" | "inspect" | "session" | "direct" | "diode";
export type Protocol = "tcp" | "udp" | "icmp";

export interface Legs {
  readonly format: 1;
  readonly site: string;
  /** Hex SHA-256 of the policy bytes that these legs came from. */
  readonly policySha256: string;
  /** IANA name; weekly windows are in this zone unless they name their own. */
  readonly timezone: string;
  readonly limits: EngineLimits;
  readonly zones: readonly EngineZone[];
  readonly attachments: readonly Attachment[];
  readonly rooms: readonly ComponentRoom[];
  /** The gateway's own address on each transit side; also in `own`. */
  readonly transit: { readonly outer: Ipv4; readonly inner: Ipv4 };
  /** The policy's names for single addresses, sorted by name. No rule is made of them. */
  readonly assets: readonly { readonly name: string; readonly address: Ipv4 }[];
  /** Every address that belongs to the box itself: a packet to one is `to-gateway`. */
  readonly own: readonly Ipv4[];
  /** Network and broadcast addresses of every attached network: a packet to one is `multicast`. */
  readonly broadcast: readonly Ipv4[];
  /** How many people must sign what opens a path to or from a zone; those that ask none are not here. */
  readonly thresholds: readonly { readonly zone: string; readonly approvals: number }[];
  /** Sorted by name: of the open conduits that cover a packet the first one carries it. */
  readonly conduits: readonly Conduit[];
}

export interface EngineLimits {
  /** Live sessions that one source zone may have at one point; the next is `session-limit`. */
  readonly sessionsPerZone: number;
  /** Idle seconds after which a session is forgotten, by its state. */
  readonly timeoutsSeconds: {
    readonly tcpOpening: number;
    readonly tcpOpen: number;
    readonly tcpClosing: number;
    readonly udp: number;
    readonly icmp: number;
  };
}

/**
 * A source as an engine sees it: these addresses may arrive at `point` on `interface` and nowhere
 * else. No address is in two engine zones. A component with a leg on both sides is two of these,
 * with the same name.
 */
export interface EngineZone {
  /** `cell-a`, or `dmz/gate-cells` for a component. */
  readonly name: string;
  readonly kind: ZoneKind;
  readonly point: Point;
  /** Name of the interface inside the room, at most 15 characters. */
  readonly interface: string;
  /** Own, network, broadcast and multicast addresses are carved out already. */
  readonly addresses: readonly Interval[];
  /** With `source: gateway`; together these cover all of `addresses`. Absent: sources stay as they are. */
  readonly dialledFrom?: readonly DialledFrom[];
}

/** A session that is forwarded to `to` leaves the room with `address` as its source, its port unchanged. */
export interface DialledFrom {
  readonly to: readonly Interval[];
  /** The room's own address on the zone's interface. */
  readonly address: Ipv4;
}

/** A NIC (or a VLAN on one) and the zone's addresses that the room gets on it. */
export interface Attachment {
  readonly zone: string;
  readonly point: Point;
  /** The physical NIC to move into the room. */
  readonly nic: string;
  /** 1 to 4094; the room's interface is then `<nic>.<vlan>`. */
  readonly vlan?: number;
  /** The name inside the room: `nic` or `<nic>.<vlan>`. */
  readonly interface: string;
  /** `tap` receives only and routes nothing. */
  readonly mode: "routed" | "tap";
  /** The room's own addresses here, with prefix length: they make the connected routes. */
  readonly addresses: readonly { readonly address: Ipv4; readonly length: number }[];
  /** Networks of the zone behind a router of the plant. */
  readonly routes: readonly {
    readonly network: Ipv4;
    readonly length: number;
    readonly via: Ipv4;
  }[];
}

/** A namespace of the DMZ (or of a gate off `inner`): one component, forwarding off. */
export interface ComponentRoom {
  /** `gate-cells`; the namespace and the engine zone `dmz/gate-cells` are named after it. */
  readonly name: string;
  readonly kind: ComponentKind;
  readonly outer?: Link;
  readonly inner?: Link;
}
export type ComponentKind = "gate" | "replica" | "portal" | "control" | "service";

/** One veth pair between a component's room and an engine room. */
export interface Link {
  /** Name in the engine room, at most 15 characters. In the component's room: `outer0`, `inner0`. */
  readonly interface: string;
  /** All addresses the component has on this link, each a /32; the first is its own. */
  readonly addresses: readonly Ipv4[];
}

export interface Conduit {
  readonly name: string;
  /**
   * `<name>#<12 hex digits>` of the SHA-256 of the legs: a session lives on through an apply as long as
   * its conduit's key does. Owner, reason, dates, windows and L7 limits are not part of it.
   */
  readonly key: string;
  readonly via: Via;
  /** Where the policy says so: `site.yaml:41`. */
  readonly source: string;
  readonly owner: string;
  readonly why: string;
  /** The first moment at which the conduit is closed. */
  readonly expires: number;
  /** Open only inside one of these; empty means always. */
  readonly windows: readonly Window[];
  /** Whether it stays open when a zone at either end is made an island. */
  readonly island: "keep" | "drop";
  readonly system: boolean;
  /** Audit mode: it allows, and each new session is reported as `would-deny`. Never IT to OT. */
  readonly audit: boolean;
  /** Names of the policy's zones at either end, as islands and matrices see them. */
  readonly fromZones: readonly string[];
  readonly toZones: readonly string[];
  readonly legs: readonly Leg[];
  readonly listeners: readonly Listener[];
  /** Only with `via: session`: the legs above are closed (`no-grant`) until a grant opens a slot. */
  readonly session?: SessionTerms;
}

export interface Window {
  /** 0 is Sunday. */
  readonly days: readonly number[];
  /** Minutes after midnight, 0 to 1439. */
  readonly fromMinute: number;
  /** 1 to 1440; at or below `fromMinute` means the next day. */
  readonly toMinute: number;
  readonly timezone: string;
}

/** One enforcement point's share of a conduit. */
export interface Leg {
  readonly point: Point;
  readonly from: readonly Interval[];
  /** As dialled, before any translation. */
  readonly to: readonly Interval[];
  readonly protocol: Protocol;
  /** Destination ports; empty for icmp, which allows echo only. */
  readonly ports: readonly Interval[];
  /** False for a diode: nothing comes back. */
  readonly replies: boolean;
  /**
   * Where the packet is handed to a gate instead of being forwarded: one entry per (address, port)
   * in `to` x `ports`, and per session slot. Empty: forward.
   */
  readonly redirects: readonly Redirect[];
}

export interface Redirect {
  readonly address: Ipv4;
  readonly port: number;
  /** The component's room whose link at this point leads to the listener. */
  readonly room: string;
  readonly listenAddress: Ipv4;
  readonly listenPort: number;
  /** 0 but for session conduits, whose grants take a slot each. */
  readonly slot: number;
}

/** What one gate process listens for: one per (conduit, asset, port), and per session slot. */
export interface Listener {
  readonly room: string;
  readonly listenAddress: Ipv4;
  readonly listenPort: number;
  /** The address the gate dials from: it tells the next engine which conduit this is. */
  readonly egressAddress: Ipv4;
  readonly targetAddress: Ipv4;
  readonly targetPort: number;
  readonly asset: string;
  readonly slot: number;
  readonly l7: L7;
  readonly connections: ConnectionLimits;
}

export interface ConnectionLimits {
  /** Open at once on this listener; the next is closed at once. */
  readonly max: number;
  readonly idleSeconds: number;
  readonly connectSeconds: number;
}

/** `tcp` is an opaque relay; the others are decoded and refused unless listed. */
export type L7 = { readonly protocol: "tcp" } | ModbusLimits;

export interface ModbusLimits {
  readonly protocol: "modbus";
  /** Names of Modbus functions as in `wire/modbus`, e.g. `read-holding-registers`. */
  readonly functions: readonly string[];
  /** 0 to 255. */
  readonly units: readonly Interval[];
  /** 0-based addresses as on the wire, per data area; an area that is not listed is refused. */
  readonly coils: readonly Interval[];
  readonly discreteInputs: readonly Interval[];
  readonly holdingRegisters: readonly Interval[];
  readonly inputRegisters: readonly Interval[];
  /** Registers or bits in one request; absent means the specification's own limits. */
  readonly maxQuantity?: number;
  /**
   * Raw 16-bit values that may be written, per register range. Empty: any value. Not empty: a
   * register in none of the ranges cannot be written.
   */
  readonly writeValues: readonly {
    readonly registers: Interval;
    readonly values: Interval;
  }[];
  /** Requests per second and connection, with a burst of the same size; absent means no limit. */
  readonly requestsPerSecond?: number;
}

export interface SessionTerms {
  readonly people: readonly string[];
  readonly maxSeconds: number;
  readonly approvals: number;
  readonly attended: boolean;
  readonly localEnable: boolean;
  readonly device: "any" | "enrolled";
  readonly record: boolean;
  readonly mode: "read-only" | "write-approved";
  /** How many grants can be live at once: the compiler reserves a listener and egress for each. */
  readonly slots: number;
}

/**
 * A person's time-limited right to one asset. It opens `source` -> `target` at the point where the
 * conduit starts, and the slot's egress address -> `target` at the next.
 */
export interface Grant {
  /** Never reused: `g-<random>`. */
  readonly id: string;
  readonly conduit: string;
  readonly person: string;
  readonly reason: string;
  readonly source: Ipv4;
  readonly asset: string;
  readonly target: Ipv4;
  readonly protocol: "tcp" | "udp";
  readonly port: number;
  readonly slot: number;
  readonly notBefore: number;
  readonly notAfter: number;
}

/** Whether a conduit or grant lets packets pass now, until when, and what to say once it does not. */
export interface Liveness {
  readonly open: boolean;
  /** End of the present opening; null when nothing ends it. Loaded into the kernel ahead. */
  readonly until: number | null;
  /** The reason that a packet gets while closed, or after `until`. */
  readonly closedReason: PacketReason;
}
