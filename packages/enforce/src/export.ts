/**
 * A policy as text for a second vendor's box, which then stands in line with one of our rooms. Not for
 * our own engines: no windows, no grants, no translation; only what may be open at all.
 * No root process loads this.
 * @module
 */
import { formatIpv4, type Interval, SallyportError } from "@sallyport/core";
import type { Legs, Point } from "@sallyport/policy/legs";

export type ExportTarget = "nftables" | "iptables";
export const EXPORT_TARGETS: readonly ExportTarget[] = ["nftables", "iptables"];

/** One rule of a packet filter: a source, a target and a port range each. */
interface Row {
  readonly from: string;
  readonly to: string;
  readonly protocol: string;
  /** Empty for ICMP. */
  readonly ports: string;
  readonly replies: boolean;
  readonly conduit: string;
}

/** `now` (ms since 1970) leaves out what is expired. Session conduits open nothing without a grant. */
export function exportText(legs: Legs, point: Point, target: string, now: number): string {
  const rows = rowsOf(legs, point, now);
  const head = `# Sallyport ${legs.site}, ${point}, policy ${legs.policySha256.slice(0, 12)}`;
  if (target === "nftables") return [head, ...nftables(rows), ""].join("\n");
  if (target === "iptables") return [head, ...iptables(rows), ""].join("\n");
  const hint = `one of ${EXPORT_TARGETS.join(", ")}`;
  throw new SallyportError("unknown-export", `no export for ${target}`, { hint });
}

function rowsOf(legs: Legs, point: Point, now: number): Row[] {
  const open = legs.conduits.filter(
    ({ expires, session }) => now < expires && session === undefined,
  );
  return open.flatMap(({ name: conduit, legs: shares }) =>
    shares
      .filter((leg) => leg.point === point)
      .flatMap(({ from, to, protocol, ports, replies }) =>
        cross(from, to, ports.length === 0 ? [undefined] : ports).map(
          ([source, destination, range]) => ({
            from: spanOf(source, formatIpv4),
            to: spanOf(destination, formatIpv4),
            protocol,
            ports: range === undefined ? "" : spanOf(range, String),
            replies,
            conduit,
          }),
        ),
      ),
  );
}

function cross<A, B, C>(as: readonly A[], bs: readonly B[], cs: readonly C[]): [A, B, C][] {
  return as.flatMap((a) => bs.flatMap((b) => cs.map((c): [A, B, C] => [a, b, c])));
}

function spanOf({ first, last }: Interval, show: (value: number) => string): string {
  return first === last ? show(first) : `${show(first)}-${show(last)}`;
}

function nftables(rows: readonly Row[]): string[] {
  return [
    "table ip sallyport_export {",
    "  chain forward {",
    "    type filter hook forward priority filter; policy drop;",
    // The mark tells which connections may be answered: a diode's may not.
    "    ct state invalid drop",
    "    ct mark 1 ct state established,related accept",
    "    ct mark 2 ct direction original ct state established accept",
    ...rows.map(({ from, to, protocol, ports, replies, conduit }) => {
      const what = protocol === "icmp" ? "icmp type echo-request" : `${protocol} dport ${ports}`;
      const act = `ct state new ct mark set ${replies ? 1 : 2} accept`;
      return `    ip saddr ${from} ip daddr ${to} ${what} ${act} comment "${conduit}"`;
    }),
    "  }",
    "}",
  ];
}

function iptables(rows: readonly Row[]): string[] {
  return [
    "*filter",
    ":FORWARD DROP [0:0]",
    "-A FORWARD -m conntrack --ctstate INVALID -j DROP",
    "-A FORWARD -m connmark --mark 1 -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
    "-A FORWARD -m connmark --mark 2 -m conntrack --ctstate ESTABLISHED --ctdir ORIGINAL -j ACCEPT",
    ...rows.flatMap(({ from, to, protocol, ports, replies, conduit }) => {
      const ends = `-m iprange --src-range ${from} --dst-range ${to}`;
      const what =
        protocol === "icmp" ? "--icmp-type echo-request" : `--dport ${ports.replace("-", ":")}`;
      const match = `-p ${protocol} ${what} ${ends} -m conntrack --ctstate NEW`;
      const comment = `-m comment --comment "${conduit}"`;
      return [
        `-A FORWARD ${match} ${comment} -j CONNMARK --set-mark ${replies ? 1 : 2}`,
        `-A FORWARD ${match} ${comment} -j ACCEPT`,
      ];
    }),
    "COMMIT",
  ];
}
