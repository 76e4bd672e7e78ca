import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Base } from './base/base.ts';
import type { LayerName } from './layer/sharing.ts';
import type { LayerInputs } from './plan/plan.ts';

/** What the last build of this image left in the cache for the next one. */
export type BuildState = {
  /** What each layer was made from, to say why one must be made again. */
  inputs: Record<string, LayerInputs>;
  /** How long each step took, for the remaining time. */
  seconds: Record<string, number>;
  /** The base that was taken from the list, by the list, and where it came from. */
  base: { list: string; index: number; source: Base['source'] } | null;
  /** The image's layers that lie in the store, lowest first. */
  layers: readonly LayerName[];
};

const empty: BuildState = { inputs: {}, seconds: {}, base: null, layers: [] };

function statePath(cache: string, name: string): string {
  return join(cache, 'state', `${name}.json`);
}

export async function readState(cache: string, name: string): Promise<BuildState> {
  try {
    return { ...empty, ...JSON.parse(await readFile(statePath(cache, name), 'utf8')) };
  } catch {
    return empty; // a missing or broken state only costs reasons and estimates
  }
}

export async function writeState(cache: string, name: string, state: BuildState): Promise<void> {
  await replaceFile(statePath(cache, name), `${JSON.stringify(state, null, 2)}\n`);
}

function archivePath(cache: string): string {
  return join(cache, 'archive-state.json');
}

/**
 * Names the state of the package archives that the cache's layers were made at: one for all images, so
 * that they share what is the same in them. `--refresh` makes a new one; '' before the first.
 */
export async function readArchiveState(cache: string): Promise<string> {
  try {
    const { state } = JSON.parse(await readFile(archivePath(cache), 'utf8'));
    return typeof state === 'string' ? state : '';
  } catch {
    return ''; // as if nothing had ever been refreshed
  }
}

export async function writeArchiveState(cache: string, state: string): Promise<void> {
  await replaceFile(archivePath(cache), `${JSON.stringify({ state }, null, 2)}\n`);
}

/** Writes a file so that its name always stands for a whole one. */
export async function replaceFile(path: string, content: string | Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  await writeFile(temporary, content, { flush: true });
  await rename(temporary, path);
}
