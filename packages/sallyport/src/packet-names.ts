import { type Ipv4 } from "@sallyport/core";
import type { Point } from "@sallyport/policy/legs";
import type { Names } from "./supervisor-messages.ts";

/** Numbers and addresses of a kernel event, in the policy's words. */
export class PacketNames {
  readonly #conduits: ReadonlyMap<number, { name: string; source: string }>;
  readonly #names: Names;

  constructor(names: Names) {
    this.#names = names;
    this.#conduits = new Map(names.conduits.map((conduit) => [conduit.id, conduit]));
  }

  conduit(id: number): { name: string; source: string } | undefined {
    return this.#conduits.get(id);
  }

  /** The zone of an address, preferring how the point itself sees it. */
  zone(point: Point, address: Ipv4): string {
    const holds = this.#names.zones.filter((zone) =>
      zone.addresses.some(({ first, last }) => first <= address && address <= last),
    );
    return (holds.find((zone) => zone.point === point) ?? holds[0])?.name ?? "";
  }
}
