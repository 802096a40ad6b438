/**
 * What `node --test-reporter` loads in each test file's process: one JSON line per finished test,
 * for `tools/test.ts` to read. Suites are no tests of their own, except where they fail alone.
 */
import type { TestEvent } from "node:test/reporters";

export interface TestLine {
  readonly name: string;
  readonly outcome: "passed" | "failed" | "skipped";
  /** Why it was skipped, or how it failed; empty for a pass. */
  readonly why: string;
  /** 1-based line of the test, 0 where the runner does not say. */
  readonly line: number;
}

/** Node wants this as the default export. */
export default async function* report(source: AsyncIterable<TestEvent>): AsyncIterable<string> {
  for await (const event of source) {
    const line = toLine(event);
    if (line !== undefined) yield `${JSON.stringify(line)}\n`;
  }
}

function toLine(event: TestEvent): TestLine | undefined {
  if (event.type !== "test:pass" && event.type !== "test:fail") return undefined;
  const { name, skip, todo, line = 0 } = event.data;
  const put = skip ?? todo;
  if (put !== undefined && put !== false) {
    return { name, outcome: "skipped", why: typeof put === "string" ? put : "", line };
  }
  if (event.type === "test:pass") {
    const isSuite = event.data.details.type === "suite";
    return isSuite ? undefined : { name, outcome: "passed", why: "", line };
  }
  const { error } = event.data.details;
  const failureType = "failureType" in error ? error.failureType : undefined;
  // The failed test below it has been told already.
  if (failureType === "subtestsFailed") return undefined;
  return { name, outcome: "failed", why: describe(error.cause ?? error), line };
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.stack ?? error.message;
}
