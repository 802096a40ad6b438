import type { ConnectionLimits, SessionTerms, Window } from "../legs/types.ts";
import type { Ends } from "./ends.ts";
import { readL7 } from "./l7.ts";
import type { Place, Reporter } from "./report.ts";
import { compareText } from "./report.ts";
import type { Component, End, ResolvedConduit, Service } from "./resolved.ts";
import { checkRoute, type Route } from "./route.ts";
import type { ConduitFile, ConnectionsFile, SessionFile } from "./schema.ts";
import type { Item, PolicyForm } from "./sections.ts";
import { didYouMean, type Services } from "./things.ts";
import { parseDuration, parseEnd } from "./values.ts";

/** Everything a conduit's words can mean. */
export interface Names {
  readonly form: PolicyForm;
  readonly ends: Ends;
  readonly services: Services;
  readonly windows: ReadonlyMap<string, Window>;
  readonly components: ReadonlyMap<string, Component>;
  readonly timezone: string;
}

const DEFAULT_CONNECTIONS: ConnectionLimits = { max: 64, idleSeconds: 300, connectSeconds: 5 };
const SESSION_PROTOCOLS = ["ssh", "sftp", "vnc", "rdp", "web", "tcp"];
/** Longer than a shift and a half is standing access. */
const SESSION_MAX_SECONDS = 12 * 3600;

/** One conduit, with all that is wrong in it reported. */
export function readConduit(
  item: Item<ConduitFile>,
  names: Names,
  reporter: Reporter,
): ResolvedConduit | undefined {
  return new ConduitReader(item, names, reporter).read();
}

export function readConnections(
  file: ConnectionsFile | undefined,
  fallback: ConnectionLimits,
  { places }: PolicyForm,
  reporter: Reporter,
): ConnectionLimits {
  if (file === undefined) return fallback;
  const seconds = (key: "idle" | "connect", other: number): number => {
    const text = file[key];
    if (text === undefined) return other;
    const parsed = parseDuration(text);
    if (parsed === undefined) {
      reporter.report(
        "bad-duration",
        places.of(file, key),
        `"${text}" is not a duration`,
        "like 30s, 5m or 2h",
      );
    }
    return parsed ?? other;
  };
  return {
    max: file.max ?? fallback.max,
    idleSeconds: seconds("idle", fallback.idleSeconds),
    connectSeconds: seconds("connect", fallback.connectSeconds),
  };
}

class ConduitReader {
  readonly #item: Item<ConduitFile>;
  readonly #form: ConduitFile;
  readonly #what: string;
  readonly #names: Names;
  readonly #reporter: Reporter;

  constructor(item: Item<ConduitFile>, names: Names, reporter: Reporter) {
    this.#item = item;
    this.#form = item.form;
    this.#what = `conduit "${item.name}"`;
    this.#names = names;
    this.#reporter = reporter;
  }

