import { randomBytes } from "node:crypto";
import { LOCAL_ROOT } from "../message-fields.ts";
import type { Asked } from "../messages.ts";

/** The command is answered in seconds; an act that was held up longer begins no more. */
const START_WITHIN_MS = 120_000;

/** Local root's word for an opening act, recorded as break-glass with its reason. */
export function localRoot(reason = "local root at the command line"): Asked {
  return {
    id: newActId(),
    author: LOCAL_ROOT,
    startBy: new Date(Date.now() + START_WITHIN_MS).toISOString(),
    approvals: [{ kind: "local-root", reason }],
  };
}

/** No two acts have one: what was begun under an id cannot be begun again. */
export function newActId(): string {
  return `a-${randomBytes(8).toString("hex")}`;
}
