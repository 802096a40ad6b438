/** Legs written by hand after `lab/plant/site.yaml`: what tests of the model and its users run on. */
import { type Interval, type Ipv4 } from "@sallyport/core";
import type { Conduit, Grant, Leg, Legs } from "./types.ts";
export declare const HOUR = 3600000;
/** A Wednesday, noon in Vienna. */
export declare const NOW: number;
/** Inside the Sunday window 02:00 to 06:00, Vienna. */
export declare const SUNDAY: number;
export declare function ip(text: string): Ipv4;
export declare function host(text: string): Interval[];
type HostName = "erp" | "historian" | "vendorPc" | "hmi" | "engWs" | "tankPlc" | "pressPlc" | "sis";
export declare const HOST: Readonly<Record<HostName, Ipv4>>;
interface Gated {
  readonly name: string;
  readonly via: "proxy" | "inspect" | "session";
  readonly from: readonly [string, Ipv4];
  readonly to: readonly [string, Ipv4];
  readonly room: string;
  readonly listen: readonly [string, number];
  readonly egress: string;
  readonly slots?: number;
  readonly line: number;
}
/** A conduit to one asset, port 502, through a gate. */
export declare function gated(spec: Gated): Conduit;
/** A conduit inside `inner` without a gate. */
export declare function plain(
  name: string,
  via: "direct" | "diode",
  from: readonly [string, Ipv4],
  to: readonly [string, Ipv4],
  leg: Pick<Leg, "protocol" | "ports">,
  line?: number,
): Conduit;
export declare function demoLegs(conduits?: readonly Conduit[]): Legs;
/** The demo plant's legs with one conduit changed. */
export declare function withConduit(name: string, change: Partial<Conduit>): Legs;
export declare function without(name: string): Legs;
export declare const GRANT: Grant;
export {};
