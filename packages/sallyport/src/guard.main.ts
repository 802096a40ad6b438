/** The guard of an unconfirmed change: outlives whoever started it, and ends with the change. */
import process from "node:process";
import { openGuard } from "@sallyport/enforce";
import { instanceNamed } from "./instance.ts";

const [name = "main", hostNetns = ""] = process.argv.slice(2);
await openGuard(instanceNamed(name), {
  hostNetns,
  rootless: process.getuid?.() !== 0,
  ready: () => process.stdout.write("standing\n"),
});
