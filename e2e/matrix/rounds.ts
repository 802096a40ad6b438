/**
 * Rounds of scans: each one is a stretch of time with what it must show on the links and what it may
 * show, taken from the matrix. Judged when all captures have ended, so that no packet comes too late.
 */
import { contains, formatIpv4, type Interval, parseIpv4 } from "@sallyport/core";
import type { MatrixRow } from "@sallyport/policy";
import { type ScanKind, type Survey, survey } from "../../lab/attacks.ts";
import { HOSTS, type Host, type HostName, hostNamed, segmentOf } from "../../lab/plant.ts";
import { sleep } from "../../lab/shell.ts";
import type { Site } from "../../lab/site.ts";
import { answers, type Fact, opens, type Sighting } from "./links.ts";
import { type Conversation, listenerOf, portsOf, type Told, toldBy } from "./told.ts";

/** Listens for TCP and answers UDP on every host: a leak to it would be answered, and a scan of a
 * neighbor that does not find it proves nothing. */
export const CONTROL_PORT = 7779;
/** Packets a second and scanner: first so, then so. A closed port is answered, so all of them are more. */
const RATES = [20_000, 7_000];
const RATES_ALL_PORTS = [12_000, 7_000];
/** Two cores: more scanners would only wait for each other. */
const SCANNERS = 3;
const SCAN_LIMIT_S = 60;
/** Between rounds, for a gate's last packets. They are far quicker, and a late one is not lost. */
const SETTLE_MS = 400;

/** How far a client goes: nmap's kinds, or a client that talks. */
export type Manner = ScanKind | "talk";

export interface Probe {
  readonly from: HostName;
  readonly targets: readonly string[];
  readonly ports: string;
}

export interface Round {
  readonly name: string;
  readonly from: number;
  readonly to: number;
  /** Each of these was seen … */
  readonly required: ReadonlySet<Fact>;
  /** … and nothing but these. */
  readonly allowed: ReadonlySet<Fact>;
}

/** What the matrix lets this probe open; nothing for packets that no conduit can carry. */
export function conversations(told: Told, probe: Probe, manner: Manner): Conversation[] {
  if (manner === "fragments" || manner === "ip-options") return [];
  const protocol = manner === "udp" ? "udp" : "tcp";
  const { address, segment } = hostNamed(probe.from);
  const { nic } = segmentOf(probe.from);
  const source = parseIpv4(address);
  const scanned = portsOf(probe.ports);
  const out: Conversation[] = [];
  for (const row of told.rows) {
    if (source === undefined || row.interface !== nic || row.protocol !== protocol) continue;
    if (!contains([row.from], source)) continue;
    for (const target of probe.targets) {
      const to = parseIpv4(target);
      if (to === undefined || !contains([row.to], to) || isNeighbor(segment, target)) continue;
      for (const port of within(row.ports, scanned)) {
        const isGate = row.answeredBy === "gate";
        const listener = isGate ? listenerOf(told, row, to, port) : undefined;
        out.push({ row, source: address, target, port, listener });
      }
    }
  }
  return out;
}

function* within(ports: readonly Interval[], scanned: readonly Interval[]): Generator<number> {
  for (const { first, last } of ports) {
    for (let port = first; port <= last; port++) if (contains(scanned, port)) yield port;
  }
}

/** What one conversation leaves on the links; a gate dials only for a client that connects. */
export function factsOf(conversation: Conversation, manner: Manner): Fact[] {
  const { row, source, target, port, listener } = conversation;
  const [client, server] = [nameOf(source), nameOf(target)];
  if (row.protocol === "icmp") throw new RangeError("no scan sends echo requests");
  if (listener === undefined) {
    const opening = opens(server, source, target, port, row.protocol);
    const isAnswered = row.protocol === "tcp" && row.answeredBy === "target";
    return isAnswered ? [opening, answers(client, target, port, source)] : [opening];
  }
  const { room, listenAddress, listenPort } = listener;
  const facts = [
    opens(`${room}/${row.point}0`, source, formatIpv4(listenAddress), listenPort, "tcp"),
    answers(client, target, port, source),
  ];
  if (manner === "syn" || !row.complete) return facts;
  const egress = formatIpv4(listener.egressAddress);
  return [
    ...facts,
    opens(server, egress, target, port, "tcp"),
    answers(`${room}/inner0`, target, port, egress),
  ];
}

function nameOf(address: string): string {
  return HOSTS.find((host) => host.address === address)?.name ?? address;
}

export function isNeighbor(segment: Host["segment"], address: string): boolean {
  return HOSTS.some((host) => host.segment === segment && host.address === address);
}

/** Hosts of the plant that send without being asked, where the matrix lets them. */
export function background(told: Told): Fact[] {
  const { address } = hostNamed("sis");
  const probe: Probe = { from: "sis", targets: [hostNamed("hmi").address], ports: "514" };
  return conversations(told, probe, "udp")
    .filter(({ source }) => source === address)
    .flatMap((conversation) => factsOf(conversation, "udp"));
}

/** A neighbor, or where there is none the host itself. */
export function controlOf(host: HostName): string {
  const { segment } = hostNamed(host);
  const others = HOSTS.filter((other) => other.segment === segment && other.name !== host);
  return (others[0] ?? hostNamed(host)).address;
}

