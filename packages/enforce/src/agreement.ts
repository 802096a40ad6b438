/** For the agreement check: each engine fed with frames, one by one, outside of any plant. */
export { OBJECT } from "./ebpf/build.ts";
export { type EngineVerdict, type Frame, Harness as EbpfHarness } from "./ebpf/harness.ts";
export type { LiveEntry, Lowering } from "./engine.ts";
export { Harness as NftHarness } from "./nftables/harness.ts";
