import fs from "node:fs";
import { formatDiagnostic, type Ipv4, parseIpv4, SallyportError } from "@sallyport/core";
import { EXPORT_TARGETS, exportText } from "@sallyport/enforce/export";
import { authorizeModbus, type ModbusQuestion } from "@sallyport/gate";
import {
  type Circumstances,
  compilePolicy,
  type Diff,
  diff as diffOf,
  explain as explainOf,
  formatDiff,
  formatExplanation,
  formatMatrix,
  formatOpenAt,
  formatPolicy,
  type Grant,
  type L7Verdict,
  type Legs,
  matrix as matrixOf,
  matrixCsv,
  openAt,
  policyJsonSchema,
} from "@sallyport/policy";
import { type Command, EXIT, type Invocation } from "./command.ts";
import { ask, fields, listOf, word } from "./enforcer-client.ts";
import { readPolicy } from "./policy-files.ts";

interface Compiled {
  readonly legs: Legs;
  readonly names: ReadonlyMap<Ipv4, string>;
}

/** A policy, and what is true beside it where it is the running one. */
interface Asked extends Compiled {
  readonly circumstances: Circumstances;
}

/** Compiles what a person names; every mistake is printed where it is. */
function compiled(invocation: Invocation, at: string): Compiled {
  const files = readPolicy(at).map(({ name, text }) => ({
    name,
    bytes: new TextEncoder().encode(text),
  }));
  const result = compilePolicy(files, { now: Date.now() });
  for (const diagnostic of result.diagnostics) invocation.say(formatDiagnostic(diagnostic));
  if (result.legs !== undefined) return { legs: result.legs, names: namesOf(result.legs) };
  const mistakes = result.diagnostics.filter(({ severity }) => severity === "error").length;
  throw new SallyportError(
    "policy-refused",
    `the policy has ${mistakes} mistake${mistakes === 1 ? "" : "s"}`,
    {
      hint: "mend what is listed above",
    },
  );
}

/** Addresses by the policy's names for them. */
function namesOf({ assets }: Legs): ReadonlyMap<Ipv4, string> {
  return new Map(assets.map(({ name, address }): [Ipv4, string] => [address, name]));
}

/** The policy that is named, or the one that runs: with its grants, its islands and its clock. */
async function legsOf(invocation: Invocation): Promise<Asked> {
  const file = invocation.text("policy");
  if (file !== undefined) return { ...compiled(invocation, file), circumstances: {} };
  const running = fields(await ask(invocation.instance, { type: "running" }));
  const { legs } = running;
  if (legs === undefined || legs === null) {
    throw new SallyportError("no-policy-in-force", "no policy is in force", {
      hint: "name one: --policy FILE",
    });
  }
  const circumstances = {
    grants: listOf(running["grants"]) as unknown as readonly Grant[],
    islanded: new Set(listOf(running["islands"]).map(word)),
    timeTrusted: running["timeTrusted"] !== false,
  };
  const names = namesOf(legs as unknown as Legs);
  return { legs: legs as unknown as Legs, names, circumstances };
}

const POLICY_FLAG = {
  policy: {
    type: "string",
    value: "FILE",
    help: "a policy file or directory (default: the running one)",
  },
} as const;
const AT_FLAG = {
  at: { type: "string", value: "TIME", help: "when, e.g. 2027-03-28T03:00Z (default: now)" },
} as const;

function timeOf(invocation: Invocation): number {
  const text = invocation.text("at");
  if (text === undefined || text === "now") return Date.now();
  const time = Date.parse(text);
  if (!Number.isNaN(time)) return time;
  throw new SallyportError("usage", `"${text}" is not a time`, {
    hint: "ISO 8601, e.g. 2027-03-28T03:00Z",
  });
}

export const validate: Command = {
  name: "policy validate",
  args: "POLICY",
  help: "Reports every mistake as file:line:column and what to type instead.",
  flags: {},
  async run(invocation) {
    const at = named(invocation);
    const { legs } = compiled(invocation, at);
    const { conduits, zones } = legs;
    const summary = { site: legs.site, zones: zones.length, conduits: conduits.length };
    invocation.result(
      summary,
      `${legs.site}: ${conduits.length} conduits between ${zones.length} zones and components; no mistake`,
    );
    return EXIT.ok;
  },
};

