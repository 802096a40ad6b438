/** Every bound of the policy language, with its reason. A file beyond one is a diagnostic. */

/** A file above this is refused unread: the YAML parser needs seconds and gigabytes beyond it. */
export const FILE_BYTES: number = 1024 * 1024;
/** A policy directory; more is a mistake in the path. */
export const FILES = 64;
/** All files together: what the compiler process parses inside its 10 s and 512 MiB. */
export const TOTAL_BYTES: number = 8 * 1024 * 1024;
/** The language itself nests 7 deep. */
export const DEPTH = 32;
export const ALIASES = 100;
/** Values that aliases repeat, counted as if written out: a "billion laughs" ends here. */
export const ALIASED_VALUES = 10_000;
/** A person fixes a few and runs again; the rest is counted. */
export const DIAGNOSTICS = 500;

export const NAME_CHARACTERS = 40;
export const TEXT_CHARACTERS = 500;
/** Kernel: IFNAMSIZ is 16 with the closing zero. */
export const INTERFACE_CHARACTERS = 15;

/** Listeners are below the kernel's ephemeral ports (32768 up), so a dial never takes one. */
export const LISTEN_PORT_FIRST = 20_000;
export const LISTEN_PORT_LAST = 32_767;
/** One process serves all listeners of a conduit; a range of ports is usually a mistake here. */
export const LISTENERS_PER_CONDUIT = 512;
export const SESSION_SLOTS = 32;
/** Both engines keep at most this many conduits for one (source, destination, port). */
export const OPEN_CANDIDATES_PER_CELL = 4;
/** Pairs of overlapping legs that are compared before the answer is `policy-too-complex`. */
export const OVERLAP_WORK = 50_000_000;
/** Audit mode lets everything between two zones pass. */
export const AUDIT_DAYS = 30;
