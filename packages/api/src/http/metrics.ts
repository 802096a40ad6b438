/** Prometheus text format 0.0.4. Names are documented in docs/reference/metrics.md; labels are closed sets. */

/** Seconds; an answer from memory takes one millisecond, a compiled policy one second. */
const BUCKETS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10] as const;
/** A family grows by routes and codes, never by what strangers send; this is to notice if one does. */
const SERIES_MAX = 5_000;

export const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly labels?: Labels;
  readonly value: number;
}

interface Family {
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly values: Map<string, number>;
}

export class Metrics {
  readonly #families = new Map<string, Family>();
  readonly #read = new Map<
    string,
    {
      readonly help: string;
      readonly type: Exclude<Family["type"], "histogram">;
      readonly read: () => readonly Sample[];
    }
  >();

  count(name: string, help: string, labels: Labels = {}, by = 1): void {
    add(this.#family(name, help, "counter"), textOf(labels), by);
  }

  observe(name: string, help: string, seconds: number): void {
    const family = this.#family(name, help, "histogram");
    for (const bucket of BUCKETS) {
      add(family, `_bucket${textOf({ le: String(bucket) })}`, seconds <= bucket ? 1 : 0);
    }
    add(family, `_bucket${textOf({ le: "+Inf" })}`, 1);
    add(family, "_sum", seconds);
    add(family, "_count", 1);
  }

  /** Read when it is asked for. */
  gauge(name: string, help: string, read: () => number): void {
    this.read(name, help, "gauge", () => [{ value: read() }]);
  }

  /** Samples read when they are asked for; none where nothing is known, rather than a number that is made up. */
  read(name: string, help: string, type: "counter" | "gauge", read: () => readonly Sample[]): void {
    this.#read.set(name, { help, type, read });
  }

  text(): string {
    const lines: string[] = [];
    for (const [name, { help, type, values }] of this.#families) {
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
      for (const [suffix, value] of values) lines.push(`${name}${suffix} ${value}`);
    }
    for (const [name, { help, type, read }] of this.#read) {
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
      for (const { labels = {}, value } of read().slice(0, SERIES_MAX)) {
        lines.push(`${name}${textOf(labels)} ${value}`);
      }
    }
    return `${lines.join("\n")}\n`;
  }

  #family(name: string, help: string, type: Family["type"]): Family {
    const known = this.#families.get(name);
    if (known !== undefined) return known;
    const made: Family = { help, type, values: new Map() };
    this.#families.set(name, made);
    return made;
  }
}

function add({ values }: Family, suffix: string, by: number): void {
  const before = values.get(suffix);
  if (before === undefined && values.size >= SERIES_MAX) return;
  values.set(suffix, (before ?? 0) + by);
}

function textOf(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escaped(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
}
