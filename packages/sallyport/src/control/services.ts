/** All services of the API put together. */
import path from "node:path";
import type { EventHub, Services } from "@sallyport/api";
import type { Clock, IdentityEvents, Randomness, RelyingParty } from "@sallyport/identity";
import { identityStore, type StateStore } from "@sallyport/store";
import type { Forwarder } from "../forward/forwarder.ts";
import type { Recorder } from "../recorder.ts";
import { diskOf, diskSentence } from "../disk.ts";
import { ActRequests } from "./act-requests.ts";
import { Alarms } from "./alarms.ts";
import type { AskArchivist, AskEnforcer, AskKeyholder } from "./ask.ts";
import { BackupService } from "./backup-service.ts";
import { ChangeService } from "./change-service.ts";
import { Desk } from "./desk.ts";
import { ForwardingService } from "./forwarding-service.ts";
import { GrantService } from "./grant-service.ts";
import { LedgerService } from "./ledger-service.ts";
import type { LocalProof } from "./local-proof.ts";
import { KeysService, PeopleService } from "./people-service.ts";
import { type AppliedText, PolicyService } from "./policy-service.ts";
import type { ProviderSettings } from "./settings.ts";
import { SignInService } from "./sign-in-service.ts";
import { Signing } from "./signing.ts";
import { FlowService, type Machine, StatusService, type WatchMeans } from "./watch-service.ts";
import { ApproverService, ZoneService } from "./zone-service.ts";

export interface ServiceMeans {
  readonly state: StateStore;
  readonly recorder: Recorder;
  readonly enforcer: AskEnforcer;
  readonly archivist: AskArchivist;
  readonly keyholder: AskKeyholder;
  readonly proof: LocalProof;
  readonly clock: Clock;
  readonly random: Randomness;
  readonly rp: RelyingParty | undefined;
  readonly readFlows: WatchMeans["readFlows"];
  readonly accounts: () => string;
  readonly backupsDirectory: string;
  readonly providers: readonly ProviderSettings[];
  /** Alarms go here beside the ledger, in case that is down. */
  readonly alarmsFile: string;
  readonly forwarder: Forwarder;
  readonly hub: EventHub;
  readonly machine: Machine;
  /** Where the archivist writes exports of the ledger. */
  readonly exportsDirectory: string;
}

export function makeServices(means: ServiceMeans): Services & { readonly alarms: Alarms } {
  const { state, recorder, enforcer, archivist, keyholder, proof, clock, random, rp } = means;
  const events: IdentityEvents = { record: (type, told) => recorder.record(type, told) };
  const store = identityStore(state);
  const { alarmsFile: file, providers, hub } = means;
  const alarms = new Alarms({ file, hub, clock, accounts: store.breakGlass });
  const desk = new Desk({
    ...{ store, clock, random, events, keyholder, rp, alarms, providers },
  });
  const signing = new Signing(enforcer, clock);
  const record: Recorder["record"] = (type, told) => recorder.record(type, told);
  const requests = new ActRequests({
    ...{ enforcer, signing, clock, record, requests: state.records("act-request") },
  });
  const grants = new GrantService(requests);
  const texts = state.records<AppliedText>("policy-text");
  const policy = new PolicyService({ enforcer, clock, texts, drafts: state.records("draft") });
  const endGrants = (person: string): Promise<void> => grants.endOf(person);
  const people = new PeopleService(desk, state.records("totp-note"), endGrants);
  const { accounts } = means;
  const signIns = new SignInService({ desk, people, enforcer, proof, accounts });
  const watch: WatchMeans = {
    ...{ enforcer, archivist, keyholder, readFlows: means.readFlows },
    machine: means.machine,
    nowMs: () => clock.nowMs(),
    degradedBy: () => {
      const sentence = diskSentence(diskOf(path.dirname(means.backupsDirectory)));
      return sentence === undefined ? [] : [sentence];
    },
    standing: () => alarms.standing(),
  };
  return {
    signIns,
    permissions: signIns,
    people,
    alarms,
    keys: new KeysService(desk),
    policy,
    changes: new ChangeService({
      ...{ enforcer, policy, signing, texts, clock, record, changes: state.records("change") },
    }),
    grants,
    zones: new ZoneService(requests),
    approvers: new ApproverService(requests, desk),
    status: new StatusService(watch),
    flows: new FlowService(watch),
    ledger: new LedgerService({
      ...{ archivist, record, permissions: signIns, nowMs: watch.nowMs },
      exports: state.records("ledger-export"),
      exportsDirectory: means.exportsDirectory,
    }),
    forwarding: new ForwardingService(means.forwarder, record),
    backups: new BackupService({
      ...{ enforcer, record, directory: means.backupsDirectory },
      ...{ checks: state.records("backup-check"), nowMs: () => clock.nowMs() },
    }),
    events: means.hub,
  };
}
