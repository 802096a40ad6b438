import {
  formatCidr,
  type Ipv4,
  nearest,
  type Prefix,
  parseCidr,
  parseIpv4,
  prefixInterval,
} from "@sallyport/core";
import type { Point } from "../legs/types.ts";
import { INTERFACE_CHARACTERS } from "./limits.ts";
import type { Place, Reporter } from "./report.ts";
import type { Side, Zone, ZoneAttachment } from "./resolved.ts";
import type { AttachFile, ZoneFile } from "./schema.ts";
import type { Item, PolicyForm } from "./sections.ts";

/** Zones with their networks and attachments read; how they lie to each other is `networks.ts`. */
export function readZones(form: PolicyForm, reporter: Reporter): Map<string, Zone> {
  const zones = new Map<string, Zone>();
  refuseMany(form, reporter);
  for (const item of form.zones.items) {
    const zone = new ZoneReader(item, form, reporter).read();
    if (zone !== undefined) zones.set(item.name, zone);
  }
  checkInterfaces([...zones.values()], reporter);
  return zones;
}

function refuseMany({ realms, site, places }: PolicyForm, reporter: Reporter): void {
  const second = realms.items[1];
  if (second !== undefined) {
    const what = `realm "${second.name}": a second address space is not supported yet`;
    reporter.report(
      "not-supported-yet",
      second.place,
      what,
      "renumber one cell, or give it a gateway of its own",
    );
  }
  if (site !== undefined && (site.form.nodes?.length ?? 0) > 1) {
    const what = "a pair of nodes (fail-over) is not supported yet";
    reporter.report("not-supported-yet", places.of(site.form, "nodes"), what, "name one node");
  }
}

const NIC = /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/;
/** Names the rooms use themselves. */
const TAKEN_INTERFACE = /^(?:lo|outer0|inner0|v-.*|tap.*)$/;

class ZoneReader {
  readonly #item: Item<ZoneFile>;
  readonly #form: PolicyForm;
  readonly #reporter: Reporter;

  constructor(item: Item<ZoneFile>, form: PolicyForm, reporter: Reporter) {
    this.#item = item;
    this.#form = form;
    this.#reporter = reporter;
  }

