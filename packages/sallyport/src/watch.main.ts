/**
 * Starts the two captures of refused packets and the process that reads them, as one unit: when one
 * ends all end, and the supervisor starts them anew. It reads no packet itself.
 */
import { type ChildProcess, spawn } from "node:child_process";
import path from "node:path";
import { caged } from "./cage.ts";

const [outer = "", inner = "", innerDevice = "", directory = "", uid = ""] = process.argv.slice(2);
/** The group that the outer rules log refusals to. */
const NFLOG = "nflog:5";

/** `-Z` gives up root once the socket is open; in a user namespace there is nothing to give up. */
function capture(netns: string, device: string): ChildProcess {
  const unprivileged = uid === "" ? [] : ["-Z", "tcpdump"];
  const args = ["-i", device, "-n", "-U", "--immediate-mode", "-w", "-", ...unprivileged];
  return spawn(
    "setpriv",
    ["--pdeathsig=KILL", "--", "nsenter", `--net=${netns}`, "--", "tcpdump", ...args],
    {
      stdio: ["ignore", "pipe", "ignore"],
    },
  );
}

const captures = [capture(outer, NFLOG), capture(inner, innerDevice)];
const packets = path.join(import.meta.dirname, "packets.main.ts");
const command = [process.execPath, "--disable-sigusr1", packets, directory, innerDevice];
// It decodes what attackers wrote, so it gets a network namespace with nothing in it.
const [file = "", ...args] = [
  ...["unshare", "--net", "--"],
  ...caged(uid === "" ? {} : { uid: Number(uid) }, command),
];
const reader = spawn(file, args, {
  stdio: ["inherit", "inherit", "inherit", ...captures.map((child) => child.stdout)],
});
for (const child of [...captures, reader]) {
  child.on("error", () => process.exit(1));
  child.on("exit", () => process.exit(1));
}