export const fmt: Command = {
  name: "policy fmt",
  args: "FILE",
  help: "Writes the policy in its usual form, comments kept.",
  flags: { check: { type: "boolean", help: "change nothing; exit 2 if it would" } },
  async run(invocation) {
    const at = named(invocation);
    const before = readPolicy(at)[0]?.text ?? "";
    const after = formatPolicy(before);
    const changes = before !== after;
    if (changes && !invocation.flag("check")) fs.writeFileSync(at, after);
    invocation.result(
      { file: at, changes },
      changes ? `${at} ${invocation.flag("check") ? "would change" : "is formatted"}` : "",
    );
    return changes && invocation.flag("check") ? EXIT.changes : EXIT.ok;
  },
};

export const schema: Command = {
  name: "policy schema",
  args: "",
  help: "Prints the JSON Schema of the policy file, for editors.",
  flags: {},
  async run(invocation) {
    const text = policyJsonSchema();
    invocation.result(text, JSON.stringify(text, undefined, 2));
    return EXIT.ok;
  },
};

export const matrix: Command = {
  name: "policy matrix",
  args: "",
  help: "Who can reach what, and who answers. With --at also what will be open then.",
  flags: { ...POLICY_FLAG, ...AT_FLAG, csv: { type: "boolean", help: "as CSV" } },
  async run(invocation) {
    const { legs, names, circumstances } = await legsOf(invocation);
    const at = timeOf(invocation);
    const found = matrixOf(legs, at, { ...circumstances, names });
    const open = openAt(legs, at, circumstances);
    const text = invocation.flag("csv")
      ? matrixCsv(legs, found, names)
      : invocation.text("at") === undefined
        ? formatMatrix(legs, found, names)
        : `${formatOpenAt(open)}\n\n${formatMatrix(legs, found, names)}`;
    invocation.result({ ...found, conduits: open.conduits }, text);
    return EXIT.ok;
  },
};

export const exported: Command = {
  name: "policy export",
  args: "outer|inner",
  help: "The policy as rules for a second vendor's box that stands in line with this one.",
  flags: {
    ...POLICY_FLAG,
    format: {
      type: "string",
      value: "NAME",
      help: `${EXPORT_TARGETS.join(" or ")} (default: nftables)`,
    },
  },
  async run(invocation) {
    const [point] = invocation.args;
    if (point !== "outer" && point !== "inner") {
      throw new SallyportError("usage", "which side? outer or inner");
    }
    const { legs } = await legsOf(invocation);
    const text = exportText(legs, point, invocation.text("format") ?? "nftables", Date.now());
    invocation.result({ point, text }, text);
    return EXIT.ok;
  },
};

export const diff: Command = {
  name: "policy diff",
  args: "BEFORE AFTER",
  help: "What two policies do differently: packets, not text. Exits 2 if anything.",
  flags: {},
  async run(invocation) {
    const [before, after] = invocation.args;
    if (before === undefined || after === undefined)
      throw new SallyportError("usage", "name two policies");
    const old = compiled(invocation, before);
    const next = compiled(invocation, after);
    const change: Diff = diffOf(old.legs, next.legs, { names: next.names });
    invocation.result(change, formatDiff(change));
    return change.cells.length + change.other.length === 0 ? EXIT.ok : EXIT.changes;
  },
};

