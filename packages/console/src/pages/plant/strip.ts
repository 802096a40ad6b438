/** The last 24 hours at each boundary, an hour a bar. */
import type { Flow } from "../../api/queries.ts";

export const HOUR_MS = 3600 * 1000;
export const HOURS = 24;

export interface HourBar {
  readonly startMs: number;
  readonly accepted: number;
  readonly refused: number;
}

export interface Boundary {
  readonly point: string;
  readonly hours: readonly HourBar[];
  readonly accepted: number;
  readonly refused: number;
}

export function boundaries(flows: readonly Flow[], nowMs: number): readonly Boundary[] {
  const firstMs = Math.floor(nowMs / HOUR_MS) * HOUR_MS - (HOURS - 1) * HOUR_MS;
  const points = [...new Set(flows.map(({ point }) => point))].toSorted();
  return points.map((point) => {
    const own = flows.filter((flow) => flow.point === point);
    const hours = Array.from({ length: HOURS }, (_, index): HourBar => {
      const startMs = firstMs + index * HOUR_MS;
      const within = own.filter(({ start }) => {
        const atMs = Date.parse(start);
        return atMs >= startMs && atMs < startMs + HOUR_MS;
      });
      return { startMs, ...sums(within) };
    });
    return { point, hours, ...sums(own) };
  });
}

function sums(flows: readonly Flow[]): { readonly accepted: number; readonly refused: number } {
  return {
    accepted: flows.reduce((sum, { accepted }) => sum + accepted, 0),
    refused: flows.reduce((sum, { refused }) => sum + refused, 0),
  };
}
