import { createHash } from 'node:crypto';
import { lstat, readdir, readFile, readlink, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import {
  at,
  linkDurably,
  readIfThere,
  type System,
  syncDirectory,
  syncFile,
  writeDurably,
} from '../../../firstboot/system.ts';
import { type Manifest, manifest } from './release.ts';
import { runtimeResult } from './view.ts';

/** Where runtimes lie that came after the image's; `current` leads to the one that runs, if it is none of the image's. */
export const runtimeFolder = '/var/lib/pi-gateway/runtime';
const currentLink = `${runtimeFolder}/current`;
export const installedDashboard = `${currentLink}/dashboard`;
const pendingFile = `${runtimeFolder}/pending.json`;
const stateFile = `${runtimeFolder}/state.json`;

/** While a new runtime is on trial: what returns unless it is found well. null: the image's own. */
const pending = z.object({ from: z.string().nullable(), to: z.string(), started_at: z.string() });
export type Pending = z.output<typeof pending>;

const state = z.object({
  /** The newest index that was ever taken. */
  seen: z.object({ serial: z.number(), issued_at: z.string() }).optional(),
  checked_at: z.string().nullable().default(null),
  /** What the last look has found. */
  available: z.string().nullable().default(null),
  problem: z.string().nullable().default(null),
  /** Which was there before the current one; null: the image's. */
  previous: z.string().nullable().default(null),
  /** Digests of bundles that were undone: they are not taken again by themselves. */
  undone: z.array(z.string()).default([]),
  last: runtimeResult.nullable().default(null),
});
export type RuntimeState = z.output<typeof state>;

export async function readState(system: System): Promise<RuntimeState> {
  const text = await readIfThere(at(system, stateFile));
  try {
    return state.parse(JSON.parse(text ?? '{}'));
  } catch {
    // Nobody must stumble over what another version has written. What was seen is lost with it, so that
    // only the version and the date guard against old lists.
    return state.parse({});
  }
}

export async function changeState(
  system: System,
  change: Partial<RuntimeState>,
): Promise<RuntimeState> {
  const now = { ...(await readState(system)), ...change };
  await writeDurably(at(system, stateFile), `${JSON.stringify(now)}\n`);
  return now;
}

/** The runtime that was installed and runs; null: the image's own. */
export async function currentRuntime(system: System): Promise<string | null> {
  return await readlink(at(system, currentLink)).catch(() => null);
}

/** Lets a runtime be the one that starts next: one rename, so that there is always one or the other. */
export async function switchTo(system: System, version: string | null): Promise<void> {
  if (version !== null) return await linkDurably(version, at(system, currentLink));
  await rm(at(system, currentLink), { force: true });
  await syncDirectory(at(system, runtimeFolder));
}

export async function readPending(system: System): Promise<Pending | undefined> {
  const text = await readIfThere(at(system, pendingFile));
  return text === undefined ? undefined : pending.parse(JSON.parse(text));
}

export async function begin(system: System, one: Pending): Promise<void> {
  await writeDurably(at(system, pendingFile), `${JSON.stringify(one)}\n`);
}

export async function settle(system: System): Promise<void> {
  await rm(at(system, pendingFile), { force: true });
  await syncDirectory(at(system, runtimeFolder));
}

/** Name of the folder that is being filled; it becomes a runtime by its rename. */
export const unpacked = `${runtimeFolder}/.unpacked`;
export const downloaded = `${runtimeFolder}/.bundle`;

export async function sweep(system: System): Promise<void> {
  for (const path of [unpacked, downloaded])
    await rm(at(system, path), { recursive: true, force: true });
}

/** Removes runtimes that are neither of these. */
export async function prune(system: System, keep: readonly (string | null)[]): Promise<void> {
  for (const name of await readdir(at(system, runtimeFolder)).catch(() => []))
    if (/^\d+\.\d+\.\d+$/.test(name) && !keep.includes(name))
      await rm(at(system, `${runtimeFolder}/${name}`), { recursive: true, force: true });
}

/**
 * Looks through an unpacked runtime: every file is as its manifest says, and there is nothing else.
 * @throws Error that says what is wrong.
 */
export async function examine(folder: string): Promise<Manifest> {
  const found = manifest.parse(JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8')));
  const left = new Set(Object.keys(found.files));
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const name = path.slice(folder.length + 1);
    if (entry.isDirectory() || name === 'manifest.json') continue;
    if (!entry.isFile() || !left.delete(name)) throw new Error(`${name} is not in the manifest`);
    const digest = createHash('sha256')
      .update(await readFile(path))
      .digest('hex');
    if (digest !== found.files[name]) throw new Error(`${name} is not what the manifest says`);
  }
  const [missing] = left;
  if (missing !== undefined) throw new Error(`${missing} is missing`);
  return found;
}

/** On the card as a whole before it has its name. */
export async function install(system: System, version: string): Promise<void> {
  const folder = at(system, unpacked);
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isDirectory()) await syncDirectory(path);
    else await syncFile(path);
  }
  await syncDirectory(folder);
  const final = at(system, `${runtimeFolder}/${version}`);
  await rm(final, { recursive: true, force: true });
  await rename(folder, final);
  await syncDirectory(at(system, runtimeFolder));
}

export async function isInstalled(system: System, version: string): Promise<boolean> {
  return (
    (await lstat(at(system, `${runtimeFolder}/${version}`)).catch(() => undefined)) !== undefined
  );
}
