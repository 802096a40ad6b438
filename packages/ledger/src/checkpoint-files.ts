/** The last signed and the last cosigned checkpoint, each in a file that is whole after a power cut. */
import path from "node:path";
import { type Head, parseCheckpoint } from "./checkpoint.ts";
import { readText, type Sync, writeDurably } from "./durable-file.ts";
import { damaged } from "./log-store.ts";
import { type Note, NOTE_MAX_BYTES } from "./note.ts";

/** A witness that answers later than so many checkpoints were signed is not waited for. */
const RECENT = 16;

export interface KeptCheckpoint {
  readonly text: string;
  readonly head: Head;
  readonly note: Note;
}

export class CheckpointFiles {
  readonly #directory: string;
  readonly #sync: Sync | undefined;
  #signed: KeptCheckpoint | undefined;
  #cosigned: KeptCheckpoint | undefined;
  /** By what was signed, with the cosignatures so far: witnesses answer while newer ones are signed. */
  readonly #recent = new Map<string, KeptCheckpoint>();

  constructor(directory: string, sync?: Sync) {
    this.#directory = directory;
    this.#sync = sync;
    this.#signed = this.#read("checkpoint");
    this.#cosigned = this.#read("checkpoint.cosigned");
    for (const one of [this.#cosigned, this.#signed]) if (one !== undefined) this.#remember(one);
  }

  get signed(): KeptCheckpoint | undefined {
    return this.#signed;
  }

  get cosigned(): KeptCheckpoint | undefined {
    return this.#cosigned;
  }

  /** The checkpoint over that text, if it is one of the last. */
  recent(noteText: string): KeptCheckpoint | undefined {
    return this.#recent.get(noteText);
  }

  /** One that is neither the last signed nor cosigned enough, which a restart may forget. */
  keepInMemory(text: string): void {
    this.#remember(keep("checkpoint", text));
  }

  #remember(one: KeptCheckpoint): KeptCheckpoint {
    this.#recent.set(one.note.text, one);
    const [oldest] = this.#recent.keys();
    if (this.#recent.size > RECENT && oldest !== undefined) this.#recent.delete(oldest);
    return one;
  }

  keepSigned(text: string): void {
    this.#signed = this.#write("checkpoint", text);
  }

  keepCosigned(text: string): void {
    this.#cosigned = this.#write("checkpoint.cosigned", text);
  }

  #write(name: string, text: string): KeptCheckpoint {
    writeDurably(path.join(this.#directory, name), text, this.#sync);
    return this.#remember(keep(name, text));
  }

  #read(name: string): KeptCheckpoint | undefined {
    const text = readText(path.join(this.#directory, name), NOTE_MAX_BYTES);
    return text === undefined ? undefined : keep(name, text);
  }
}

function keep(name: string, text: string): KeptCheckpoint {
  const parsed = parseCheckpoint(text);
  if (parsed.kind === "malformed") throw damaged(`its ${name} ${parsed.why}`);
  return { text, ...parsed.value };
}