  read(): Zone | undefined {
    const { name, form, place } = this.#item;
    this.#checkRealm();
    const side = sideOf(form);
    if (form.kind === "dmz") return this.#dmz();
    const networks = this.#networks();
    const attachment = form.attach === undefined ? undefined : this.#attach(form.attach);
    if (form.attach === undefined) {
      const hint = "attach: { nic: <NIC>, address: <the gateway's address there>/<length> }";
      this.#reporter.report("zone-unattached", place, `zone "${name}" has no "attach"`, hint);
    }
    if (networks.length === 0 && attachment?.mode !== "tap") {
      const hint = "networks: [10.1.0.0/24], or hosts: [10.1.0.5]";
      this.#reporter.report(
        "zone-without-network",
        place,
        `zone "${name}" has no networks or hosts`,
        hint,
      );
    }
    if (form.source === "gateway" && attachment?.mode === "tap") {
      const what = `zone "${name}" is a tap: nothing is dialled there, from no address`;
      this.#reporter.report("attach-conflict", this.#at(form, "source"), what, "delete source");
    }
    const point: Point = side === "it" ? "outer" : "inner";
    return { name, kind: form.kind, side, point, networks, attachment, form, place };
  }

  #at(container: object, key?: string | number, part: "key" | "value" = "value"): Place {
    return this.#form.places.of(container, key, part);
  }

  #checkRealm(): void {
    const { name, form } = this.#item;
    const { names } = this.#form.realms;
    const realm = form.realm;
    if (realm === undefined || realm === "site" || names.has(realm)) return;
    const near = nearest(realm, ["site", ...names]);
    const hint = near === undefined ? "leave it out for the one realm" : `did you mean "${near}"?`;
    this.#reporter.report(
      "wrong-value",
      this.#at(form, "realm"),
      `zone "${name}" is in realm "${realm}", which is not defined`,
      hint,
    );
  }

  /** The DMZ's hosts are components, whose addresses come from the transit pools. */
  #dmz(): Zone {
    const { name, form, place } = this.#item;
    if (name !== "dmz") {
      const hint = 'name it "dmz"; its parts are components';
      this.#reporter.report(
        "no-dmz-zone",
        place,
        `zone "${name}" is of kind dmz but not named "dmz"`,
        hint,
      );
    }
    if (form.source === "gateway") {
      const what =
        "the DMZ's components are dialled on links of their own, where source means nothing";
      this.#reporter.report("attach-conflict", this.#at(form, "source"), what, "delete source");
    }
    for (const key of ["networks", "hosts", "attach"] as const) {
      if (form[key] === undefined) continue;
      const what = `a DMZ with ${key} of its own (hosts on a NIC) is not supported yet`;
      const hint = "the DMZ is made of components; their addresses come from site.transit";
      this.#reporter.report("not-supported-yet", this.#at(form, key, "key"), what, hint);
    }
    const base = { name, kind: form.kind, side: "dmz" as const, point: undefined, form, place };
    return { ...base, networks: [], attachment: undefined };
  }

  #networks(): Prefix[] {
    const { form } = this.#item;
    const out: Prefix[] = [];
    for (const key of ["networks", "hosts"] as const) {
      const list = form[key] ?? [];
      for (const [index, text] of list.entries()) {
        const prefix = this.#network(text, this.#at(list, index));
        if (prefix === undefined) continue;
        if (key === "hosts" && prefix.length !== 32) {
          const what = `"${text}" is a network, not a host`;
          this.#reporter.report(
            "bad-address",
            this.#at(list, index),
            what,
            "put it under networks",
          );
        } else out.push(prefix);
      }
    }
    return out;
  }

  #network(text: string, place: Place): Prefix | undefined {
    const prefix = parseCidr(text);
    if (prefix === undefined) {
      const hint = "like 10.1.0.0/24: four numbers without leading zeros, and a length 0 to 32";
      this.#reporter.report("bad-network", place, `"${text}" is not an IPv4 network`, hint);
      return undefined;
    }
    const { first, last } = prefixInterval(prefix);
    if (first !== prefix.address) {
      const hint = `did you mean ${formatCidr({ address: first, length: prefix.length })}?`;
      this.#reporter.report("bad-network", place, `"${text}" has bits set behind its length`, hint);
      return undefined;
    }
    if (
      first >= MULTICAST ||
      last < THIS_NETWORK_END ||
      (first >= LOOPBACK && last < LOOPBACK_END)
    ) {
      const what = `"${text}" holds no address that a host can have`;
      this.#reporter.report(
        "bad-network",
        place,
        what,
        "0/8, 127/8 and 224.0.0.0 up are not hosts' addresses",
      );
      return undefined;
    }
    return prefix;
  }

  #attach(attach: AttachFile): ZoneAttachment | undefined {
    const { name } = this.#item;
    const { nic, vlan } = attach;
    const label = vlan === undefined ? nic : `${nic}.${vlan}`;
    if (!NIC.test(nic) || label.length > INTERFACE_CHARACTERS || TAKEN_INTERFACE.test(label)) {
      const what = `"${label}" can't be an interface's name in a room`;
      const hint = `at most ${INTERFACE_CHARACTERS} letters, digits, dots and dashes; not lo, outer0, inner0, v-…, tap…`;
      this.#reporter.report("bad-name", this.#at(attach, "nic"), what, hint);
      return undefined;
    }
    if (attach.mode === "proxy-arp") {
      const what = `zone "${name}": proxy-ARP attachment is not supported yet`;
      this.#reporter.report(
        "not-supported-yet",
        this.#at(attach, "mode"),
        what,
        "use mode: routed",
      );
    }
    const mode = attach.mode === "tap" ? "tap" : "routed";
    const addresses = this.#addresses(attach);
    const routes = this.#routes(attach, addresses);
    if (mode === "tap" && addresses.length + routes.length > 0) {
      const what = `zone "${name}" is a tap, which only listens: it has no address and no route`;
      this.#reporter.report("attach-conflict", this.#at(attach, "mode"), what);
    }
    return { nic, vlan, interface: label, mode, addresses, routes };
  }

  #addresses(attach: AttachFile): Prefix[] {
    const given = attach.address ?? [];
    const list = typeof given === "string" ? [given] : given;
    const out: Prefix[] = [];
    for (const [index, text] of list.entries()) {
      const place =
        typeof given === "string" ? this.#at(attach, "address") : this.#at(given, index);
      const prefix = parseCidr(text);
      if (prefix === undefined || !text.includes("/")) {
        const hint = "like 10.1.0.1/24: the gateway's own address there, with the network's length";
        this.#reporter.report("bad-address", place, `"${text}" is not an interface address`, hint);
        continue;
      }
      const { first, last } = prefixInterval(prefix);
      if (prefix.length <= 30 && (prefix.address === first || prefix.address === last)) {
        const what = `"${text}" is the network's own or its broadcast address`;
        this.#reporter.report("bad-address", place, what, "take a host address");
        continue;
      }
      out.push(prefix);
    }
    return out;
  }

  #routes(attach: AttachFile, addresses: readonly Prefix[]): { network: Prefix; via: Ipv4 }[] {
    const out: { network: Prefix; via: Ipv4 }[] = [];
    for (const route of attach.routes ?? []) {
      const network = this.#network(route.network, this.#at(route, "network"));
      const via = parseIpv4(route.via);
      const onLink = (address: Ipv4): boolean =>
        addresses.some((prefix) => {
          const { first, last } = prefixInterval(prefix);
          return address > first && address < last && address !== prefix.address;
        });
      if (via === undefined || !onLink(via)) {
        const hint = "a router's address in a network that the gateway has an address in here";
        this.#reporter.report(
          "bad-address",
          this.#at(route, "via"),
          `"${route.via}" is no neighbor here`,
          hint,
        );
      } else if (network !== undefined) out.push({ network, via });
    }
    return out;
  }
}

