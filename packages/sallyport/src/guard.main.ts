/** The guard of an unconfirmed change: outlives whoever started it, and ends with the change. */
import process from "node:process";
import { openGuard } from "@sallyport/enforce";
import { instanceNamed } from "./instance.ts";

const [name = "main", hostNetns = "", uid = ""] = process.argv.slice(2);
await openGuard({ instance: instanceNamed(name), hostNetns, oneEngine: uid === "" }, () => {
  process.stdout.write("standing\n");
});
