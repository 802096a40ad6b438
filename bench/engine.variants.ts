/** Bench-only stand-ins behind the engines' port: one allow-all rule each, and no engine at all. */
import fs from "node:fs";
import path from "node:path";
import { run } from "@sallyport/enforce";
import type { Legs } from "@sallyport/policy";
import { inside } from "./engine.doors.ts";
import type { Engine, Lowering, Point } from "./engine.words.ts";

/** Judges nothing: for the room that a benchmark leaves alone. */
export class SilentEngine implements Engine {
  readonly kind = "nftables";
  readonly point: Point;

  constructor(point: Point) {
    this.point = point;
  }

  sysctls(_legs: Legs): Readonly<Record<string, string>> {
    return {};
  }

  install(_legs: Legs): Promise<void> {
    return Promise.resolve();
  }

  attach(_interfaces: readonly string[]): Promise<void> {
    return Promise.resolve();
  }

  load(_lowering: Lowering): Promise<void> {
    return Promise.resolve();
  }

  select(..._selection: Parameters<Engine["select"]>): Promise<void> {
    return Promise.resolve();
  }

  setLive(): ReturnType<Engine["setLive"]> {
    return Promise.resolve(new Map());
  }

  addGrant(): ReturnType<Engine["addGrant"]> {
    return Promise.resolve(new Map());
  }

  removeGrant(): ReturnType<Engine["removeGrant"]> {
    return Promise.resolve(new Map());
  }

  readBack(): ReturnType<Engine["readBack"]> {
    return Promise.resolve({ digest: "", entries: new Map(), slot: 0, interfaces: undefined });
  }

  counters(): ReturnType<Engine["counters"]> {
    return Promise.resolve({ hits: [], denials: [], peers: [] });
  }

  remove(): Promise<void> {
    return Promise.resolve();
  }
}

/** nftables with connection tracking and one rule, nothing of the product. */
export class BareRule extends SilentEngine {
  readonly #netns: string;

  constructor(netns: string) {
    super("inner");
    this.#netns = netns;
  }

  override async install(): Promise<void> {
    const { allowAll } = await inside("nftables/allow-all");
    await loadRules(this.#netns, allowAll().nftables);
  }
}

/** The product's own hooks, screen and settings, and in its place one rule that counts nothing. */
export class OneRuleInHooks extends SilentEngine {
  readonly #netns: string;
  protected readonly engine: Engine;

  constructor(netns: string, engine: Engine) {
    super("inner");
    this.#netns = netns;
    this.engine = engine;
  }

  override sysctls(legs: Legs): Readonly<Record<string, string>> {
    return this.engine.sysctls(legs);
  }

  override install(legs: Legs): Promise<void> {
    return this.engine.install(legs);
  }

  override attach(interfaces: readonly string[]): Promise<void> {
    return this.engine.attach(interfaces);
  }

  override async load(lowering: Lowering): Promise<void> {
    await this.engine.load(lowering);
    await loadRules(this.#netns, await this.rules(lowering));
  }

  protected async rules(_lowering: Lowering): Promise<readonly unknown[]> {
    const { allowAll } = await inside("nftables/allow-all");
    const judge = { family: "ip", table: "sallyport", name: "judge" };
    return [{ flush: { chain: judge } }, ...allowAll().nftables];
  }
}

/**
 * The product with all it does for a session (live set, budget, hits, peers, chains of denials), and one
 * rule where it looks up source, target and conduit: what `OneRuleProgram` is to the other engine.
 */
export class OneRule extends OneRuleInHooks {
  /** Its number is one of the policy's, so that it is live and counted. */
  protected override async rules({ slot, conduits }: Lowering): Promise<readonly unknown[]> {
    const { oneRule } = await inside("nftables/allow-all");
    const [first] = conduits.values();
    if (first === undefined) throw new Error("a policy without conduits has no number to give");
    return oneRule(slot, first.id).nftables;
  }

  override select(...selection: Parameters<Engine["select"]>): Promise<void> {
    return this.engine.select(...selection);
  }
}

async function loadRules(netns: string, commands: readonly unknown[]): Promise<void> {
  // A file, because nft opens its standard input by name, which fails on the socket Node gives it.
  const file = `/dev/shm/${netns}.json`;
  fs.writeFileSync(file, JSON.stringify({ nftables: commands }));
  try {
    await run("nft", ["-j", "-f", file], { netns });
  } finally {
    fs.rmSync(file);
  }
}

/** The eBPF program with one rule: sessions, counters and the rest of it are the product's. */
export class OneRuleProgram extends SilentEngine {
  readonly #netns: string;
  readonly #directory: string;
  readonly #object: string;

  constructor(netns: string, directory: string, object: string) {
    super("inner");
    this.#netns = netns;
    this.#directory = directory;
    this.#object = object;
  }

  override async install(): Promise<void> {
    fs.mkdirSync(this.#directory, { recursive: true });
    await run("mount", ["-t", "bpf", "bpf", this.#directory]);
    fs.mkdirSync(path.join(this.#directory, "maps"));
    const pins = [
      path.join(this.#directory, "program"),
      "pinmaps",
      path.join(this.#directory, "maps"),
    ];
    await run("bpftool", ["prog", "load", this.#object, ...pins]);
  }

  override attach(interfaces: readonly string[]): Promise<void> {
    return attachProgram(this.#netns, interfaces, path.join(this.#directory, "program"));
  }

  override async load(lowering: Lowering): Promise<void> {
    const { fillSlot, select, batchText } = await inside("ebpf/lower");
    const clock = { nowMs: lowering.now, bootNs: 0n };
    const writes = [...fillSlot(lowering, () => undefined, clock), select(lowering.slot)];
    const input = batchText(path.join(this.#directory, "maps"), writes);
    await run("bpftool", ["batch", "file", "-"], { input });
  }

  override async remove(): Promise<void> {
    await run("umount", [this.#directory]).catch(() => "");
  }
}

/** Marks every packet, knows nothing. */
export class BareProgram extends SilentEngine {
  readonly #netns: string;
  readonly #program: string;

  constructor(netns: string, program: string) {
    super("inner");
    this.#netns = netns;
    this.#program = program;
  }

  override attach(interfaces: readonly string[]): Promise<void> {
    return attachProgram(this.#netns, interfaces, this.#program);
  }
}

async function attachProgram(
  netns: string,
  interfaces: readonly string[],
  program: string,
): Promise<void> {
  const lines = interfaces.flatMap((name) => [
    `qdisc add dev ${name} clsact`,
    `filter add dev ${name} ingress bpf direct-action object-pinned ${program}`,
  ]);
  await run("tc", ["-batch", "-"], { input: `${lines.join("\n")}\n`, netns });
}
