/** Runs inside the throw-away namespaces that `runDoctor` made, and prints what it found. */
import { runChecks } from "./doctor.ts";

process.stdout.write(JSON.stringify(runChecks(process.argv[2] === "true")));
