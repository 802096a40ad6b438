/** What `status` answers: the gateway as a person would ask after it. Times are ISO 8601 UTC. */
export interface Status {
  readonly instance: string;
  /** Absent before the first policy. */
  readonly site?: string;
  readonly generation?: number;
  readonly pending?: { readonly generation: number; readonly confirmBy: string };
  /** Sentences; empty means every promise holds. */
  readonly degraded: readonly string[];
  readonly timeTrusted: boolean;
  readonly islands: readonly string[];
  readonly conduits: readonly ConduitStatus[];
  readonly grants: readonly GrantStatus[];
  readonly denials: readonly DenialStatus[];
  /**
   * Packets that only a room's routes were left to stop: in `outer` and `inner` past an engine that is
   * gone, in a DMZ room on their way across it. Anything but 0 deserves a look.
   */
  readonly tripwire: readonly { readonly room: string; readonly packets: number }[];
}

export interface ConduitStatus {
  readonly name: string;
  readonly via: string;
  readonly from: string;
  readonly to: string;
  readonly open: boolean;
  /** When the present opening ends. */
  readonly until?: string;
  /** Why it is closed. */
  readonly reason?: string;
  readonly packets: number;
  readonly bytes: number;
}

export interface GrantStatus {
  readonly id: string;
  readonly person: string;
  readonly conduit: string;
  readonly asset: string;
  readonly source: string;
  readonly until: string;
  readonly packets: number;
}

export interface DenialStatus {
  readonly point: string;
  readonly reason: string;
  readonly sourceZone: string;
  readonly destinationZone: string;
  readonly conduit: string;
  readonly packets: number;
}
