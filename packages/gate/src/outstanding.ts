/**
 * What a client asked and has no answer to yet, in the order in which it asked: requests that the device
 * has, and refusals that wait for their turn between them.
 */
import { modbus } from "@sallyport/wire";

/** Objects that are kept for reuse, so that a request allocates nothing. */
const POOL_MAX = 4096;

/** A request that awaits its response, or its turn to be refused. */
export class Outstanding extends modbus.ModbusRequest {
  next: Outstanding | undefined = undefined;
  /** The exception that it gets when its turn comes; 0: the device was asked. */
  refusal = 0;
  /** The ADU, of the functions whose response repeats it. */
  copy: Uint8Array | undefined = undefined;
}

const pool: Outstanding[] = [];

export function takeRequest(): Outstanding {
  return pool.pop() ?? new Outstanding();
}

/** The request must not be used again. */
export function releaseRequest(request: Outstanding): void {
  request.next = undefined;
  request.refusal = 0;
  request.copy = undefined;
  if (pool.length < POOL_MAX) pool.push(request);
}

export class OutstandingQueue {
  oldest: Outstanding | undefined = undefined;
  #newest: Outstanding | undefined = undefined;
  count = 0;
  /** Another number each time that another request has become the oldest. */
  turn = 0;

  append(request: Outstanding): void {
    if (this.#newest === undefined) this.#setOldest(request);
    else this.#newest.next = request;
    this.#newest = request;
    this.count++;
  }

  /** Takes out and releases the request that the response answers; false: there is none. */
  takeAnswered(response: modbus.ModbusResponse, bytes: Uint8Array, at: number): boolean {
    let before: Outstanding | undefined;
    for (let request = this.oldest; request !== undefined; request = request.next) {
      if (request.refusal === 0 && modbus.answers(request, request.copy, response, bytes, at)) {
        this.#unlink(request, before);
        releaseRequest(request);
        return true;
      }
      before = request;
    }
    return false;
  }

  /** The oldest, if it is a refusal: its turn has come. The caller releases it. */
  takeDueRefusal(): Outstanding | undefined {
    const request = this.oldest;
    if (request === undefined || request.refusal === 0) return undefined;
    this.#unlink(request, undefined);
    return request;
  }

  #unlink(request: Outstanding, before: Outstanding | undefined): void {
    if (before === undefined) this.#setOldest(request.next);
    else before.next = request.next;
    if (request.next === undefined) this.#newest = before;
    this.count--;
  }

  #setOldest(request: Outstanding | undefined): void {
    this.oldest = request;
    this.turn = (this.turn + 1) | 0;
  }

  /** Whether the device was asked with this transaction id and has not answered. */
  hasTransaction(transaction: number): boolean {
    for (let request = this.oldest; request !== undefined; request = request.next) {
      if (request.refusal === 0 && request.transaction === transaction) return true;
    }
    return false;
  }

  /** Nobody will answer any more: what the device was asked becomes a refusal. */
  refuseAll(exception: number): void {
    for (let request = this.oldest; request !== undefined; request = request.next) {
      if (request.refusal === 0) request.refusal = exception;
    }
  }

  clear(): void {
    for (let request = this.oldest; request !== undefined; ) {
      const next: Outstanding | undefined = request.next;
      releaseRequest(request);
      request = next;
    }
    this.oldest = undefined;
    this.#newest = undefined;
    this.count = 0;
  }
}
