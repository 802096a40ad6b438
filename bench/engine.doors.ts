/**
 * The engines one by one, which no package door offers: products use them through
 * `openEnforcement`, benchmarks want each on its own and the builds with one rule beside them.
 */
import type { Engine, Lowering, Point, Slot } from "./engine.words.ts";

interface MapWrite {
  readonly map: string;
  readonly key: string;
  readonly value: string | undefined;
}
type Document = { readonly nftables: readonly unknown[] };

interface Inside {
  readonly "ebpf/engine": {
    readonly EbpfEngine: new (options: {
      readonly point: Point;
      readonly netns: string;
      readonly directory: string;
      readonly samples?: {
        readonly interface: string;
        readonly perSecond: number;
        readonly burst: number;
      };
    }) => Engine & { readonly maps: string };
  };
  readonly "ebpf/lower": {
    readonly fillSlot: (
      lowering: Lowering,
      ifindexOf: (name: string) => number | undefined,
      clock: { readonly nowMs: number; readonly bootNs: bigint },
    ) => MapWrite[];
    readonly select: (confirmed: Slot) => MapWrite;
    readonly batchText: (directory: string, writes: readonly MapWrite[]) => string;
  };
  readonly "ebpf/build": {
    readonly canBuild: () => boolean;
    readonly build: (object: string, defines?: readonly string[]) => void;
  };
  readonly "nftables/engine": {
    readonly NftablesEngine: new (options: {
      readonly point: Point;
      readonly netns: string;
    }) => Engine;
  };
  readonly "nftables/allow-all": {
    readonly allowAll: () => Document;
    readonly oneRule: (slot: Slot, id: number) => Document;
  };
  readonly "apply/translation": {
    readonly TranslatedEngine: new (engine: Engine, netns: string) => Engine;
  };
}

/** By a computed name: what is measured here is meant to have no other way in. */
export async function inside<Name extends keyof Inside>(name: Name): Promise<Inside[Name]> {
  const file = new URL(`../packages/enforce/src/${name}.ts`, import.meta.url);
  return (await import(file.href)) as Inside[Name];
}
