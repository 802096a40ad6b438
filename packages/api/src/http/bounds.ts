import * as limits from "./limits.ts";
import { HttpError } from "./problem.ts";
import type { Rate } from "./rate.ts";

/** Bounds that an installation, a test or a benchmark may set otherwise. */
export interface Bounds {
  readonly principal: Rate;
  readonly source: Rate;
  readonly signIn: Rate;
  readonly answerMsMax: number;
  readonly beatMs: number;
  readonly streamMsMax: number;
}

export const BOUNDS: Bounds = {
  principal: { burst: limits.PRINCIPAL_BURST, perSecond: limits.PRINCIPAL_PER_SECOND },
  source: { burst: limits.SOURCE_BURST, perSecond: limits.SOURCE_PER_SECOND },
  signIn: { burst: limits.SIGN_IN_BURST, perSecond: limits.SIGN_IN_PER_SECOND },
  answerMsMax: limits.ANSWER_MS_MAX,
  beatMs: limits.STREAM_BEAT_MS,
  streamMsMax: limits.STREAM_MS_MAX,
};

export function rateLimited(waitSeconds: number): HttpError {
  return new HttpError("rate-limited", `too many requests; again in ${waitSeconds} s`, {
    headers: { "retry-after": String(waitSeconds) },
  });
}

/** Ends the call's signal and throws `too-busy` when the time is over. */
export async function inTime<Value>(
  promise: Promise<Value>,
  ms: number,
  controller: AbortController,
): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      controller.abort();
      reject(
        new HttpError("too-busy", `no answer within ${ms / 1000} s; what was asked may be done`),
      );
    }, ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
