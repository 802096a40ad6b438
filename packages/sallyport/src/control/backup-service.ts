/** Backups over the API: `control` asks for one and reads what was made. It has no hand in what is in it. */
import path from "node:path";
import type { Backups, Caller, Page, PageRequest } from "@sallyport/api";
import { type Json, SallyportError } from "@sallyport/core";
import type { Records, Stored } from "@sallyport/identity";
import { type KeptBackup, keptBackups } from "../backup/kept-backups.ts";
import { checkBackup } from "../backup/put-back.ts";
import { fields, word } from "../cli/enforcer-client.ts";
import type { AskEnforcer } from "./ask.ts";
import { personOf } from "./desk.ts";
import { known, pageOver } from "./pages.ts";

type Backup = Awaited<ReturnType<Backups["create"]>>;

/** How the last look at a backup ended. */
export interface BackupCheck extends Stored {
  readonly verified: "good" | "failed";
  readonly atMs: number;
  readonly why?: string;
}

export interface BackupMeans {
  readonly enforcer: AskEnforcer;
  readonly checks: Records<BackupCheck>;
  readonly directory: string;
  readonly nowMs: () => number;
  /** On record before it is done; throws `not-recorded`. */
  readonly record: (type: string, told: Readonly<Record<string, string | number>>) => Promise<void>;
}

export class BackupService implements Backups {
  readonly #means: BackupMeans;

  constructor(means: BackupMeans) {
    this.#means = means;
  }

  async list(_caller: Caller, page: PageRequest): Promise<Page<Backup>> {
    const all = await Promise.all(
      keptBackups(this.#means.directory)
        .toReversed()
        .map((kept) => this.#told(kept)),
    );
    return pageOver(all, page, ({ id }) => id);
  }

  async create(caller: Caller): Promise<Backup> {
    await this.#means.record("backup-asked", { by: personOf(caller) });
    const made = fields(await this.#means.enforcer({ type: "backup" }).catch(whyNone));
    const id = path.basename(word(made["directory"]));
    const kept = this.#find(id);
    await this.#means.record("backup-made", { backup: id, sha256: kept.sha256 });
    return await this.#told(kept);
  }

  async verify(caller: Caller, id: string): Promise<Backup> {
    const kept = this.#find(id);
    const why = await whyBad(path.join(this.#means.directory, kept.id));
    const verified = why === undefined ? "good" : "failed";
    await this.#means.record("backup-verified", { backup: id, verified, by: personOf(caller) });
    await this.#keep({ id, verified, atMs: this.#means.nowMs(), ...(why ? { why } : {}) });
    return await this.#told(kept);
  }

  #find(id: string): KeptBackup {
    return known(
      keptBackups(this.#means.directory).find((kept) => kept.id === id),
      "backup",
    );
  }

  async #keep(check: Omit<BackupCheck, "revision">): Promise<void> {
    const { checks } = this.#means;
    const before = await checks.get(check.id);
    if (before === undefined) await checks.add({ ...check, revision: 1 });
    else await checks.replace(before, { ...check, revision: before.revision + 1 });
  }

  async #told({ id, atMs, sizeBytes, sha256 }: KeptBackup): Promise<Backup> {
    const check = await this.#means.checks.get(id);
    return {
      ...{ id, createdAt: new Date(atMs).toISOString(), bytes: sizeBytes, sha256 },
      verified: check?.verified ?? "never",
      ...(check === undefined ? {} : { verifiedAt: new Date(check.atMs).toISOString() }),
      ...(check?.why === undefined ? {} : { why: check.why }),
    };
  }
}

/** The enforcer tells what the command line said as it ended. */
function whyNone(cause: unknown): never {
  const said = cause instanceof Error ? cause.message : String(cause);
  const [line] = /\{"error":.*\}/.exec(said) ?? [];
  if (line === undefined) throw cause;
  const { code, message, hint } = fields(fields(JSON.parse(line) as Json)["error"] ?? null);
  throw new SallyportError(word(code), word(message), {
    cause,
    ...(hint === undefined ? {} : { hint: word(hint) }),
  });
}

async function whyBad(directory: string): Promise<string | undefined> {
  try {
    await checkBackup(directory);
    return undefined;
  } catch (error) {
    if (error instanceof SallyportError) return error.message;
    throw error;
  }
}
