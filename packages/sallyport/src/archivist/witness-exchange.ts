import type { Json } from "@sallyport/core";
import type { Ledger } from "@sallyport/ledger";

interface WitnessAnswer {
  readonly status: number;
  readonly body: string;
}

/**
 * One witness being asked to cosign. The archivist has no network, so whoever has one carries each step there and
 * back: `{ body }` is to be posted to the witness, `{ done }` says how many have cosigned.
 */
export class WitnessExchange {
  #step: PromiseWithResolvers<Json> = Promise.withResolvers<Json>();
  #answered: ((answer: WitnessAnswer) => void) | undefined;

  constructor(ledger: Ledger, witness: string) {
    const addCheckpoint = (body: string): Promise<WitnessAnswer> =>
      new Promise((resolve) => {
        this.#answered = resolve;
        this.#step.resolve({ body });
      });
    ledger.cosign({ name: witness, addCheckpoint }).then(
      (count) => this.#step.resolve({ done: count }),
      (error: unknown) => this.#step.reject(error),
    );
  }

  next(): Promise<Json> {
    return this.#step.promise;
  }

  answer(answer: WitnessAnswer): Promise<Json> {
    this.#step = Promise.withResolvers<Json>();
    this.#answered?.(answer);
    return this.#step.promise;
  }
}