/** Plays a round; the schedule may change while it lasts, so the matrix is asked before and after. */
export async function playRound(
  site: Site,
  name: string,
  manner: Manner,
  probes: readonly Probe[],
  act: (told: Told) => Promise<void>,
): Promise<Round> {
  const from = Date.now();
  const before = await toldBy(site);
  await act(before);
  await sleep(SETTLE_MS);
  const after = await toldBy(site);
  const sets = [before, after].map((told) => expectedFacts(told, probes, manner));
  const [first = new Set<Fact>(), second = new Set<Fact>()] = sets;
  const common = [...first].filter((fact) => second.has(fact));
  const heard = [...background(before), ...background(after)];
  return {
    name,
    from,
    to: Date.now(),
    required: new Set(common),
    allowed: new Set([...first, ...second, ...heard]),
  };
}

export function expectedFacts(told: Told, probes: readonly Probe[], manner: Manner): Set<Fact> {
  return new Set(
    probes.flatMap((probe) =>
      conversations(told, probe, manner).flatMap((one) => factsOf(one, manner)),
    ),
  );
}

/** All probes of one kind; adds to `faults` what nmap saw otherwise than the matrix says. */
export async function scanRound(
  site: Site,
  kind: ScanKind,
  probes: readonly Probe[],
  faults: string[],
  name: string = kind,
): Promise<Round> {
  return playRound(site, name, kind, probes, async (told) => {
    await inTurns(probes, async (probe) => {
      const found = await scanOnce(site, told, probe, kind);
      faults.push(...found.map((why) => `${kind} ${why}`));
    });
  });
}

/**
 * A machine with other work loses packets: a scan in which an answer is missing is done again, slower.
 * An answer too many is never forgiven.
 */
async function scanOnce(site: Site, told: Told, probe: Probe, kind: ScanKind): Promise<string[]> {
  const control = controlOf(probe.from);
  const faults: string[] = [];
  let silences: readonly string[] = [];
  for (const rate of probe.ports === "-" ? RATES_ALL_PORTS : RATES) {
    const seen = await survey(site.plant, probe.from, {
      kind,
      targets: [...probe.targets.filter((target) => target !== control), control],
      ports: probe.ports === "-" ? "-" : `${probe.ports},${CONTROL_PORT}`,
      rate,
      retries: 0,
      limitSeconds: SCAN_LIMIT_S,
    });
    const judged = surveyFaults(told, probe, kind, seen);
    faults.push(...judged.answers);
    silences = judged.silences;
    if (silences.length === 0) break;
  }
  return [...faults, ...silences];
}

export async function inTurns<T>(
  items: readonly T[],
  act: (item: T) => Promise<void>,
  atOnce: number = SCANNERS,
): Promise<void> {
  const waiting = [...items];
  const worker = async (): Promise<void> => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await act(item);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

/** Silence, as nmap says it: of UDP it cannot know better. */
const SILENT: readonly string[] = ["filtered", "open|filtered"];

export interface SurveyFaults {
  /** Answers that the matrix does not promise. */
  readonly answers: readonly string[];
  /** Answers that are missing. */
  readonly silences: readonly string[];
}

export function surveyFaults(told: Told, probe: Probe, kind: ScanKind, seen: Survey): SurveyFaults {
  const { from } = probe;
  const { segment } = hostNamed(from);
  const control = controlOf(from);
  const found = new Set(
    seen.ports
      .filter(({ target, state }) => !isNeighbor(segment, target) && !SILENT.includes(state))
      .map(({ target, port, state }) => `${target}:${port} ${state}`),
  );
  const expected = new Set(
    conversations(told, probe, kind)
      .filter(({ row }) => row.answeredBy !== "nobody")
      .map(({ target, port }) => `${target}:${port} open`),
  );
  const loud = seen.others.filter(
    ({ target, state }) => !isNeighbor(segment, target) && !SILENT.includes(state),
  );
  const isProven = seen.ports.some(
    ({ target, port, state }) => target === control && port === CONTROL_PORT && state === "open",
  );
  const silences = [...expected].filter((one) => !found.has(one));
  if (!isProven) silences.push(`the port that must answer, of ${control}`);
  const answered = [
    ...[...found].filter((one) => !expected.has(one)),
    ...loud.map(({ target, count, state }) => `${target}: ${count} ports ${state}`),
  ];
  return {
    answers: answered.map((what) => `from ${from}: ${what}`),
    silences: silences.map((what) => `from ${from}: not ${what}`),
  };
}

/** Empty when the links showed in this time what the round says, no more and no less. */
export function judge(round: Round, seen: readonly Sighting[]): string[] {
  const facts = new Set(
    seen.filter(({ at }) => at >= round.from && at < round.to).map(({ fact }) => fact),
  );
  return [
    ...[...round.required].filter((fact) => !facts.has(fact)).map((fact) => `missing  ${fact}`),
    ...[...facts].filter((fact) => !round.allowed.has(fact)).map((fact) => `too much ${fact}`),
  ].sort();
}

/** The rows as a person would list them, to compare two matrices. */
export function rowTexts(rows: readonly MatrixRow[]): string[] {
  return rows.map(({ from, to, protocol, ports, conduit, grant }) => {
    const ends = `${formatIpv4(from.first)} ${formatIpv4(to.first)}`;
    const range = ports.map(({ first, last }) => `${first}-${last}`).join(",");
    return `${ends} ${protocol}/${range} ${conduit}${grant === undefined ? "" : " by a grant"}`;
  });
}
