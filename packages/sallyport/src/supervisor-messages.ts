/** What the enforcer tells the supervisor: which rooms stand, and what each room's process needs. */
import type { Named } from "@sallyport/enforce";
import type { GateListener } from "@sallyport/gate";
import type { EngineZone } from "@sallyport/policy/legs";

export interface RoomsStand {
  readonly type: "rooms";
  readonly generation: number;
  /** Paths of network namespaces. */
  readonly outer: string;
  /** Where refusals of the inner engine come out: samples in `tap`, or the log of `inner` itself. */
  readonly inner: { readonly netns: string; readonly device: string };
  readonly gates: readonly {
    readonly room: string;
    readonly netns: string;
    readonly listeners: readonly GateListener[];
  }[];
  /** The room of the component of kind control, where the policy has one. */
  readonly control?: string;
  readonly names: Names;
}

/** Numbers in kernel events back to the policy's words. */
export interface Names {
  readonly generation: number;
  readonly conduits: readonly Named[];
  readonly zones: readonly EngineZone[];
}
