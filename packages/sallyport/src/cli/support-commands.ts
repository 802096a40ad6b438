import fs from "node:fs";
import path from "node:path";
import type { Json } from "@sallyport/core";
import { SallyportError } from "@sallyport/core";
import { diskOf } from "../disk.ts";
import { runDoctor } from "../doctor.ts";
import { archivistSocket, instanceNamed } from "../instance.ts";
import { collectSupport } from "../support/collect.ts";
import { type Command, EXIT } from "./command.ts";
import { ask, askSocket, fields } from "./enforcer-client.ts";
import { release } from "./release.ts";

export const supportBundleCommand: Command = {
  name: "support-bundle",
  args: "[FILE]",
  help: "Writes what somebody who helps needs to see into one file: status, doctor, policy, events; without secrets, people and, unless asked, addresses.",
  flags: { "with-addresses": { type: "boolean", help: "leave addresses of machines as they are" } },
  async run(invocation) {
    const instance = instanceNamed(invocation.instance);
    const file = path.resolve(invocation.args[0] ?? `sallyport-support-${Date.now()}.txt`);
    const bundle = collectSupport(instance, await answers(invocation.instance), {
      addresses: !invocation.flag("with-addresses"),
    });
    const told = [...bundle.cut.map((name) => `cut: ${name}`), ...bundle.leftOut];
    const parts = bundle.texts.map(({ name, text }) => `=== ${name}\n${text.trimEnd()}\n`);
    try {
      fs.writeFileSync(file, [...parts, ...told].join("\n"), { mode: 0o600, flag: "wx" });
    } catch (cause) {
      throw new SallyportError("file-exists", `${file} cannot be written, or is there already`, {
        cause,
        hint: "name another file",
      });
    }
    const texts = bundle.texts.map(({ name }) => name);
    const text = `${file} has ${texts.length} texts. Read it before you send it to anybody.`;
    invocation.result({ file, texts, cut: bundle.cut, leftOut: bundle.leftOut }, text);
    return EXIT.ok;
  },
};

/** Each as far as it answers: a bundle is most wanted when something does not. */
async function answers(name: string): Promise<Readonly<Record<string, Json>>> {
  const instance = instanceNamed(name);
  const heard = async (asking: () => Promise<unknown>): Promise<Json> => {
    try {
      return (await asking()) as Json;
    } catch (error) {
      return { failed: error instanceof Error ? error.message : String(error) };
    }
  };
  return {
    version: { sallyport: release(), node: process.versions.node, kernel: kernel() },
    status: await heard(() => ask(name, { type: "status" })),
    ledger: await heard(async () => {
      const { size, root } = fields(
        await askSocket(archivistSocket(instance, "root"), { type: "head" }),
      );
      return { size, root };
    }),
    disk: await heard(async () => ({ ...diskOf(instance.stateDir) })),
    doctor: await heard(async () => runDoctor()),
  };
}

function kernel(): string {
  return fs.readFileSync("/proc/sys/kernel/osrelease", "utf8").trim();
}
