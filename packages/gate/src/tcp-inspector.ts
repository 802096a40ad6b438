/** The opaque relay: every byte passes both ways, and each side's end ends that side of the other. */
import type { L7 } from "@sallyport/policy/legs";
import type { CloseReason, Inspector, Outlet } from "./inspector.ts";

export class TcpInspector implements Inspector {
  readonly isFull = false;
  readonly #outlet: Outlet;
  #isClientOver = false;
  #isDeviceOver = false;

  constructor(outlet: Outlet) {
    this.#outlet = outlet;
  }

  fromClient(bytes: Uint8Array, start: number, end: number): void {
    this.#outlet.toDevice(bytes, start, end);
  }

  fromDevice(bytes: Uint8Array, start: number, end: number): void {
    this.#outlet.toClient(bytes, start, end);
  }

  clientEnded(): void {
    this.#isClientOver = true;
    if (this.#isDeviceOver) this.#outlet.finish("closed-by-client");
    else this.#outlet.endDevice();
  }

  deviceEnded(): void {
    this.#isDeviceOver = true;
    if (this.#isClientOver) this.#outlet.finish("closed-by-device");
    else this.#outlet.endClient();
  }

  deviceUnavailable(reason: CloseReason): void {
    this.#outlet.close(reason, "the device could not be reached");
  }

  sweep(): void {
    // Nothing is kept here, so nothing can grow old.
  }

  setLimits(l7: L7): boolean {
    return l7.protocol === "tcp";
  }
}
