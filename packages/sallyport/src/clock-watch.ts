/** DESIGN §5: a step of more than this shuts windows and refuses grants. */
const STEP_MAX_MS = 5000;

/** Compares the wall clock with the monotonic one. What a step means for trust is kept where rules are. */
export class ClockWatch {
  #wallMs: number;
  #steadyMs: number;

  constructor(wallMs: number, steadyMs: number) {
    this.#wallMs = wallMs;
    this.#steadyMs = steadyMs;
  }

  /** Answers the size of a step seen just now, in milliseconds, or undefined. */
  tick(wallMs: number, steadyMs: number): number | undefined {
    const stepMs = wallMs - this.#wallMs - (steadyMs - this.#steadyMs);
    this.#wallMs = wallMs;
    this.#steadyMs = steadyMs;
    if (Math.abs(stepMs) <= STEP_MAX_MS) return undefined;
    return stepMs;
  }
}
