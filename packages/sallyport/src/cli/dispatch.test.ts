import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { SallyportError } from "@sallyport/core";
import { type Command, EXIT } from "./command.ts";
import { completion, dispatch } from "./dispatch.ts";

const commands: readonly Command[] = [
  {
    name: "plan",
    args: "[POLICY]",
    help: "What would change.",
    flags: { replay: { type: "boolean", help: "replay" } },
    run: async (invocation) => {
      invocation.result({ args: invocation.args }, `plan ${invocation.args.join(" ")}`);
      return EXIT.changes;
    },
  },
  {
    name: "grant add",
    args: "CONDUIT",
    help: "Opens.",
    flags: {},
    run: async () => {
      throw new SallyportError("needs-root", "only root may", { hint: "use sudo" });
    },
  },
];

async function run(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ["", ""];
  const code = await dispatch(commands, argv, {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    isTerminal: false,
  });
  return { code, out, err };
}

test("the command's words choose it, wherever flags stand, and its code is the exit code", async () => {
  assert.deepEqual(await run("plan", "site.yaml"), { code: 2, out: "plan site.yaml\n", err: "" });
  assert.deepEqual(await run("--json", "plan", "site.yaml"), {
    code: 2,
    out: '{"args":["site.yaml"]}\n',
    err: "",
  });
  for (const argv of [
    ["--instance", "plan", "plan", "site.yaml"],
    ["plan", "--instance", "x1", "site.yaml"],
    ["--instance=x1", "plan", "site.yaml"],
  ]) {
    assert.deepEqual(await run(...argv), { code: 2, out: "plan site.yaml\n", err: "" });
  }
});

test("a failure says what, its code and what to do next; with --json as one object", async () => {
  const plain = await run("grant", "add", "x");
  assert.equal(plain.code, EXIT.denied);
  assert.equal(plain.err, "sallyport: only root may [needs-root]\n  hint: use sudo\n");
  const json = await run("grant", "add", "x", "--json");
  assert.deepEqual(JSON.parse(json.err), {
    error: { code: "needs-root", message: "only root may", hint: "use sudo" },
  });
});

test("a script learns from the exit code whether to sign in, to ask somebody else, or to give up", async () => {
  const codes: Readonly<Record<string, number>> = {
    ...{ "sign-in-needed": 4, "sign-in-failed": 4, "sign-in-ended": 4, "step-up-needed": 4 },
    ...{ "not-permitted": 5, denied: 5, "own-roles": 5, "needs-root": 5 },
    ...{ "second-approver-needed": 6, "approval-missing": 6, "no-such-thing": 1 },
  };
  for (const [code, exit] of Object.entries(codes)) {
    const refuses: Command = {
      ...{ name: "api", args: "", help: "Asks.", flags: {} },
      run: () => Promise.reject(new SallyportError(code, "refused")),
    };
    const silent = { out: () => undefined, err: () => undefined, isTerminal: false };
    assert.equal(await dispatch([refuses], ["api"], silent), exit, code);
  }
});

test("a mistyped command names the nearest one and exits 64", async () => {
  const { code, err } = await run("plam");
  assert.equal(code, EXIT.usage);
  assert.match(err, /did you mean "plan"/);
});

test("an unknown flag exits 64 and says where help is", async () => {
  const { code, err } = await run("plan", "--repaly");
  assert.equal(code, EXIT.usage);
  assert.match(err, /--repaly.*\n.*sallyport plan --help/);
});

test("the first word of a group lists what the group can do", async () => {
  const { code, err } = await run("grant");
  assert.equal(code, EXIT.usage);
  assert.match(err, /sallyport grant add CONDUIT/);
});

test("bash takes the completion script and completes commands, groups and flags", () => {
  const script = completion(commands, "bash");
  const complete = (line: string): string[] => {
    const words = line.split(" ");
    const program = `${script}\nCOMP_WORDS=(${words.map((word) => `"${word}"`).join(" ")}); COMP_CWORD=${words.length - 1}; _sallyport; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return spawnSync("bash", ["-c", program], { encoding: "utf8" }).stdout.trim().split("\n");
  };
  assert.deepEqual(complete("sallyport pl"), ["plan"]);
  assert.deepEqual(complete("sallyport grant a"), ["add"]);
  assert.ok(complete("sallyport plan --re").includes("--replay"));
});
