/** The ledger as whoever sends it on sees it. */
import type { AskArchivist } from "../control/ask.ts";
import { fields, listOf, word } from "../cli/enforcer-client.ts";
import { sizeOf, type ToldRecord, toldRecord } from "./lines.ts";

export interface LedgerHead {
  /** Another ledger has another origin. */
  readonly origin: string;
  readonly size: number;
  /** The signed head, and how many records it covers: none before the first. */
  readonly signed: string;
  readonly signedSize: number;
}

export interface RecordSource {
  head(): Promise<LedgerHead>;
  /** Records from `index` on, in order and without a gap; at most `limit`. */
  records(index: number, limit: number): Promise<readonly ToldRecord[]>;
}

export class ArchivistSource implements RecordSource {
  readonly #archivist: AskArchivist;

  constructor(archivist: AskArchivist) {
    this.#archivist = archivist;
  }

  async head(): Promise<LedgerHead> {
    const { key, size, signed } = fields(await this.#archivist({ type: "head" }));
    const text = word(signed);
    // The verifier's key begins with the ledger's name, which has no plus sign.
    const origin = word(key).split("+", 1)[0] ?? "";
    return { origin, size: Number(size), signed: text, signedSize: sizeOf(text) };
  }

  async records(index: number, limit: number): Promise<readonly ToldRecord[]> {
    const question = { from: index, limit };
    const page = fields(await this.#archivist({ type: "list", question }));
    return listOf(page["records"]).map(toldRecord);
  }
}
