import { type Interval, normalize } from "@sallyport/core";
import { modbus } from "@sallyport/wire";
import type { L7, ModbusLimits } from "../legs/types.ts";
import { L7_PROTOCOLS } from "./catalogue.ts";
import type { Place, Reporter } from "./report.ts";
import type { Service } from "./resolved.ts";
import type { ConduitFile, ModbusFile, RangeText } from "./schema.ts";
import type { Item, PolicyForm } from "./sections.ts";
import { didYouMean } from "./things.ts";
import { parseRange, parseRate } from "./values.ts";

const OPAQUE: L7 = { protocol: "tcp" };

/** A conduit's limits for the gate. With none it is an opaque relay, which lints and invariants see. */
export function readL7(
  item: Item<ConduitFile>,
  services: readonly Service[],
  hasGate: boolean,
  form: PolicyForm,
  reporter: Reporter,
): L7 {
  const { l7 } = item.form;
  if (l7 === undefined) return OPAQUE;
  const what = `conduit "${item.name}"`;
  for (const protocol of Object.keys(l7)) {
    if (protocol === "modbus") continue;
    const at = form.places.of(l7, protocol, "key");
    if (L7_PROTOCOLS.includes(protocol)) {
      const message = `${what}: limits for ${protocol} are not supported yet; there is no decoder for it`;
      reporter.report(
        "not-supported-yet",
        at,
        message,
        "leave l7 out: the gate relays it undecoded",
      );
    } else {
      reporter.report(
        "unknown-key",
        at,
        `${what} limits "${protocol}", which is no protocol`,
        didYouMean(protocol, L7_PROTOCOLS),
      );
    }
  }
  if (l7.modbus === undefined) return OPAQUE;
  const place = form.places.of(l7, "modbus", "key");
  const other = services.find((service) => service.decoder !== "modbus");
  if (other !== undefined) {
    const message = `${what} limits Modbus, but its service is ${other.name}`;
    reporter.report(
      "l7-mismatch",
      place,
      message,
      "service: modbus, or a service of your own with decoder: modbus",
    );
  }
  if (!hasGate) {
    const message = `${what} has limits but no gate that could hold it to them`;
    reporter.report(
      "l7-mismatch",
      place,
      message,
      "limits need via: proxy, inspect or session, with through",
    );
  }
  return new ModbusReader(l7.modbus, what, form, reporter).read(place);
}

class ModbusReader {
  readonly #file: ModbusFile;
  readonly #what: string;
  readonly #form: PolicyForm;
  readonly #reporter: Reporter;

  constructor(file: ModbusFile, what: string, form: PolicyForm, reporter: Reporter) {
    this.#file = file;
    this.#what = what;
    this.#form = form;
    this.#reporter = reporter;
  }

  read(place: Place): ModbusLimits {
    const file = this.#file;
    const functions = modbus.FUNCTION_NAMES.filter((name) => file.functions.includes(name));
    const limits = {
      protocol: "modbus" as const,
      functions,
      units: this.#ranges("units", 255),
      coils: this.#ranges("coils", 65_535),
      discreteInputs: this.#ranges("discrete-inputs", 65_535),
      holdingRegisters: this.#ranges("holding-registers", 65_535),
      inputRegisters: this.#ranges("input-registers", 65_535),
      writeValues: this.#writeValues(),
    };
    this.#lintAreas(functions, place);
    const rate = this.#rate();
    return {
      ...limits,
      ...(file["max-quantity"] === undefined ? {} : { maxQuantity: file["max-quantity"] }),
      ...(rate === undefined ? {} : { requestsPerSecond: rate }),
    };
  }

  #ranges(key: "units" | modbus.Area, highest: number): Interval[] {
    const list = this.#file[key] ?? [];
    return normalize(
      list.flatMap(
        (text, index) => this.#range(text, highest, this.#form.places.of(list, index)) ?? [],
      ),
    );
  }

  #range(text: RangeText, highest: number, place: Place): Interval | undefined {
    const range = parseRange(text, 0, highest);
    if (range === undefined) {
      const message = `${this.#what}: ${text} is not a number or range from 0 to ${highest}`;
      this.#reporter.report(
        "bad-range",
        place,
        message,
        "like 10 or 10-20, the lower number first",
      );
    }
    return range;
  }

  #writeValues(): ModbusLimits["writeValues"] {
    const out: { registers: Interval; values: Interval }[] = [];
    for (const entry of this.#file["write-values"] ?? []) {
      const at = (key: string): Place => this.#form.places.of(entry, key);
      const registers = this.#range(entry.registers, 65_535, at("registers"));
      const values = this.#range(entry.values, 65_535, at("values"));
      if (registers !== undefined && values !== undefined) out.push({ registers, values });
    }
    const order = (a: Interval, b: Interval): number => a.first - b.first || a.last - b.last;
    return out.sort((a, b) => order(a.registers, b.registers) || order(a.values, b.values));
  }

  #rate(): number | undefined {
    const { rate } = this.#file;
    if (rate === undefined) return undefined;
    const parsed = parseRate(rate);
    if (parsed === undefined) {
      const place = this.#form.places.of(this.#file, "rate");
      this.#reporter.report(
        "bad-range",
        place,
        `${this.#what}: rate "${rate}" can't be read`,
        "like 50/s",
      );
    }
    return parsed;
  }

  /** A function whose area lists no address can never be used: usually the area was forgotten. */
  #lintAreas(functions: readonly modbus.FunctionName[], place: Place): void {
    for (const name of functions) {
      const { area } = modbus.functionInfo(modbus.functionByName(name));
      if (area === undefined || (this.#file[area]?.length ?? 0) > 0) continue;
      const message = `${this.#what} allows ${name} but lists no ${area}, so every such request is refused`;
      this.#reporter.report(
        "l7-unreachable",
        place,
        message,
        `${area}: [0-9], or leave the function out`,
      );
    }
  }
}
