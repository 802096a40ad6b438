import type { Point, Via } from "../legs/types.ts";
import type { Place, Reporter } from "./report.ts";
import type { Component, End, Service } from "./resolved.ts";
import type { ConduitFile } from "./schema.ts";

/** Where packets enter and where they leave. */
export interface Route {
  readonly firstPoint: Point;
  readonly lastPoint: Point;
}

interface Request {
  readonly via: Via;
  readonly from: End;
  readonly to: End;
  readonly services: readonly Service[];
  readonly gate: Component | undefined;
  readonly what: string;
}

/**
 * Whether such a way exists. Nothing forwards between the sides, so what crosses ends in a component
 * or a gate of the DMZ; `direct` and `diode` stay on one side or end in a component.
 */
export function checkRoute(
  request: Request,
  at: (key: keyof ConduitFile) => Place,
  reporter: Reporter,
): Route | undefined {
  return new RouteCheck(request, at, reporter).check();
}

class RouteCheck {
  readonly #request: Request;
  readonly #at: (key: keyof ConduitFile) => Place;
  readonly #reporter: Reporter;
  #isBroken = false;

  constructor(request: Request, at: (key: keyof ConduitFile) => Place, reporter: Reporter) {
    this.#request = request;
    this.#at = at;
    this.#reporter = reporter;
  }

  check(): Route | undefined {
    const { via, from, to, gate } = this.#request;
    if (via === "direct" || via === "diode") this.#plain();
    else if (via === "inspect") this.#inspect();
    else if (via === "session") this.#session();
    else this.#proxy();
    if (this.#isBroken) return undefined;
    const route = gate === undefined ? this.#pointsWithout() : this.#pointsThrough(gate);
    if (from.component !== undefined) this.#checkLink(from.component, route.firstPoint, "from");
    if (to.component !== undefined) this.#checkLink(to.component, route.lastPoint, "to");
    return this.#isBroken ? undefined : route;
  }

  #fail(...args: Parameters<Reporter["report"]>): void {
    this.#isBroken = true;
    this.#reporter.report(...args);
  }

