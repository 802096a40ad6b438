/** The story's rows in the order they are told: work, misuse, attacks, change. */
import { GATE_ATTACK_ROWS, PACKET_ATTACK_ROWS } from "./story-attacks.ts";
import { CHANGE_ROWS } from "./story-changes.ts";
import { FLOW_ROWS } from "./story-flows.ts";
import type { Row } from "./story.ts";

export const ROWS: readonly Row[] = [
  ...FLOW_ROWS,
  ...GATE_ATTACK_ROWS,
  ...PACKET_ATTACK_ROWS,
  ...CHANGE_ROWS,
];
