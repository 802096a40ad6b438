/** Who asks. Every service method takes it first, so that whatever is recorded names a person. */

export interface Principal {
  readonly personId: string;
  readonly name: string;
  readonly roles: readonly string[];
  /** A browser's session, an API key, or a uid of the box that proved itself on the local socket. */
  readonly kind: "session" | "key" | "uid";
  /** Of the session, key or proof: what rate limits and repeated requests are counted by. */
  readonly id: string;
  /** All that a key may; absent where the roles decide alone. */
  readonly scopes?: readonly string[];
}

/** Where a request came from. */
export interface Origin {
  readonly requestId: string;
  /** Address; `local` for the local socket, `root` for that which only local root can reach. */
  readonly peer: string;
  readonly transport: "tls" | "local";
  readonly userAgent: string;
}

/** `principal` is there for every route but those that need no sign-in. */
export interface Caller extends Origin {
  readonly principal: Principal | undefined;
  /** Ended when the client goes away or the answer is too late. */
  readonly signal: AbortSignal;
}

/** A secret as it was presented; which kind decides whether a browser sends it by itself. */
export interface Presented {
  readonly by: "cookie" | "bearer";
  readonly secret: string;
}
