import { createHmac, randomBytes } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import {
  at,
  makeFolder,
  readIfThere,
  type System,
  syncDirectory,
  writeDurably,
} from '../../firstboot/system.ts';
import { remembered } from '../remembered.ts';
import { settingsFile } from './read.ts';

/** Versions of the settings, with their secrets: the folder is root's alone. */
export const storeFolder = '/var/lib/pi-gateway/settings';
export const pendingFile = `${storeFolder}/pending.json`;
const keyFile = `${storeFolder}/key`;

/** Versions that are kept. */
const keptVersions = 10;

export type StoredVersion = { version: number; at: string; by: string; text: string };

const fileOf = (version: number) => `${storeFolder}/${version}.json`;

async function ensureFolder(system: System): Promise<void> {
  await makeFolder(at(system, storeFolder), 0o700);
}

/** Text of the settings in force; empty if there is no file. */
export async function currentText(system: System): Promise<string> {
  return (await readIfThere(at(system, settingsFile))) ?? '';
}

/**
 * Of a text, by a key of this device's own: it goes to clients, and a plain digest would let them try out
 * what a short secret may be.
 */
export async function digestOf(system: System, text: string): Promise<string> {
  return createHmac('sha256', await digestKey(system))
    .update(text)
    .digest('hex');
}

/** Who asks first makes it; of several at once, one, or each would have a digest of its own. */
const digestKey = remembered(0, async (system: System): Promise<string> => {
  const there = await readIfThere(at(system, keyFile));
  if (there !== undefined) return there;
  await ensureFolder(system);
  const key = randomBytes(32).toString('hex');
  await writeDurably(at(system, keyFile), key, 0o600);
  return key;
});

/** Oldest first. A file that is none of ours, or half of one, is passed over. */
export async function versions(system: System): Promise<StoredVersion[]> {
  const names = await readdir(at(system, storeFolder)).catch(() => []);
  const numbers = names
    .flatMap((name) => (/^\d+\.json$/.test(name) ? [Number.parseInt(name, 10)] : []))
    .toSorted((a, b) => a - b);
  const found: StoredVersion[] = [];
  for (const number of numbers) {
    const one = parseVersion((await readIfThere(at(system, fileOf(number)))) ?? '');
    if (one?.version === number) found.push(one);
  }
  return found;
}

function parseVersion(text: string): StoredVersion | undefined {
  try {
    const { version, at: time, by, text: settings } = JSON.parse(text) as Partial<StoredVersion>;
    if (typeof version !== 'number' || typeof settings !== 'string') return undefined;
    return { version, at: String(time), by: String(by), text: settings };
  } catch {
    return undefined;
  }
}

/** The newest version that has this text. */
export function versionOf(all: readonly StoredVersion[], text: string): number {
  return all.findLast((one) => one.text === text)?.version ?? 0;
}

/** Keeps a text as the newest version, unless it is that already. @returns its number. */
export async function keepVersion(system: System, text: string, by: string): Promise<number> {
  const all = await versions(system);
  const newest = all.at(-1);
  if (newest?.text === text) return newest.version;
  const version = (newest?.version ?? 0) + 1;
  await ensureFolder(system);
  const stored: StoredVersion = { version, at: new Date().toISOString(), by, text };
  await writeDurably(at(system, fileOf(version)), `${JSON.stringify(stored)}\n`, 0o600);
  return version;
}

/** Removes the oldest ones. */
export async function forgetVersions(system: System): Promise<void> {
  const all = await versions(system);
  for (const { version } of all.slice(0, -keptVersions))
    await rm(at(system, fileOf(version)), { force: true });
}

/** A change that is not proven good: what returns otherwise. */
export type PendingChange = {
  /** Files as they were, by path on the device; null: not there. */
  files: Record<string, string | null>;
  areas: string[];
  /** Version that returns. */
  from: number;
  by: string;
  /** When it returns: seconds since boot, as a Pi's clock jumps when it finds the time. */
  until: number;
  /** The kernel's boot_id: in another boot `until` means nothing, and the change has failed. */
  boot: string;
  /** It has proven good, and waits for a confirmation alone. */
  proven: boolean;
};

export async function readPending(system: System): Promise<PendingChange | undefined> {
  const text = await readIfThere(at(system, pendingFile));
  // It is written durably: whole, or not there.
  return text === undefined ? undefined : (JSON.parse(text) as PendingChange);
}

export async function writePending(system: System, pending: PendingChange): Promise<void> {
  await ensureFolder(system);
  await writeDurably(at(system, pendingFile), `${JSON.stringify(pending)}\n`, 0o600);
}

/** Ends a change for good, one way or the other: a power cut from here on changes nothing more. */
export async function endPending(system: System): Promise<void> {
  await rm(at(system, pendingFile), { force: true });
  await syncDirectory(dirname(at(system, pendingFile)));
}
