/** Wires an instance's rooms to its engines: nftables outside, eBPF inside where the kernel has it. */
import path from "node:path";
import { Enforcement } from "./apply/enforcement.ts";
import { standGuard } from "./apply/guard.ts";
import { TranslatedEngine } from "./apply/translation.ts";
import { EbpfEngine } from "./ebpf/engine.ts";
import { NftablesEngine } from "./nftables/engine.ts";
import { type Instance, netnsOf } from "./rooms/instance.ts";
import { MIRROR } from "./rooms/plan.ts";
import { type Engines, RoomSet } from "./rooms/room-set.ts";

export interface Place {
  readonly instance: Instance;
  /** Path of the namespace that the NICs come from. */
  readonly hostNetns: string;
  /** No eBPF and one uid: `inner` is judged by nftables too, and says so. */
  readonly oneEngine: boolean;
}

/** Of one reason, zone pair and conduit: enough to look at, too few to fill a disk. */
const SAMPLES_PER_SECOND = 5;
const SAMPLES_BURST = 10;

function roomsAt({ instance, hostNetns, oneEngine }: Place): RoomSet {
  const outer = new NftablesEngine({ point: "outer", netns: netnsOf(instance, "outer") });
  const netns = netnsOf(instance, "inner");
  const inner = oneEngine
    ? new NftablesEngine({ point: "inner", netns })
    : new TranslatedEngine(
        new EbpfEngine({
          point: "inner",
          netns,
          directory: path.join(instance.runDir, "bpf"),
          samples: {
            interface: MIRROR.engineEnd,
            perSecond: SAMPLES_PER_SECOND,
            burst: SAMPLES_BURST,
          },
        }),
        netns,
      );
  const engines: Engines = { outer, inner };
  return new RoomSet(instance, engines, hostNetns);
}

export async function openEnforcement(
  place: Place,
  options: { readonly clock: () => number; readonly guardCommand: readonly string[] },
): Promise<Enforcement> {
  return await Enforcement.open({ rooms: roomsAt(place), ...options });
}

export async function openGuard(place: Place, ready: () => void): Promise<void> {
  await standGuard(place.instance.stateDir, roomsAt(place), ready);
}
