import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { diskUsage } from '../chroot/scratch.ts';
import { LayerStore } from './store.ts';

export type CacheEntry = {
  kind: 'layer' | 'tools' | 'base' | 'download' | 'packages';
  name: string;
  title: string;
  bytes: number;
  /** ISO time of the last use. */
  used: string;
};

const folders = { tools: 'tools', bases: 'base', downloads: 'download', apt: 'packages' } as const;

/** Everything that builds keep, the most recently used first. */
export async function listCache(cache: string): Promise<CacheEntry[]> {
  const layers = (await new LayerStore(cache).list()).map(
    (layer): CacheEntry => ({
      kind: 'layer',
      name: layer.name,
      title: layer.title,
      bytes: layer.bytes,
      used: layer.used.toISOString(),
    }),
  );
  const others: CacheEntry[] = [];
  for (const [folder, kind] of Object.entries(folders))
    for (const name of await readdir(join(cache, folder)).catch(() => [])) {
      const path = join(cache, folder, name);
      const facts = await stat(path);
      others.push({
        kind,
        name,
        title: `${folder}/${name}`,
        bytes: facts.isDirectory() ? await diskUsage(path) : facts.blocks * 512,
        used: facts.mtime.toISOString(),
      });
    }
  return [...layers, ...others].toSorted((a, b) => (a.used < b.used ? 1 : -1));
}

/** Removes what was last used more than `days` ago; returns what it removed. */
export async function pruneCache(cache: string, days: number): Promise<CacheEntry[]> {
  const limit = new Date(Date.now() - days * 86_400_000).toISOString();
  const stale = (await listCache(cache)).filter((entry) => entry.used <= limit);
  for (const entry of stale)
    await rm(
      join(
        cache,
        entry.kind === 'layer' ? 'layers' : '',
        entry.kind === 'layer' ? entry.name : entry.title,
      ),
      {
        recursive: true,
        force: true,
      },
    );
  return stale;
}
