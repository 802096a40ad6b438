/** The three that must agree, behind one face: the model, the eBPF program, the nftables rules. */
import {
  type Circumstances,
  grantLiveness,
  type Legs,
  livenessOf,
  Model,
  type Point,
} from "@sallyport/policy";
import type { Frame } from "@sallyport/enforce/agreement";
import {
  EbpfHarness,
  type LiveEntry,
  type Lowering,
  NftHarness,
  OBJECT,
} from "@sallyport/enforce/agreement";

export interface SeenVerdict {
  readonly verdict: "allow" | "deny";
  /** Undefined where this world cannot tell: the kernel's own IP input, an ordinary allow. */
  readonly reason: string | undefined;
  /** Conduit key or grant id; undefined where none was involved or this world cannot tell. */
  readonly conduit: string | undefined;
}

export interface World {
  readonly name: string;
  /** Puts legs in force as the next generation. Sessions live on. */
  load(situation: Situation): Promise<void>;
  run(frames: readonly Frame[]): Promise<readonly SeenVerdict[]>;
  close(): Promise<void>;
}

export interface Situation {
  readonly legs: Legs;
  readonly point: Point;
  readonly circumstances: Circumstances;
}

/** Numbers as the enforcer gives them: by key, never twice. */
export class Numbers {
  readonly #ids = new Map<string, number>();
  readonly #keys = new Map<number, string>();

  idOf(key: string): number {
    const known = this.#ids.get(key);
    if (known !== undefined) return known;
    const id = this.#ids.size + 1;
    this.#ids.set(key, id);
    this.#keys.set(id, key);
    return id;
  }

  keyOf(id: number): string | undefined {
    return this.#keys.get(id);
  }
}

/** What the enforcer would hand to a rule compiler in this situation. */
export function loweringOf(
  { legs, point, circumstances }: Situation,
  numbers: Numbers,
  place: { readonly generation: number; readonly slot: 0 | 1; readonly now: number },
): Lowering {
  const islanded = circumstances.islanded ?? new Set<string>();
  const revoked = circumstances.revoked ?? new Set<string>();
  const trusted = circumstances.timeTrusted ?? true;
  const conduits = new Map<string, LiveEntry>(
    legs.conduits.map((conduit) => [
      conduit.key,
      {
        id: numbers.idOf(conduit.key),
        liveness: livenessOf(conduit, place.now, islanded, trusted),
        audit: conduit.audit,
        diode: conduit.legs.some(({ replies }) => !replies),
      },
    ]),
  );
  const grants = (circumstances.grants ?? []).map((grant) => {
    const conduit = legs.conduits.find(({ name }) => name === grant.conduit);
    const liveness = grantLiveness(grant, conduit, place.now, revoked, islanded, trusted);
    return { grant, entry: { id: numbers.idOf(grant.id), liveness, audit: false, diode: false } };
  });
  return { legs, point, ...place, conduits, grants };
}

export class ModelWorld implements World {
  readonly name = "model";
  readonly #model: Model;

  constructor(point: Point) {
    this.#model = new Model({ point });
  }

  async load({ legs, circumstances }: Situation): Promise<void> {
    this.#model.load(legs, circumstances);
  }

  async run(frames: readonly Frame[]): Promise<readonly SeenVerdict[]> {
    const now = Date.now();
    return frames.map((frame) => {
      const { verdict, reason, id } = this.#model.step(frame, now);
      return { verdict, reason, conduit: id };
    });
  }

  async close(): Promise<void> {}
}

/** An engine's harness with slots, generations and numbers as the enforcer handles them. */
class EngineWorld implements World {
  readonly name: string;
  readonly #harness: EbpfHarness | NftHarness;
  readonly #plant: (lowering: Lowering) => Lowering;
  readonly #numbers = new Numbers();
  #generation = 0;

  constructor(
    name: string,
    harness: EbpfHarness | NftHarness,
    plant: (lowering: Lowering) => Lowering,
  ) {
    this.name = name;
    this.#harness = harness;
    this.#plant = plant;
  }

  async load(situation: Situation): Promise<void> {
    this.#generation++;
    const slot = this.#generation % 2 === 0 ? 0 : 1;
    const place = { generation: this.#generation, slot, now: Date.now() } as const;
    await this.#harness.load(this.#plant(loweringOf(situation, this.#numbers, place)));
  }

  async run(frames: readonly Frame[]): Promise<readonly SeenVerdict[]> {
    return (await this.#harness.run(frames)).map(({ verdict, reason, id }) => ({
      verdict,
      reason,
      conduit: id === 0 ? undefined : this.#numbers.keyOf(id),
    }));
  }

  async close(): Promise<void> {
    await this.#harness.close();
  }
}

/** `plant` changes what the compiler is given: a fault for the check to find. */
export async function ebpfWorld(
  plant = (lowering: Lowering): Lowering => lowering,
): Promise<World> {
  return new EngineWorld("eBPF", await EbpfHarness.open(OBJECT), plant);
}

export async function nftWorld(
  { legs, point }: Pick<Situation, "legs" | "point">,
  plant = (lowering: Lowering): Lowering => lowering,
): Promise<World> {
  const here = [...legs.zones, ...legs.attachments].filter((place) => place.point === point);
  const interfaces = [...new Set(here.map((place) => place.interface))];
  return new EngineWorld("nftables", await NftHarness.open(interfaces), plant);
}
