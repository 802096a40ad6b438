/** The guard of a benchmark's changes: instance and box as JSON in the one argument. */
import process from "node:process";
import { openGuard, type Place } from "@sallyport/enforce";

const place = JSON.parse(process.argv[2] ?? "") as Place;
await openGuard(place, () => {
  process.stdout.write("standing\n");
});