  /** All parts are read before any is given up, so that all mistakes are told. */
  read(): ResolvedConduit | undefined {
    const { name, place } = this.#item;
    const file = this.#form;
    const from = this.#names.ends.resolve(file.from, this.#at("from"), `${this.#what} begins`);
    const to = this.#names.ends.resolve(file.to, this.#at("to"), `${this.#what} ends`);
    const services = this.#services();
    const gate = this.#gate();
    const windows = this.#windows();
    const expires = this.#expires();
    const session = this.#session(to);
    if (file.via === "direct" && file.reason === undefined) {
      const hint = "reason: why no gate can decode it";
      this.#report(
        "reason-missing",
        this.#at("via"),
        `${this.#what} is direct, past every gate, and gives no reason`,
        hint,
      );
    }
    const l7 = readL7(
      this.#item,
      services ?? [],
      file.through !== undefined,
      this.#names.form,
      this.#reporter,
    );
    const connections = this.#connections();
    if (from === undefined || to === undefined || services === undefined) return undefined;
    if (gate === "unknown" || expires === undefined) return undefined;
    const route = this.#route(from, to, services, gate);
    if (route === undefined) return undefined;
    const { owner, why, via } = file;
    const base = { name, place, form: file, via, audit: false, owner, why, expires, windows };
    const flags = { island: file.island ?? ("drop" as const), system: file.system ?? false };
    return { ...base, ...flags, ...route, from, to, services, gate, l7, connections, session };
  }

  #at(key: keyof ConduitFile, part: "key" | "value" = "value"): Place {
    return this.#names.form.places.of(this.#form, key, part);
  }

  #report(...args: Parameters<Reporter["report"]>): void {
    this.#reporter.report(...args);
  }

  #route(
    from: End,
    to: End,
    services: readonly Service[],
    gate: Component | undefined,
  ): Route | undefined {
    const request = { via: this.#form.via, from, to, services, gate, what: this.#what };
    return checkRoute(request, (key) => this.#at(key), this.#reporter);
  }

  #services(): Service[] | undefined {
    const { service } = this.#form;
    const wanted = typeof service === "string" ? [service] : service;
    const out: Service[] = [];
    let isComplete = true;
    for (const [index, name] of wanted.entries()) {
      const place =
        typeof service === "string"
          ? this.#at("service")
          : this.#names.form.places.of(service, index);
      const found = this.#names.services.get(name);
      if (found?.unsupported !== undefined) {
        this.#report(
          "not-supported-yet",
          place,
          `${this.#what}: service ${name} can't be carried: ${found.unsupported}`,
        );
        isComplete = false;
      } else if (found !== undefined) {
        if (!out.includes(found)) out.push(found);
      } else {
        isComplete = false;
        if (this.#names.services.isNamed(name)) continue;
        const hint = didYouMean(name, this.#names.services.names()) ?? "define it under services";
        this.#report(
          "unknown-service",
          place,
          `${this.#what} is for service "${name}", which is not defined`,
          hint,
        );
      }
    }
    return isComplete ? out.sort((a, b) => compareText(a.name, b.name)) : undefined;
  }

  #gate(): Component | undefined | "unknown" {
    const { through } = this.#form;
    if (through === undefined) return undefined;
    const name = through.startsWith("dmz/") ? through.slice("dmz/".length) : through;
    const gate = this.#names.components.get(name);
    if (gate !== undefined) return gate;
    const { names } = this.#names.form.components;
    if (!names.has(name)) {
      const message = `${this.#what} goes through "${through}", which is not defined`;
      this.#report("unknown-component", this.#at("through"), message, didYouMean(name, names));
    }
    return "unknown";
  }

  #windows(): Window[] {
    const { when } = this.#form;
    if (when === undefined) return [];
    const wanted = new Set(typeof when === "string" ? [when] : when);
    const out: Window[] = [];
    for (const name of [...wanted].sort(compareText)) {
      const window = this.#names.windows.get(name);
      if (window !== undefined) out.push(window);
      else if (!this.#names.form.windows.names.has(name)) {
        const message = `${this.#what} is open in window "${name}", which is not defined`;
        this.#report(
          "unknown-window",
          this.#at("when"),
          message,
          didYouMean(name, this.#names.form.windows.names),
        );
      }
    }
    return out;
  }

  #expires(): number | undefined {
    const { expires } = this.#form;
    const end = parseEnd(expires, this.#names.timezone);
    if (end === undefined) {
      const hint = "a day that exists, like 2027-06-30 (its last day), or 2027-06-30T12:00:00Z";
      this.#report(
        "bad-date",
        this.#at("expires"),
        `${this.#what}: "${expires}" is not a date`,
        hint,
      );
    }
    return end;
  }

  #connections(): ConnectionLimits {
    const { form } = this.#names;
    const site = readConnections(
      form.defaults?.form.connections,
      DEFAULT_CONNECTIONS,
      form,
      this.#reporter,
    );
    return readConnections(this.#form.connections, site, form, this.#reporter);
  }

  #session(to: End | undefined): SessionTerms | undefined {
    const { session, via } = this.#form;
    if (session === undefined) {
      if (via === "session") {
        const hint =
          "session: { people: [...], max: 2h, approvals: 1, record: true, mode: read-only }";
        this.#report(
          "session-terms",
          this.#at("via"),
          `${this.#what} is a session conduit without "session"`,
          hint,
        );
      }
      return undefined;
    }
    if (via !== "session") {
      const message = `${this.#what} has session terms, but is via ${via}`;
      this.#report("session-terms", this.#at("session", "key"), message, "via: session");
    }
    return this.#terms(session, to);
  }

  #terms(session: SessionFile, to: End | undefined): SessionTerms | undefined {
    const at = (key: keyof SessionFile): Place => this.#names.form.places.of(session, key);
    const maxSeconds = parseDuration(session.max);
    if (maxSeconds === undefined || maxSeconds > SESSION_MAX_SECONDS) {
      const message = `${this.#what}: a session of "${session.max}"`;
      this.#report("bad-duration", at("max"), message, "like 30m or 2h, at most 12h");
      return undefined;
    }
    for (const protocol of session.protocols ?? []) {
      if (SESSION_PROTOCOLS.includes(protocol)) continue;
      const hint =
        didYouMean(protocol, SESSION_PROTOCOLS) ?? `one of ${SESSION_PROTOCOLS.join(", ")}`;
      this.#report(
        "wrong-value",
        at("protocols"),
        `${this.#what}: "${protocol}" is no session protocol`,
        hint,
      );
    }
    const needed = Math.max(0, ...(to?.zones ?? []).map((zone) => zone.form.approvals ?? 0));
    if (session.approvals < needed) {
      const message = `${this.#what} asks ${session.approvals} approvals, its zone ${needed}`;
      this.#report("approvals-below-zone", at("approvals"), message, `approvals: ${needed}`);
    }
    return {
      people: [...new Set(session.people)].sort(compareText),
      maxSeconds,
      approvals: session.approvals,
      attended: session.attended ?? false,
      localEnable: session["local-enable"] ?? false,
      device: session.device ?? "any",
      record: session.record,
      mode: session.mode,
      slots: session.slots ?? 1,
    };
  }
}