  #plain(): void {
    const { via, from, to, gate, services, what } = this.#request;
    if (gate !== undefined) {
      this.#fail(
        "wrong-gate",
        this.#at("through"),
        `${what} is ${via}, which passes no gate`,
        "leave through out",
      );
    }
    if (from.side !== to.side && from.side !== "dmz" && to.side !== "dmz") {
      const code = via === "direct" ? "direct-between-it-and-ot" : "wrong-via";
      const hint =
        "nothing is forwarded between IT and OT: use via: proxy, or end it in a component";
      this.#fail(
        code,
        this.#at("via"),
        `${what} goes from ${from.side.toUpperCase()} to ${to.side.toUpperCase()} with via ${via}`,
        hint,
      );
    }
    if (via === "diode") {
      const other = services.find((service) => service.tcp.length > 0 || service.icmp);
      if (other !== undefined) {
        const hint = "TCP and echo need answers; use a UDP service, like syslog";
        this.#fail(
          "diode-not-udp",
          this.#at("service"),
          `${what} is a diode, but service ${other.name} is not UDP alone`,
          hint,
        );
      }
      this.#enumerated(to, "to");
    }
  }

  #inspect(): void {
    const { from, to, gate, what } = this.#request;
    if (from.side !== "ot" || to.side !== "ot") {
      const hint = "inspect is between OT segments; across the DMZ use via: proxy";
      this.#fail(
        "wrong-via",
        this.#at("via"),
        `${what} is inspect, but not between two OT zones`,
        hint,
      );
    }
    if (gate !== undefined && gate.zone.side !== "ot") {
      const hint = `components: { ${gate.name}: { kind: gate, zone: <an OT zone> } }`;
      this.#fail(
        "wrong-gate",
        this.#at("through"),
        `${what} goes through "${gate.name}", which is in the DMZ, not off inner`,
        hint,
      );
    }
    this.#needGate();
    this.#enumerated(from, "from");
    this.#enumerated(to, "to");
    this.#needTcp();
  }

  #proxy(): void {
    const { from, to, gate, what } = this.#request;
    if (to.component !== undefined) {
      if (gate === undefined) return;
      const hint = `leave through out: "${to.component.name}" listens itself`;
      this.#fail(
        "wrong-gate",
        this.#at("through"),
        `${what} ends in a component and goes through a gate`,
        hint,
      );
      return;
    }
    if (from.side === "ot" && to.side === "ot") {
      const hint = "via: inspect, through a gate off inner";
      this.#fail(
        "wrong-via",
        this.#at("via"),
        `${what} is between OT zones, where no DMZ proxy stands`,
        hint,
      );
    }
    this.#enumerated(to, "to");
    if (from.component !== undefined && gate === undefined) return;
    this.#enumerated(from, "from");
    this.#needGate();
    this.#needDmzGate();
    this.#needTcp();
  }

  #session(): void {
    const { from, to, gate, what } = this.#request;
    if (to.component !== undefined) {
      const hint = "name the asset that the session is for";
      this.#fail("wrong-via", this.#at("to"), `${what} is a session to a component`, hint);
    }
    this.#enumerated(to, "to");
    this.#needGate();
    if (from.side !== "ot" || to.side !== "ot") this.#needDmzGate();
    if (gate !== undefined && gate.zone.side === "ot" && from.component !== undefined) {
      this.#fail(
        "wrong-gate",
        this.#at("through"),
        `${what} comes from the DMZ; "${gate.name}" is off inner`,
      );
    }
    this.#needTcp();
  }

  /** A gate has one listener for each device it stands for, so the devices must be named. */
  #enumerated(end: End, key: "from" | "to"): void {
    if (end.component !== undefined || end.networks.length === 0) return;
    const { via, what } = this.#request;
    const [zone] = end.networks;
    const hint = "name assets, or { tags: [...] }";
    this.#fail(
      "network-not-enumerated",
      end.place,
      `${what} is via ${via} and names all of zone "${zone?.name ?? ""}"`,
      `${hint}: ${key}: [plc-1, plc-2]`,
    );
  }

  #needGate(): void {
    const { gate, via, what } = this.#request;
    if (gate === undefined) {
      const hint = "through: <a component of kind gate>";
      this.#fail("wrong-gate", this.#at("via"), `${what} is via ${via} and names no gate`, hint);
    } else if (gate.kind !== "gate") {
      const hint = "only components of kind gate hold traffic to its limits";
      this.#fail(
        "wrong-gate",
        this.#at("through"),
        `${what} goes through "${gate.name}", which is a ${gate.kind}`,
        hint,
      );
    }
  }

  #needDmzGate(): void {
    const { gate, what } = this.#request;
    if (gate === undefined || gate.zone.side === "dmz") return;
    const hint = "a gate off inner has no link to IT; use one without zone";
    this.#fail(
      "wrong-gate",
      this.#at("through"),
      `${what} crosses the DMZ, but "${gate.name}" is off inner`,
      hint,
    );
  }

  #needTcp(): void {
    const { services, what } = this.#request;
    const other = services.find((service) => service.udp.length > 0 || service.icmp);
    if (other === undefined) return;
    const hint = "gates carry TCP; name a TCP service, or end UDP in a component";
    this.#fail(
      "gate-not-tcp",
      this.#at("service"),
      `${what}: service ${other.name} is not TCP alone`,
      hint,
    );
  }

  #pointsWithout(): Route {
    const { from, to } = this.#request;
    const point =
      pointOf(to) ?? pointOf(from) ?? (isOffInner(from) || isOffInner(to) ? "inner" : "outer");
    return { firstPoint: point, lastPoint: point };
  }

  #pointsThrough(gate: Component): Route {
    const { from, to } = this.#request;
    const meeting: Point = gate.zone.side === "ot" ? "inner" : "outer";
    return { firstPoint: pointOf(from) ?? meeting, lastPoint: pointOf(to) ?? meeting };
  }

  /** Portal and control have no link to inner (DESIGN §3.1); a gate off inner has none to outer. */
  #checkLink(component: Component, point: Point, key: "from" | "to"): void {
    const { what } = this.#request;
    if (point === "inner" && (component.kind === "portal" || component.kind === "control")) {
      const message = `${what}: a ${component.kind} has no link towards OT`;
      this.#fail("wrong-component", this.#at(key), message, "put a gate or a service between");
    }
    if (point === "outer" && component.zone.side === "ot") {
      const message = `${what}: gate "${component.name}" is off inner and has no link towards IT`;
      this.#fail("wrong-component", this.#at(key), message);
    }
  }
}

function pointOf(end: End): Point | undefined {
  return end.component === undefined ? end.zones[0]?.point : undefined;
}

function isOffInner(end: End): boolean {
  return end.component?.zone.side === "ot";
}