export const explain: Command = {
  name: "policy explain",
  args: "",
  help: "Why a packet or request passes or not: every leg, the deciding line, the nearest change that would allow it.",
  flags: {
    from: { type: "string", value: "ADDRESS|ASSET", help: "the source (required)" },
    to: { type: "string", value: "ADDRESS|ASSET", help: "the destination (required)" },
    tcp: { type: "string", value: "PORT", help: "a TCP connection to this port" },
    udp: { type: "string", value: "PORT", help: "a UDP packet to this port" },
    icmp: { type: "boolean", help: "a ping" },
    modbus: {
      type: "string",
      value: "FUNCTION:ADDRESS[+COUNT][=VALUE]",
      help: "a Modbus request to port 502",
    },
    unit: { type: "string", value: "N", help: "its unit (default 1)" },
    interface: { type: "string", value: "NAME", help: "where it arrives (default: its zone's)" },
    ...POLICY_FLAG,
    ...AT_FLAG,
  },
  async run(invocation) {
    const { legs, names, circumstances } = await legsOf(invocation);
    const endpoints = {
      from: endpoint(invocation, "from", names),
      to: endpoint(invocation, "to", names),
    };
    const request = modbusOf(invocation);
    const fromInterface = invocation.text("interface");
    const answer = explainOf(
      legs,
      {
        ...endpoints,
        ...protocolOf(invocation),
        at: timeOf(invocation),
        ...(fromInterface === undefined ? {} : { fromInterface }),
        ...(request === undefined ? {} : { l7: request }),
      },
      {
        ...circumstances,
        names,
        authorize: (limits, asked) => judge(limits, asked as ModbusQuestion),
      },
    );
    invocation.result(answer, formatExplanation(answer));
    return answer.verdict === "allow" ? EXIT.ok : EXIT.denied;
  },
};

function judge(
  limits: Parameters<typeof authorizeModbus>[0] | { protocol: "tcp" },
  asked: ModbusQuestion,
): L7Verdict {
  if (limits.protocol === "tcp") return { verdict: "allow" };
  const answer = authorizeModbus(limits, asked);
  if (answer.allowed) return { verdict: "allow" };
  return { verdict: "deny", reason: answer.reason, because: answer.why };
}

function endpoint(
  invocation: Invocation,
  flag: "from" | "to",
  names: ReadonlyMap<Ipv4, string>,
): Ipv4 {
  const text = invocation.text(flag);
  if (text === undefined) throw new SallyportError("usage", `--${flag} is missing`);
  const address = parseIpv4(text) ?? [...names].find(([, name]) => name === text)?.[0];
  if (address !== undefined) return address;
  throw new SallyportError("usage", `"${text}" is neither an address nor an asset of the policy`, {
    hint: "an asset's name or an IPv4 address",
  });
}

function protocolOf(invocation: Invocation): { protocol: "tcp" | "udp" | "icmp"; port: number } {
  if (invocation.flag("icmp")) return { protocol: "icmp", port: 0 };
  const udp = invocation.text("udp");
  if (udp !== undefined) return { protocol: "udp", port: portOf(udp) };
  const tcp =
    invocation.text("tcp") ?? (invocation.text("modbus") === undefined ? undefined : "502");
  if (tcp === undefined)
    throw new SallyportError("usage", "which protocol? --tcp, --udp, --icmp or --modbus");
  return { protocol: "tcp", port: portOf(tcp) };
}

function portOf(text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return port;
  throw new SallyportError("usage", `"${text}" is not a port from 1 to 65535`);
}

const MODBUS = /^([a-z-]+):(\d+)(?:\+(\d+))?(?:=(\d+(?:,\d+)*))?$/;

function modbusOf(invocation: Invocation): ModbusQuestion | undefined {
  const text = invocation.text("modbus");
  if (text === undefined) return undefined;
  const match = MODBUS.exec(text);
  const request = match === null ? undefined : requestOf(match);
  if (request === undefined) {
    throw new SallyportError("usage", `"${text}" is not a Modbus request that can be asked about`, {
      hint: "for example read-holding-registers:0+10 or write-single-register:40=7",
    });
  }
  return { unit: Number(invocation.text("unit") ?? 1), request };
}

function requestOf([, name = "", at = "0", count = "1", data = "0"]: RegExpExecArray):
  | ModbusQuestion["request"]
  | undefined {
  const address = Number(at);
  const values = data.split(",").map(Number);
  switch (name) {
    case "read-coils":
    case "read-discrete-inputs":
    case "read-holding-registers":
    case "read-input-registers":
      return { function: name, address, quantity: Number(count) };
    case "write-single-coil":
    case "write-single-register":
      return { function: name, address, value: values[0] ?? 0 };
    case "write-multiple-coils":
    case "write-multiple-registers":
      return { function: name, address, values };
    default:
      return undefined;
  }
}

function named(invocation: Invocation): string {
  const at = invocation.args[0];
  if (at === undefined) throw new SallyportError("usage", "name a policy file or directory");
  return at;
}
