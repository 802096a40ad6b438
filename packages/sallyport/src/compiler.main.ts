/**
 * The policy compiler: files on standard input, diagnostics and legs on standard output. It runs in an
 * empty room under its own uid, and whoever reads its answer trusts none of it.
 */
import { compilePolicy } from "@sallyport/policy";

const chunks: Buffer[] = [];
for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
const question = JSON.parse(Buffer.concat(chunks).toString("utf8")) as {
  files: { name: string; text: string }[];
  nowMs: number;
};
const files = question.files.map((file) => ({
  name: file.name,
  bytes: new TextEncoder().encode(file.text),
}));
const { diagnostics, legs } = compilePolicy(files, { now: question.nowMs });
process.stdout.write(JSON.stringify({ diagnostics, legs }));
