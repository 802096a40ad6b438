/** Kernel settings of a room: set, read back, watched. */
import { existsSync } from "node:fs";
import { run } from "../apply/run.ts";
import type { RoomPlan } from "./plan.ts";

/** `net/ipv4/…` → value. A slash parts the names, as an interface may be called `eth0.5`. */
export type Sysctls = ReadonlyMap<string, string>;

const PER_INTERFACE: Readonly<Record<string, string>> = {
  accept_local: "0",
  accept_redirects: "0",
  accept_source_route: "0",
  // Announce and answer only addresses of the interface that was asked (no weak host model).
  arp_announce: "2",
  arp_ignore: "2",
  bootp_relay: "0",
  proxy_arp: "0",
  proxy_arp_pvlan: "0",
  route_localnet: "0",
  rp_filter: "1",
  secure_redirects: "0",
  send_redirects: "0",
  // Without it `rp_filter` knows no mark, and the guard's last rule drops everything.
  src_valid_mark: "1",
};

const ENGINE_ROOM: Readonly<Record<string, string>> = {
  "net/ipv4/fwmark_reflect": "1",
  "net/ipv4/icmp_echo_ignore_all": "1",
  "net/ipv4/icmp_errors_use_inbound_ifaddr": "1",
  // These rooms hold no socket; without this the kernel looks for one at each packet, before it routes.
  "net/ipv4/ip_early_demux": "0",
};

const EVERY_ROOM: Readonly<Record<string, string>> = {
  "net/ipv4/icmp_echo_ignore_broadcasts": "1",
  // A room holds one uid, so a low port protects nothing and would cost the gate a capability.
  "net/ipv4/ip_unprivileged_port_start": "0",
};

/**
 * All settings of a room. `routed` are the interfaces that forward: in a component's room none, and in
 * an engine's room not `all` and `default`, so that an undeclared NIC does not forward either. Before
 * there are links there is no engine, whose settings may need a kernel module that comes with it.
 */
export function sysctlsOf(room: RoomPlan, linked = true): Sysctls {
  const interfaces = ["all", "default", "lo", ...(linked ? room.interfaces : [])];
  const out = new Map(Object.entries(EVERY_ROOM));
  // First `all`: writing it changes every interface's value, and `accept_redirects` with it.
  for (const name of interfaces) {
    out.set(`net/ipv4/conf/${name}/forwarding`, room.routed.has(name) ? "1" : "0");
  }
  for (const name of interfaces) {
    for (const [key, value] of Object.entries(PER_INTERFACE)) {
      out.set(`net/ipv4/conf/${name}/${key}`, value);
    }
    // A kernel without IPv6 has nothing to switch off.
    if (existsSync("/proc/sys/net/ipv6")) out.set(`net/ipv6/conf/${name}/disable_ipv6`, "1");
  }
  if (room.point === undefined) return out;
  const needs = linked ? Object.entries(room.engineNeeds) : [];
  for (const [key, value] of [...Object.entries(ENGINE_ROOM), ...needs]) {
    out.set(key.replaceAll(".", "/"), value);
  }
  return out;
}

export async function setSysctls(netns: string, sysctls: Sysctls): Promise<void> {
  const pairs = [...sysctls].map(([key, value]) => `${key}=${value}`);
  if (pairs.length > 0) await run("sysctl", ["-q", "-w", ...pairs], { netns });
}

/** What differs from what was set: `net/ipv4/conf/outer0/forwarding is 1, not 0`. */
export async function checkSysctls(netns: string, sysctls: Sysctls): Promise<string[]> {
  const keys = [...sysctls.keys()];
  const values = (await run("sysctl", ["-e", "-n", ...keys], { netns })).trimEnd().split("\n");
  if (values.length !== keys.length) {
    return [`${keys.length - values.length} of ${keys.length} settings cannot be read`];
  }
  return keys.flatMap((key, index) => {
    const wanted = sysctls.get(key) ?? "";
    const found = values[index] ?? "";
    return found === wanted ? [] : [`${key} is ${found}, not ${wanted}`];
  });
}
