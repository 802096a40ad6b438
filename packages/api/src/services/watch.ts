import type { z } from "zod";
import type { Page, PageRequest } from "../shapes/common.ts";
import type * as shapes from "../shapes/watch.ts";
import type { Caller } from "./caller.ts";

export interface Status {
  status(caller: Caller): Promise<z.infer<typeof shapes.status>>;
  conduits(caller: Caller, page: PageRequest): Promise<Page<shapes.Conduit>>;
  processes(caller: Caller): Promise<readonly shapes.ProcessState[]>;
  drift(caller: Caller): Promise<z.infer<typeof shapes.drift>>;
  doctor(caller: Caller): Promise<readonly z.infer<typeof shapes.finding>[]>;
  /** For load balancers and supervisors, who are not signed in: names of processes and whether each is ready. */
  readiness(): Promise<readonly { readonly name: string; readonly ready: boolean }[]>;
}

type FlowQuestion = Omit<z.infer<typeof shapes.flowQuery>, "limit" | "cursor">;
type DenialQuestion = Omit<z.infer<typeof shapes.denialQuery>, "limit" | "cursor">;

export interface Flows {
  flows(caller: Caller, question: FlowQuestion, page: PageRequest): Promise<Page<shapes.Flow>>;
  denials(caller: Caller, question: DenialQuestion, page: PageRequest): Promise<Page<shapes.Flow>>;
}

type RecordQuestion = Omit<z.infer<typeof shapes.recordQuery>, "limit" | "cursor">;
type Export = z.infer<typeof shapes.ledgerExport>;

export interface Ledger {
  head(caller: Caller): Promise<z.infer<typeof shapes.head>>;
  records(
    caller: Caller,
    question: RecordQuestion,
    page: PageRequest,
  ): Promise<Page<shapes.LedgerRecord>>;
  record(caller: Caller, index: number): Promise<shapes.LedgerRecord>;
  /** In the tree of `size` records; of the newest head when left out. */
  proof(
    caller: Caller,
    index: number,
    size: number | undefined,
  ): Promise<z.infer<typeof shapes.proof>>;
  consistency(
    caller: Caller,
    from: number,
    to: number,
  ): Promise<z.infer<typeof shapes.consistency>>;
  startExport(caller: Caller, order: z.infer<typeof shapes.newExport>): Promise<Export>;
  export(caller: Caller, id: string): Promise<Export>;
  /** The archive, piece by piece; ends early when the client goes away. */
  readExport(caller: Caller, id: string): Promise<AsyncIterable<Uint8Array>>;
  witnesses(caller: Caller): Promise<readonly z.infer<typeof shapes.witness>[]>;
}

type Forwarded = z.infer<typeof shapes.forwarding>;
type NewForwarding = z.infer<typeof shapes.newForwarding>;

export interface Forwarding {
  get(caller: Caller): Promise<Forwarded>;
  /** Throws `draft-changed` unless the sha256 is `ifMatch`. */
  put(caller: Caller, next: NewForwarding, ifMatch: string): Promise<Forwarded>;
  state(caller: Caller): Promise<readonly z.infer<typeof shapes.forwardingState>[]>;
}

type Backup = z.infer<typeof shapes.backup>;

export interface Backups {
  list(caller: Caller, page: PageRequest): Promise<Page<Backup>>;
  create(caller: Caller): Promise<Backup>;
  /** Restores it aside and looks at it. */
  verify(caller: Caller, backup: string): Promise<Backup>;
}

/** What happens, as it happens. `EventHub` of this package keeps the bounds; whoever publishes feeds it. */
export interface Events {
  /** Begins at once; ends when the caller's `signal` is aborted, or by itself when it is read too slowly. */
  subscribe(
    caller: Caller,
    question: { readonly lastId?: number; readonly types?: ReadonlySet<string> },
  ): Subscription;
}

export interface Subscription {
  /** Whether all events after `lastId` are still there; otherwise the client must ask for everything again. */
  readonly complete: boolean;
  readonly events: AsyncIterable<shapes.LiveEvent>;
}
