import { rm } from 'node:fs/promises';
import * as z from 'zod';
import {
  at,
  makeFolder,
  readIfThere,
  type System,
  syncDirectory,
  writeDurably,
} from '../../../firstboot/system.ts';
import { target } from '../settings.ts';
import { seedForm } from '../ssh-key.ts';
import { stateFolder } from '../state.ts';

/** `restore:` of gateway-device.yaml: the backup that this gateway is to be made from. The recovery sheet has it. */
export const restoreWish = z.strictObject({
  password: z
    .string({ error: "must be the repository's password, as the recovery sheet has it" })
    .min(1, "must be the repository's password")
    .max(256, "must be the repository's password, at most 256 characters")
    .regex(/^[^\n\r\0]+$/, "must be the repository's password, on one line"),
  /** As a target of the settings. */
  target,
  /** What the gateway logged in with at the SFTP server. */
  ssh_key: z
    .string({ error: 'must be the key of the recovery sheet: 43 letters, digits, - and _' })
    .regex(seedForm, 'must be the key of the recovery sheet: 43 letters, digits, - and _')
    .optional(),
  snapshot: z
    .string({ error: "must be a snapshot's id in quotes, e.g. '3f2a9c10'" })
    .regex(/^[0-9a-f]{8,64}$/, "must be a snapshot's id in quotes, e.g. '3f2a9c10'")
    .optional(),
});
export type RestoreWish = z.output<typeof restoreWish>;

/** A restore that is under way; root's alone. */
export const restoreFolder = `${stateFolder}/restore`;
export const requestFile = `${restoreFolder}/request.json`;
/** The whole snapshot lies in the tree, and was found whole: it is put in place before anything starts. */
export const readyFile = `${restoreFolder}/ready.json`;
/** It is in place; what its services do with it is left. */
export const finishFile = `${restoreFolder}/finish.json`;
export const treeFolder = `${restoreFolder}/tree`;

export type Ready = {
  snapshot: string;
  at: string;
  /** What the owner should know: a damaged newer snapshot, for instance. */
  notes: string[];
};

export async function readRequest(system: System): Promise<RestoreWish | undefined> {
  const text = await readIfThere(at(system, requestFile));
  return text === undefined ? undefined : restoreWish.parse(JSON.parse(text));
}

/** What a request looks like on disk. */
export const requestText = (wish: RestoreWish): string => `${JSON.stringify(wish)}\n`;

export async function writeRequest(system: System, wish: RestoreWish): Promise<void> {
  await makeFolder(at(system, stateFolder), 0o755);
  await makeFolder(at(system, restoreFolder), 0o700);
  await rm(at(system, readyFile), { force: true });
  await syncDirectory(at(system, restoreFolder));
  await writeDurably(at(system, requestFile), requestText(wish), 0o600);
}

/** Ends a restore that is not in place yet. */
export async function forgetRequest(system: System): Promise<void> {
  // First what would put it in place at the next boot.
  await rm(at(system, readyFile), { force: true });
  await rm(at(system, restoreFolder), { recursive: true, force: true });
}

export async function readReady(system: System): Promise<Ready | undefined> {
  const text = await readIfThere(at(system, readyFile));
  return text === undefined ? undefined : (JSON.parse(text) as Ready);
}
