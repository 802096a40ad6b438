/** Every bound of this package by name, with its reason or source. */

const MINUTE_MS = 60 * 1000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** NIST SP 800-63B-4, §2.2.3: at most an hour of inactivity; a console in a plant is left open. */
export const SIGN_IN_IDLE_MS: number = 15 * MINUTE_MS;
/** One shift; NIST SP 800-63B-4, §2.2.3 allows 24 hours. */
export const SIGN_IN_ABSOLUTE_MS: number = 12 * HOUR_MS;
/** A sign-in by a link may only enrol a second factor, which takes minutes. */
export const LINK_SIGN_IN_MS: number = 15 * MINUTE_MS;
/** An emergency is handled or handed over within a quarter of a shift. */
export const BREAK_GLASS_SIGN_IN_MS: number = 2 * HOUR_MS;
/** Use is written down at most this often: each write is a sync of the disk. */
export const SEEN_STEP_MS: number = 30 * 1000;
/** Console, phone and a few screens in the control room; more ends the oldest. */
export const SIGN_INS_MAX = 10;
/** A dangerous act wants a second factor that is younger than this. */
export const STEP_UP_MS: number = 5 * MINUTE_MS;
/** A clock that went back by more could stretch every lifetime, so sign-ins end (DESIGN §5, Time). */
export const CLOCK_BACK_MS: number = 5 * 1000;

/** Time to find the key and touch it; WebAuthn Level 3 §15.1 recommends 5 minutes at the least. */
export const CHALLENGE_MS: number = 5 * MINUTE_MS;
/** A spare for each of a person's devices. */
export const PASSKEYS_MAX = 10;
/** Names of passkeys and API keys are shown in tables. */
export const LABEL_MAX_CHARACTERS = 64;

/** NIST SP 800-63B-4, §3.1.1.2: 8 beside a second factor; 12 costs a person little. */
export const PASSWORD_MIN_CHARACTERS = 12;
/** Far above what people type; a longer one is somebody trying to make work. */
export const PASSWORD_MAX_CHARACTERS = 128;
/** Two hashes at once: the machine has few cores, and traffic comes first. */
export const HASH_WORKERS = 2;
/** Waiting for a hash; what comes beyond is told to come later, before any work was done. */
export const HASH_QUEUE_MAX = 32;
export const RECOVERY_CODES = 10;
/** 24 letters of 5 bits: above the 112 bits from which SP 800-63B-4 §3.1.2.2 asks no slow hash. */
export const RECOVERY_CODE_LETTERS = 24;

/** Typing errors that cost nothing. */
export const FREE_FAILURES_OF_PERSON = 5;
/** Several people can share a source: a jump host, or an address that is translated. */
export const FREE_FAILURES_OF_SOURCE = 20;
/** The first delay; it doubles with each failure beyond the free ones. */
export const LOCK_FIRST_MS = 1000;
/** No lock lasts longer, so that nobody can lock an administrator out for good. */
export const LOCK_MAX_MS: number = 15 * MINUTE_MS;
/** Failures are forgotten after a day without another. */
export const FAILURES_KEPT_MS: number = DAY_MS;
/** Names that nobody has share this many counters, so that guessing names fills no disk. */
export const UNKNOWN_NAME_COUNTERS = 1024;

export const API_KEY_LIFE_MAX_MS: number = 366 * DAY_MS;
export const API_KEYS_OF_PERSON_MAX = 20;
/** Use of a key is recorded at most this often, and whenever its source changes. */
export const API_KEY_SEEN_STEP_MS: number = MINUTE_MS;

/** An invitation waits for somebody who is not at work today. */
export const INVITATION_LIFE_MS: number = 3 * DAY_MS;
/** A recovery is asked for by somebody who stands at the machine. */
export const RECOVERY_LIFE_MS: number = HOUR_MS;

/** Signing in at the organization's provider, with a second factor there. */
export const OIDC_FLOW_MS: number = 10 * MINUTE_MS;
/** A provider's keys and endpoints are read again after this. */
export const OIDC_METADATA_MS: number = HOUR_MS;
export const OIDC_GROUPS_MAX = 500;
/** Clocks of two machines, each with NTP, differ by less. */
export const OIDC_CLOCK_TOLERANCE_S = 30;

/** A changed record is read and tried again this often, when somebody else changed it between. */
export const CHANGE_ATTEMPTS = 8;
