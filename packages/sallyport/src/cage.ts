/**
 * The command line that puts a process where it belongs: its room, a uid of its own, no other process in
 * sight, no capability, gone when its parent goes. Util-linux does each step, so that no native code is ours.
 */
export interface Cage {
  /** Path of the network namespace; undefined stays in the caller's. */
  readonly netns?: string;
  /** Undefined where there is only one uid (a user namespace). */
  readonly uid?: number;
}

const GONE_WITH_PARENT = ["setpriv", "--pdeathsig=KILL", "--"];

export function caged(cage: Cage, command: readonly string[]): string[] {
  const enter = cage.netns === undefined ? [] : ["nsenter", `--net=${cage.netns}`, "--"];
  const alone = ["unshare", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc", "--"];
  const drop =
    cage.uid === undefined
      ? []
      : [
          "setpriv",
          `--reuid=${cage.uid}`,
          `--regid=${cage.uid}`,
          "--clear-groups",
          "--no-new-privs",
          "--bounding-set=-all",
          "--inh-caps=-all",
          // Changing the uid cleared what --kill-child had set.
          "--pdeathsig=KILL",
          "--",
        ];
  return [...GONE_WITH_PARENT, ...enter, ...alone, ...drop, ...command];
}
