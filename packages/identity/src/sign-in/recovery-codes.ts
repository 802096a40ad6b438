import { RECOVERY_CODE_LETTERS, RECOVERY_CODES } from "../limits.ts";
import type { Means } from "../ports.ts";
import type { Person } from "../records.ts";
import { cleanLetters, inGroups, sha256Hex, toLetters } from "../secrets.ts";

/** Ten codes on paper, each good once, in place of the TOTP code. Kept as their SHA-256. */
export class RecoveryCodes {
  readonly #means: Means;

  constructor(means: Means) {
    this.#means = means;
  }

  /** New codes; the old ones are good no more. They are shown this once. */
  async make(person: Person): Promise<readonly string[]> {
    const { store, random, events } = this.#means;
    await events.record("recovery-codes-made", { person: person.id, count: RECOVERY_CODES });
    for (const old of await store.recoveryCodes.ofPerson(person.id)) {
      await store.recoveryCodes.take(old.id);
    }
    const codes: string[] = [];
    for (let index = 0; index < RECOVERY_CODES; index++) {
      const letters = toLetters(random.bytes((RECOVERY_CODE_LETTERS * 5) / 8));
      await store.recoveryCodes.add({ id: idOf(person, letters), revision: 1, person: person.id });
      codes.push(inGroups(letters, 4));
    }
    return codes;
  }

  /** Removes the code; true for the one caller that did. */
  async use(person: Person, typed: string): Promise<boolean> {
    const { store, events } = this.#means;
    const code = await store.recoveryCodes.take(idOf(person, cleanLetters(typed)));
    if (code === undefined) return false;
    const left = (await store.recoveryCodes.ofPerson(person.id)).length;
    await events.record("recovery-code-used", { person: person.id, left });
    return true;
  }
}

/** The name is part of it, so that a code of one person is none of another. */
function idOf(person: Person, letters: string): string {
  return sha256Hex(`sallyport-recovery-code/v1\n${person.id}\n${letters}\n`);
}
