/**
 * Who somebody on the box is: Node cannot ask the kernel for a peer's uid, so the caller makes a file whose name we
 * chose, in a directory where nobody can make one in another's name.
 */
import fs from "node:fs";
import path from "node:path";
import type { Clock, Randomness } from "@sallyport/identity";

const FLOW_BYTES = 24;
const NAME_BYTES = 16;
const FLOW_LIFE_MS = 60_000;
/** More are begun at once only by who wants to fill the memory; the oldest gives way. */
const FLOWS_MAX = 256;

interface Flow {
  readonly uid: number;
  readonly fileName: string;
  readonly endMs: number;
}

export class LocalProof {
  readonly #directory: string;
  readonly #clock: Clock;
  readonly #random: Randomness;
  readonly #flows = new Map<string, Flow>();

  constructor(directory: string, clock: Clock, random: Randomness) {
    this.#directory = directory;
    this.#clock = clock;
    this.#random = random;
  }

  begin(uid: number): {
    readonly flow: string;
    readonly directory: string;
    readonly fileName: string;
  } {
    const flow = Buffer.from(this.#random.bytes(FLOW_BYTES)).toString("base64url");
    const fileName = Buffer.from(this.#random.bytes(NAME_BYTES)).toString("hex");
    this.#flows.set(flow, { uid, fileName, endMs: this.#clock.nowMs() + FLOW_LIFE_MS });
    const [oldest] = this.#flows.keys();
    if (this.#flows.size > FLOWS_MAX && oldest !== undefined) this.#flows.delete(oldest);
    return { flow, directory: this.#directory, fileName };
  }

  /** The uid that was shown, once; undefined when it was not. */
  finish(flow: string): number | undefined {
    const begun = this.#flows.get(flow);
    this.#flows.delete(flow);
    if (begun === undefined || this.#clock.nowMs() >= begun.endMs) return undefined;
    const file = fs.lstatSync(path.join(this.#directory, begun.fileName), {
      throwIfNoEntry: false,
    });
    // A link would be to a file that somebody else made for something else.
    const isOwn = file?.isFile() === true && file.nlink === 1 && file.size === 0;
    return isOwn && file.uid === begun.uid ? begun.uid : undefined;
  }
}

/** The account's name, as /etc/passwd has it; a person signs in at the box under the name of their account. */
export function accountOf(uid: number, passwd: string): string | undefined {
  return passwd
    .split("\n")
    .map((line) => line.split(":"))
    .find(([, , number]) => number === String(uid))?.[0];
}
