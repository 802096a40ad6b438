/** Which one step of a change is next, for the person who looks. */
import type { Change } from "../../api/queries.ts";

export type Step = "wait-for-others" | "sign" | "apply" | "confirm" | "rolled-back" | "nothing";

export function nextStep(
  { state, author, signable }: Pick<Change, "state" | "author" | "signable">,
  person: string,
): Step {
  switch (state) {
    case "planned": {
      const hasSigned = signable.approvals.some((given) => given.person === person);
      // Nobody approves what they asked for themselves.
      return author === person || hasSigned ? "wait-for-others" : "sign";
    }
    case "approved":
      return "apply";
    case "applied":
      return "confirm";
    case "rolled-back":
      return "rolled-back";
    case "confirmed":
    case "withdrawn":
    case "outdated":
      return "nothing";
    default:
      return state satisfies never;
  }
}
