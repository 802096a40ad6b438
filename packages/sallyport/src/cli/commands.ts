import { apply, confirm, drift, plan, rollback } from "./change-commands.ts";
import {
  approve,
  approverAdd,
  approverList,
  approverNew,
  approverRevoke,
} from "./approval-commands.ts";
import { adminCa, adminLink, api } from "./api-commands.ts";
import type { Command } from "./command.ts";
import { denials, flows } from "./flow-commands.ts";
import { forwardingSet, forwardingStatus } from "./forward-commands.ts";
import {
  clockTrust,
  grantAdd,
  grantList,
  grantOpen,
  grantRevoke,
  islandOff,
  islandOn,
} from "./grant-commands.ts";
import {
  ledgerExport,
  ledgerList,
  ledgerProve,
  ledgerShow,
  ledgerStatus,
  ledgerVerify,
  ledgerWitness,
} from "./ledger-commands.ts";
import { diff, explain, exported, fmt, matrix, schema, validate } from "./policy-commands.ts";
import {
  completionCommand,
  demo,
  doctor,
  down,
  init,
  status,
  up,
  version,
} from "./run-commands.ts";

/** All commands: help, completion and the reference page are made from this one table. */
export const commands: readonly Command[] = [
  ...[demo, init, up, down, status, doctor, plan, apply, confirm, rollback, drift],
  ...[validate, fmt, explain, matrix, diff, exported, schema],
  ...[approve, approverNew, approverAdd, approverList, approverRevoke],
  ...[ledgerStatus, ledgerList, ledgerShow, ledgerProve, ledgerExport, ledgerVerify, ledgerWitness],
  ...[grantAdd, grantOpen, grantList, grantRevoke, denials, flows, islandOn, islandOff, clockTrust],
  ...[forwardingStatus, forwardingSet],
  ...[adminLink, adminCa, api, version, completionCommand(() => commands)],
];
