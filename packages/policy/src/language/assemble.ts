import type {
  Attachment,
  ComponentRoom,
  EngineLimits,
  EngineZone,
  Legs,
  Link,
  Point,
} from "../legs/types.ts";
import type { Allocation } from "./allocate.ts";
import { dialledFrom } from "./dialling.ts";
import { INTERFACE_CHARACTERS } from "./limits.ts";
import { compareText, type Reporter } from "./report.ts";
import type { Component, Network, Zone } from "./resolved.ts";
import type { PolicyForm } from "./sections.ts";

const POINTS: readonly Point[] = ["outer", "inner"];
const LINK_PREFIX = "v-";

/**
 * `v-<component>`, in the engine rooms. A long name is cut, and two that become the same are an
 * error: a name made of a digest would tell an operator nothing.
 */
export function nameInterfaces(
  components: ReadonlyMap<string, Component>,
  reporter: Reporter,
): Map<string, string> {
  const names = new Map<string, string>();
  const owners = new Map<string, string>();
  for (const { name, place } of components.values()) {
    const label = `${LINK_PREFIX}${name}`.slice(0, INTERFACE_CHARACTERS);
    const other = owners.get(label);
    if (other === undefined) owners.set(label, name);
    else {
      const length = INTERFACE_CHARACTERS - LINK_PREFIX.length;
      const what = `components "${other}" and "${name}" have the same first ${length} characters`;
      reporter.report("name-taken", place, what, "their links would have one name; rename one");
    }
    names.set(name, label);
  }
  return names;
}

export function engineZones(
  zones: ReadonlyMap<string, Zone>,
  network: Network,
  components: ReadonlyMap<string, Component>,
  interfaces: ReadonlyMap<string, string>,
  allocation: Allocation,
): EngineZone[] {
  const out: EngineZone[] = [];
  for (const zone of zones.values()) {
    const { name, kind, point, attachment } = zone;
    const addresses = network.addresses.get(zone) ?? [];
    if (point === undefined || attachment === undefined || addresses.length === 0) continue;
    if (attachment.mode === "tap") continue;
    const dialled = dialledFrom(zone, addresses, zones.values());
    const base = { name, kind, point, interface: attachment.interface, addresses };
    out.push(dialled === undefined ? base : { ...base, dialledFrom: dialled });
  }
  for (const component of components.values()) {
    for (const point of POINTS) {
      const list = [...allocation.addresses(component, point)].sort((a, b) => a - b);
      if (list.length === 0) continue;
      const name = `dmz/${component.name}`;
      const label = interfaces.get(component.name) ?? "";
      const addresses = list.map((address) => ({ first: address, last: address }));
      out.push({ name, kind: "dmz", point, interface: label, addresses: joined(addresses) });
    }
  }
  return out.sort((a, b) => compareText(a.name, b.name) || compareText(a.point, b.point));
}

/** A sorted list of disjoint intervals to one without neighbors that touch. */
function joined(
  sorted: readonly { first: number; last: number }[],
): { first: number; last: number }[] {
  const out: { first: number; last: number }[] = [];
  for (const { first, last } of sorted) {
    const tail = out.at(-1);
    if (tail !== undefined && tail.last + 1 === first) tail.last = last;
    else out.push({ first, last });
  }
  return out;
}

/** What a zone's `approvals` asks, for whoever counts signatures. */
export function thresholdsOf(zones: ReadonlyMap<string, Zone>): Legs["thresholds"] {
  return [...zones.values()]
    .flatMap(({ name, form: { approvals = 0 } }) =>
      approvals > 0 ? [{ zone: name, approvals }] : [],
    )
    .sort((a, b) => compareText(a.zone, b.zone));
}

/** One a zone: a zone on another's interface has an entry there too, without an address. */
export function attachmentsOf(zones: ReadonlyMap<string, Zone>): Attachment[] {
  const out: Attachment[] = [];
  const sorted = [...zones.values()].sort((a, b) => compareText(a.name, b.name));
  for (const { name, point, attachment } of sorted) {
    if (point === undefined || attachment === undefined) continue;
    const { nic, vlan, mode, addresses, routes } = attachment;
    out.push({
      zone: name,
      point,
      nic,
      ...(vlan === undefined ? {} : { vlan }),
      interface: attachment.interface,
      mode,
      addresses,
      routes: routes.map(({ network, via }) => ({
        network: network.address,
        length: network.length,
        via,
      })),
    });
  }
  return out;
}

export function roomsOf(
  components: ReadonlyMap<string, Component>,
  interfaces: ReadonlyMap<string, string>,
  allocation: Allocation,
): ComponentRoom[] {
  const link = (component: Component, point: Point): Link | undefined => {
    const addresses = allocation.addresses(component, point);
    return addresses.length === 0
      ? undefined
      : { interface: interfaces.get(component.name) ?? "", addresses };
  };
  return [...components.values()]
    .sort((a, b) => compareText(a.name, b.name))
    .map((component) => {
      const outer = link(component, "outer");
      const inner = link(component, "inner");
      return {
        name: component.name,
        kind: component.kind,
        ...(outer === undefined ? {} : { outer }),
        ...(inner === undefined ? {} : { inner }),
      };
    });
}

export function readLimits({ limits }: PolicyForm): EngineLimits {
  const timeouts = limits?.form.timeouts;
  return {
    sessionsPerZone: limits?.form["sessions-per-zone"] ?? 2048,
    timeoutsSeconds: {
      tcpOpening: timeouts?.["tcp-opening"] ?? 30,
      tcpOpen: timeouts?.["tcp-open"] ?? 43_200,
      tcpClosing: timeouts?.["tcp-closing"] ?? 30,
      udp: timeouts?.udp ?? 60,
      icmp: timeouts?.icmp ?? 10,
    },
  };
}
