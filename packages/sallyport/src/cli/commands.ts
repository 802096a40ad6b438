import { apply, confirm, drift, plan, rollback } from "./change-commands.ts";
import {
  approve,
  approverAdd,
  approverList,
  approverNew,
  approverRevoke,
} from "./approval-commands.ts";
import {
  adminCa,
  adminCertificate,
  adminLink,
  adminOidcSecret,
  adminRecover,
} from "./admin-commands.ts";
import { api } from "./api-commands.ts";
import { breakGlassList, breakGlassOpen, breakGlassSeal } from "./break-glass-commands.ts";
import {
  backupCreate,
  backupKey,
  backupList,
  backupRestore,
  backupVerify,
} from "./backup-commands.ts";
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
import { supportBundleCommand } from "./support-commands.ts";
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
  ...[backupKey, backupCreate, backupList, backupVerify, backupRestore],
  supportBundleCommand,
  ...[adminLink, adminRecover, adminCa, adminCertificate, adminOidcSecret],
  ...[breakGlassSeal, breakGlassList, breakGlassOpen],
  ...[forwardingStatus, forwardingSet],
  ...[api, version, completionCommand(() => commands)],
];
