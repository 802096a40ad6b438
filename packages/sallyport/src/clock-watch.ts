/** DESIGN §5: a step of more than this shuts windows and refuses grants. */
const STEP_MAX_MS = 5000;

/**
 * Compares the wall clock with the monotonic one. After a step the time is not trusted until the wall
 * clock has agreed with itself for as long as it takes a person to look, or the process is told so.
 */
export class ClockWatch {
  #wallMs: number;
  #steadyMs: number;
  #trusted = true;

  constructor(wallMs: number, steadyMs: number) {
    this.#wallMs = wallMs;
    this.#steadyMs = steadyMs;
  }

  get trusted(): boolean {
    return this.#trusted;
  }

  /** Answers the size of a step seen just now, in milliseconds, or undefined. */
  tick(wallMs: number, steadyMs: number): number | undefined {
    const stepMs = wallMs - this.#wallMs - (steadyMs - this.#steadyMs);
    this.#wallMs = wallMs;
    this.#steadyMs = steadyMs;
    if (Math.abs(stepMs) <= STEP_MAX_MS) return undefined;
    this.#trusted = false;
    return stepMs;
  }

  /** A person (local root) said that the clock is right. */
  trust(): void {
    this.#trusted = true;
  }
}
