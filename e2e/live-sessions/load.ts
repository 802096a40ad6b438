/** A plant at work: clients that poll, clients that only hold a connection, and a vendor under a grant. */
import { ask, fields, listOf, word } from "sallyport";
import type { Capture } from "../../lab/capture.ts";
import { describeAnswer, Poller } from "../../lab/client.ts";
import { describePacket } from "../../lab/pcap.ts";
import type { HostName } from "../../lab/plant.ts";
import { must, sleep, within } from "../../lab/shell.ts";
import type { Site } from "../../lab/site.ts";
import { bytesOf, dump, mapsOf } from "./legs.ts";

const PORT = 502;
/** 20 requests a second. */
const BUSY_MS = 50;
/** Longer than any test: such a client asks once and then holds its connection. */
const IDLE_MS = 600_000;
const SECONDS = 280;
const OPEN_LIMIT_MS = 15_000;
/** Between two looks at the sessions: of those that talk, each has by then. */
const TALK_MS = 1_500;
const FIRST_ANSWERS = 10;

interface Client {
  readonly from: HostName;
  readonly to: HostName;
  readonly everyMs: number;
}

const CLIENTS: readonly Client[] = [
  { from: "hmi", to: "tank-plc", everyMs: BUSY_MS },
  { from: "erp", to: "tank-plc", everyMs: BUSY_MS },
  { from: "hmi", to: "press-plc", everyMs: IDLE_MS },
  { from: "historian", to: "press-plc", everyMs: IDLE_MS },
];

interface Running extends Client {
  readonly poller: Poller;
}

export class Load {
  readonly #site: Site;
  readonly #clients: readonly Running[];
  readonly #dialed: readonly Capture[];
  #checkedAt = Date.now();

  private constructor(site: Site, clients: readonly Running[], dialed: readonly Capture[]) {
    this.#site = site;
    this.#clients = clients;
    this.#dialed = dialed;
  }

  static async start(site: Site): Promise<Load> {
    const { plant } = site;
    const clients = CLIENTS.map((client) => {
      const to = { address: plant.address(client.to), port: PORT };
      const options = { intervalMs: client.everyMs, seconds: SECONDS, timeoutSeconds: 3 };
      const request = { area: "holding", address: 0, count: 2 } as const;
      return { ...client, poller: new Poller(plant, client.from, to, request, options) };
    });
    const isUp = (client: Running): boolean => {
      const good = client.poller.since(0).filter(({ ok }) => ok).length;
      return good >= (client.everyMs === BUSY_MS ? FIRST_ANSWERS : 1);
    };
    const up = await within(OPEN_LIMIT_MS, () => clients.every(isUp) || undefined);
    // From here on nobody has a reason to dial.
    const syn = ["tcp[13] & 2 != 0"];
    const links = ["tank-plc", "press-plc"] as const;
    const dialed = await Promise.all(links.map((host) => plant.capture(host, syn)));
    const load = new Load(site, clients, dialed);
    if (up === true) return load;
    await load.stop();
    throw new RangeError(`the plant did not get to work: ${load.faults().join("; ")}`);
  }

  /** Requests that failed, connections that ended, and new ones, since the last look. */
  faults(): string[] {
    const since = this.#checkedAt;
    this.#checkedAt = Date.now();
    const dialed = this.#dialed.flatMap((link) => link.since(since));
    return [
      ...dialed.map((packet) => `dialed anew: ${describePacket(packet)}`),
      ...this.#clients.flatMap(({ from, to, poller }) => {
        const bad = poller.since(since).filter(({ ok }) => !ok);
        const gone = poller.isRunning ? [] : ["its connection is gone"];
        return [...bad.map(describeAnswer), ...gone].map((what) => `${from} → ${to}: ${what}`);
      }),
    ];
  }

  /** Good answers so far, by client that polls. */
  answers(): readonly number[] {
    const busy = this.#clients.filter(({ everyMs }) => everyMs === BUSY_MS);
    return busy.map(({ poller }) => poller.since(0).filter(({ ok }) => ok).length);
  }

  /** Sessions of the inner engine in which nobody says anything: key → times of opening and expiry. */
  async idleInside(): Promise<ReadonlyMap<string, string>> {
    const before = await sessionTimes(this.#site);
    await sleep(TALK_MS);
    const now = await sessionTimes(this.#site);
    return new Map([...now].filter(([key, times]) => before.get(key) === times));
  }

  /** The idle connection through the outer engine: seconds until it is forgotten, and its mark. */
  async idleOutside(): Promise<{ readonly leftS: number; readonly mark: string }> {
    const { plant, instance } = this.#site;
    const from = ["--orig-src", plant.address("historian"), "-p", "tcp"];
    const netns = `${instance.netnsPrefix}-outer`;
    const text = await must(["conntrack", "-L", ...from], { netns });
    const [, left = "", mark = ""] =
      /^tcp +6 ([0-9]+) ESTABLISHED .* mark=([0-9]+)/m.exec(text) ?? [];
    if (mark === "") throw new RangeError(`the historian has no connection: ${text}`);
    return { leftS: Number(left), mark };
  }

  async stop(): Promise<void> {
    await Promise.all(this.#clients.map(({ poller }) => poller.stop()));
    await Promise.all(this.#dialed.map((link) => link.stop()));
  }
}

/** `struct session`: expires at byte 16, opened at 32; a boot timer before them. */
async function sessionTimes(site: Site): Promise<Map<string, string>> {
  const entries = await dump(`${mapsOf(site.instance)}/sessions`);
  return new Map(
    entries.map(({ key, value }) => {
      const bytes = bytesOf(value);
      const [expires, opened] = [bytes.readBigUInt64LE(16), bytes.readBigUInt64LE(32)];
      return [bytesOf(key).toString("hex"), `opened ${opened} expires ${expires}`];
    }),
  );
}

export interface Hits {
  /** By point and number; exact, and never to go down. */
  readonly packets: ReadonlyMap<string, number>;
  /** The same by the conduit's name. */
  readonly passed: ReadonlyMap<string, number>;
  /** Refused packets in which a conduit was involved, by its name. */
  readonly refused: ReadonlyMap<string, number>;
}

export async function hitsOf(site: Site): Promise<Hits> {
  const counters = fields(await ask(site.instance.name, { type: "counters" }));
  const packets = new Map<string, number>();
  const passed = new Map<string, number>();
  for (const hit of listOf(counters["hits"]).map(fields)) {
    const [count, name] = [Number(hit["packets"]), word(hit["name"])];
    packets.set([hit["point"], hit["id"]].map(word).join(" "), count);
    passed.set(name, (passed.get(name) ?? 0) + count);
  }
  const refused = new Map<string, number>();
  for (const denial of listOf(counters["denials"]).map(fields)) {
    const name = word(denial["name"]);
    if (name !== "") refused.set(name, (refused.get(name) ?? 0) + Number(denial["packets"]));
  }
  return { packets, passed, refused };
}
