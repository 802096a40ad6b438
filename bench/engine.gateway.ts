/** A gateway as the product opens it, on bare veths for NICs, in namespaces of its own. */
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { type Enforcement, openEnforcement, type Place, run } from "@sallyport/enforce";
import type { Legs } from "@sallyport/policy";

const CONFIRM_SECONDS = 120;

export class Gateway implements AsyncDisposable {
  readonly enforcement: Enforcement;
  readonly #box: string;
  readonly #directory: string;

  private constructor(enforcement: Enforcement, box: string, directory: string) {
    this.enforcement = enforcement;
    this.#box = box;
    this.#directory = directory;
  }

  /** The box has the NICs of these legs; nothing is applied yet. */
  static async open(legs: Legs, clock: () => number): Promise<Gateway> {
    const name = `spb${process.pid}`;
    const box = `${name}box`;
    const directory = fs.mkdtempSync(`/dev/shm/sallyport-bench-${process.pid}-`);
    const at = (folder: string): string => path.join(directory, folder);
    const instance = { name, runDir: at("run"), stateDir: at("state"), netnsPrefix: name };
    const place: Place = { instance, hostNetns: `/run/netns/${box}`, oneEngine: false };
    const guard = path.join(import.meta.dirname, "engine.guard.main.ts");
    const guardCommand = [process.execPath, guard, JSON.stringify(place)];
    await run("ip", ["netns", "add", box]);
    const gateway = new Gateway(
      await openEnforcement(place, { clock, guardCommand }),
      box,
      directory,
    );
    try {
      const nics = [...new Set(legs.attachments.map(({ nic }) => nic))];
      const lines = nics.map(
        (nic, index) => `link add name ${nic} type veth peer name peer${index}`,
      );
      await run("ip", ["-batch", "-"], { input: `${lines.join("\n")}\n`, netns: box });
    } catch (cause) {
      await gateway[Symbol.asyncDispose]();
      throw cause;
    }
    return gateway;
  }

  /** A whole change, as from a person who confirms at once. */
  async apply(legs: Legs): Promise<void> {
    const request = { legs, policy: new Uint8Array(), approvals: [], approvalIds: [] };
    const { generation } = await this.enforcement.apply(request, {
      confirmWithinSeconds: CONFIRM_SECONDS,
    });
    await this.enforcement.confirm(generation);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.enforcement.down().catch(() => {});
    await run("ip", ["netns", "del", this.#box]).catch(() => "");
    fs.rmSync(this.#directory, { recursive: true, force: true });
  }
}
