/** All that the API asks for; `sallyport` hands in the implementations. */
import type { Changes } from "./changes.ts";
import type { Approvers, Grants, Zones } from "./grants.ts";
import type { Keys, People } from "./people.ts";
import type { Permissions } from "./permissions.ts";
import type { Policy } from "./policy.ts";
import type { SignIns } from "./sign-ins.ts";
import type { Backups, Events, Flows, Forwarding, Ledger, Status } from "./watch.ts";

export interface Services {
  readonly signIns: SignIns;
  readonly permissions: Permissions;
  readonly people: People;
  readonly keys: Keys;
  readonly policy: Policy;
  readonly changes: Changes;
  readonly grants: Grants;
  readonly zones: Zones;
  readonly approvers: Approvers;
  readonly status: Status;
  readonly flows: Flows;
  readonly ledger: Ledger;
  readonly forwarding: Forwarding;
  readonly backups: Backups;
  readonly events: Events;
}
