import type { z } from "zod";
import type { Approval, Page, PageRequest } from "../shapes/common.ts";
import type * as shapes from "../shapes/policy.ts";
import type { approver, firstApprover } from "../shapes/people.ts";
import type { Caller } from "./caller.ts";

type GrantRequest = shapes.GrantRequest;
type Grant = shapes.Grant;

export interface Grants {
  request(caller: Caller, request: z.infer<typeof shapes.newGrantRequest>): Promise<GrantRequest>;
  requests(
    caller: Caller,
    filter: { readonly state?: GrantRequest["state"]; readonly person?: string },
    page: PageRequest,
  ): Promise<Page<GrantRequest>>;
  getRequest(caller: Caller, request: string): Promise<GrantRequest>;
  approve(caller: Caller, request: string, approval: Approval): Promise<GrantRequest>;
  deny(caller: Caller, request: string, reason: string): Promise<GrantRequest>;
  withdraw(caller: Caller, request: string, reason: string): Promise<GrantRequest>;

  /** Opens what was approved: the enforcer judges the approvals. */
  add(caller: Caller, request: string): Promise<Grant>;
  list(caller: Caller, page: PageRequest): Promise<Page<Grant>>;
  revoke(caller: Caller, grant: string, reason: string): Promise<void>;
  /** Stop all remote access; answers how many ended. */
  revokeAll(caller: Caller, reason: string): Promise<number>;
}

type Zone = z.infer<typeof shapes.zone>;
type Reconnection = z.infer<typeof shapes.reconnection>;

export interface Zones {
  list(caller: Caller): Promise<readonly Zone[]>;
  /** Closes; needs nobody's approval. */
  island(caller: Caller, zone: string, reason: string): Promise<Zone>;
  /** Asks to end the island: something to sign. */
  reconnect(caller: Caller, zone: string, reason: string): Promise<Reconnection>;
  reconnection(caller: Caller, reconnection: string): Promise<Reconnection>;
  approveReconnection(
    caller: Caller,
    reconnection: string,
    approval: Approval,
  ): Promise<Reconnection>;
  finishReconnection(caller: Caller, reconnection: string): Promise<Reconnection>;
}

type Enrolment = z.infer<typeof shapes.enrolment>;

export interface Approvers {
  list(caller: Caller): Promise<readonly z.infer<typeof approver>[]>;
  /** Once, for the first of them; the enforcer checks the proof. Answers the key's id. */
  enrolFirst(
    caller: Caller,
    key: z.infer<typeof firstApprover>["key"],
    proof: string,
  ): Promise<string>;
  enrol(caller: Caller, enrolment: z.infer<typeof shapes.enrolmentQuestion>): Promise<Enrolment>;
  enrolment(caller: Caller, enrolment: string): Promise<Enrolment>;
  approveEnrolment(caller: Caller, enrolment: string, approval: Approval): Promise<Enrolment>;
  finishEnrolment(caller: Caller, enrolment: string): Promise<Enrolment>;
  /** Closes; needs nobody's approval. */
  revoke(caller: Caller, approver: string, reason: string): Promise<void>;
}