const THIS_NETWORK_END = 2 ** 24;
const LOOPBACK = 127 * 2 ** 24;
const LOOPBACK_END = 128 * 2 ** 24;
const MULTICAST = 224 * 2 ** 24;

/** Temporary zones are where their Purdue level puts them. */
function sideOf({ kind, level }: ZoneFile): Side {
  if (kind === "dmz") return "dmz";
  if (kind === "business" || kind === "external") return "it";
  return kind === "temporary" && level >= 4 ? "it" : "ot";
}

/** A NIC is in one room, and says one thing about how it is used. */
function checkInterfaces(zones: readonly Zone[], reporter: Reporter): void {
  const points = new Map<string, Zone>();
  const modes = new Map<string, Zone>();
  for (const zone of zones) {
    const { attachment } = zone;
    if (attachment === undefined) continue;
    const sameNic = points.get(attachment.nic);
    if (sameNic !== undefined && sameNic.point !== zone.point) {
      const what = `zone "${zone.name}" and zone "${sameNic.name}" share NIC ${attachment.nic}, but one is IT and one OT`;
      reporter.report("attach-conflict", zone.place, what, "give each side a NIC of its own");
    } else points.set(attachment.nic, zone);
    const same = modes.get(attachment.interface);
    if (same !== undefined && same.attachment?.mode !== attachment.mode) {
      const what = `zone "${zone.name}" and zone "${same.name}" attach ${attachment.interface} in different modes`;
      reporter.report("attach-conflict", zone.place, what);
    } else modes.set(attachment.interface, zone);
  }
}
