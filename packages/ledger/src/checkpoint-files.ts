/** The last signed and the last cosigned checkpoint, each in a file that is whole after a power cut. */
import path from "node:path";
import { type Head, parseCheckpoint } from "./checkpoint.ts";
import { readText, type Sync, writeDurably } from "./durable-file.ts";
import { damaged } from "./log-store.ts";
import { type Note, NOTE_MAX_BYTES } from "./note.ts";

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

  constructor(directory: string, sync?: Sync) {
    this.#directory = directory;
    this.#sync = sync;
    this.#signed = this.#read("checkpoint");
    this.#cosigned = this.#read("checkpoint.cosigned");
  }

  get signed(): KeptCheckpoint | undefined {
    return this.#signed;
  }

  get cosigned(): KeptCheckpoint | undefined {
    return this.#cosigned;
  }

  keepSigned(text: string): void {
    this.#signed = this.#write("checkpoint", text);
  }

  keepCosigned(text: string): void {
    this.#cosigned = this.#write("checkpoint.cosigned", text);
  }

  #write(name: string, text: string): KeptCheckpoint {
    writeDurably(path.join(this.#directory, name), text, this.#sync);
    return keep(name, text);
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
