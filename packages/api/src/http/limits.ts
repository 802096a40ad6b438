/** Every bound of the API in one place; what no reason is given for is a round number far above use. */

/** Most bodies are a handful of fields. */
export const BODY_BYTES_DEFAULT = 64 * 1024;
/** A policy may have 1 MiB of text (the compiler's limit); JSON escapes may double it. */
export const BODY_BYTES_POLICY = 2 * 1024 * 1024 + BODY_BYTES_DEFAULT;
/** Nothing of ours nests so far; canonical JSON refuses more than 64. */
export const JSON_DEPTH_MAX = 32;
/** A path, its query and a cursor; also what a log line shows of it. */
export const TARGET_LENGTH_MAX = 4096;
export const LOGGED_PATH_LENGTH_MAX = 256;

/** What one answer lists when nobody says, and at most. */
export const PAGE_DEFAULT = 50;
export const PAGE_MAX = 200;

/**
 * Requests of one person or key: bursts of a console that opens all its pages at once, and steady use of
 * a script that asks for everything each second.
 */
export const PRINCIPAL_BURST = 200;
export const PRINCIPAL_PER_SECOND = 50;
/** Requests of one source address, signed in or not; a plant's proxy may hold several people. */
export const SOURCE_BURST = 400;
export const SOURCE_PER_SECOND = 100;
/** Tries to sign in from one source, and wrong credentials on any route: slower than a person types. */
export const SIGN_IN_BURST = 20;
export const SIGN_IN_PER_SECOND = 0.5;
/** Sign-ins being checked at once in all: each costs a password hash, 64 MiB for most of a second. */
export const SIGN_INS_AT_ONCE = 4;
/** Sources and principals told apart; beyond that newcomers share one bucket. */
export const BUCKETS_MAX = 10_000;

/** Requests being answered at once; each holds at most one body. */
export const REQUESTS_AT_ONCE = 256;
/** Bytes of bodies being read at once in all. */
export const BODY_BYTES_AT_ONCE = 32 * 1024 * 1024;
/** A request that no service answers in this time is a defect; the caller hears so. */
export const ANSWER_MS_MAX = 30_000;

/** Live streams of one principal (tabs of a console) and in all. */
export const STREAMS_PER_PRINCIPAL = 6;
export const STREAMS_MAX = 100;
/** Events that wait for one slow client; beyond that its stream ends and it starts over. */
export const STREAM_EVENTS_MAX = 256;
/** Events kept for those that come back with Last-Event-ID. */
export const REPLAY_EVENTS_MAX = 1024;
/** A comment this often keeps proxies from closing, and is when the sign-in is looked at again. */
export const STREAM_BEAT_MS = 15_000;
/** Then the client comes back by itself, to a process that may be newer. */
export const STREAM_MS_MAX = 3_600_000;

/** Answers kept for a repeated Idempotency-Key. */
export const IDEMPOTENCY_ENTRIES_MAX = 2_000;
export const IDEMPOTENCY_ENTRIES_PER_PRINCIPAL = 200;
export const IDEMPOTENCY_MS = 24 * 3_600_000;
/** A longer answer is not kept; no route that takes a key answers more. */
export const IDEMPOTENCY_ANSWER_BYTES_MAX = 64 * 1024;

/** Header fields as bytes, the limit of node:http too; cookies and a key need far less. */
export const HEADER_BYTES_MAX = 16 * 1024;
/** Slow clients: the whole head, and the whole request. */
export const HEADERS_MS_MAX = 10_000;
export const REQUEST_MS_MAX = 30_000;
export const KEEP_ALIVE_MS = 30_000;
/** TLS handshakes that stall hold a socket. */
export const HANDSHAKE_MS_MAX = 10_000;
export const CONNECTIONS_MAX = 1024;
/** So that one source cannot take all connections. */
export const CONNECTIONS_PER_SOURCE = 256;
/** Then a connection is closed, so that none lives for ever across a new certificate. */
export const REQUESTS_PER_CONNECTION = 10_000;
