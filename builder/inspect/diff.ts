import { lstat, mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { megabytes } from '../ui/present.ts';
import {
  type CatalogEntry,
  catalog,
  extract,
  type OpenImage,
  packagesOf,
  readRootFile,
  withImage,
} from './image.ts';

export type FileChange = { path: string; change: string; before: number; after: number };

export type ImageDiff = {
  packages: {
    added: Record<string, string>;
    removed: Record<string, string>;
    changed: Record<string, [string, string]>;
  };
  files: FileChange[];
  /** Bytes of partitions that changed, by name. */
  sizes: Record<string, [number, number]>;
};

/** Compares two images by packages, by every file of both partitions, and by size. */
export async function diffImages(a: string, b: string): Promise<ImageDiff> {
  return await withImage(a, (first) =>
    withImage(b, async (second) => {
      const [left, right] = [join(first.scratch, 'a'), join(second.scratch, 'b')];
      for (const [image, folder] of [
        [first, left],
        [second, right],
      ] as const) {
        await mkdir(folder);
        await extract(image, folder);
      }
      const root = await compareFiles(
        '',
        [await catalog(first), join(left, 'rootfs')],
        [await catalog(second), join(right, 'rootfs')],
      );
      const boot = await compareFiles(
        'bootfs:',
        [await bootCatalog(join(left, 'bootfs')), join(left, 'bootfs')],
        [await bootCatalog(join(right, 'bootfs')), join(right, 'bootfs')],
      );
      return {
        packages: await comparePackages(first, second),
        files: [...root, ...boot],
        sizes: compareSizes(first, second),
      };
    }),
  );
}

async function comparePackages(a: OpenImage, b: OpenImage): Promise<ImageDiff['packages']> {
  const read = async (image: OpenImage) =>
    packagesOf((await readRootFile(image, '/var/lib/dpkg/status')) ?? '');
  const [before, after] = [await read(a), await read(b)];
  const only = (from: Record<string, string>, other: Record<string, string>) =>
    Object.fromEntries(
      Object.entries(from)
        .filter(([name]) => !(name in other))
        .toSorted(),
    );
  return {
    added: only(after, before),
    removed: only(before, after),
    changed: Object.fromEntries(
      Object.entries(before)
        .filter(([name, version]) => name in after && after[name] !== version)
        .toSorted()
        .map(([name, version]) => [name, [version, after[name] ?? '']]),
    ),
  };
}

type Side = readonly [ReadonlyMap<string, CatalogEntry>, string];

async function compareFiles(prefix: string, a: Side, b: Side): Promise<FileChange[]> {
  const changes: FileChange[] = [];
  for (const path of [...new Set([...a[0].keys(), ...b[0].keys()])].toSorted()) {
    const [before, after] = [a[0].get(path), b[0].get(path)];
    let change: string | undefined;
    if (!before) change = 'added';
    else if (!after) change = 'removed';
    else change = await howChanged(before, after, join(a[1], path), join(b[1], path));
    if (change)
      changes.push({
        path: prefix + path,
        change,
        before: before?.size ?? 0,
        after: after?.size ?? 0,
      });
  }
  return changes;
}

/** In words what differs: type, mode, owner, content. Undefined if nothing does. */
async function howChanged(
  before: CatalogEntry,
  after: CatalogEntry,
  left: string,
  right: string,
): Promise<string | undefined> {
  const kind = before.mode & 0o170000;
  if (kind !== (after.mode & 0o170000)) return 'type';
  const changed: string[] = [];
  if (before.mode !== after.mode) changed.push('mode');
  if (before.uid !== after.uid || before.gid !== after.gid) changed.push('owner');
  const same = async () => (await readFile(left)).equals(await readFile(right));
  if (kind === 0o100000 && (before.size !== after.size || !(await same()))) changed.push('content');
  if (kind === 0o120000 && before.size !== after.size) changed.push('target');
  return changed.length > 0 ? changed.join(', ') : undefined;
}

async function bootCatalog(folder: string): Promise<Map<string, CatalogEntry>> {
  const found = new Map<string, CatalogEntry>();
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const directory = entry.isDirectory();
    const size = directory ? 0 : (await lstat(path)).size;
    found.set(path.slice(folder.length), {
      mode: directory ? 0o040755 : 0o100644,
      uid: 0,
      gid: 0,
      size,
    });
  }
  return found;
}

function compareSizes(a: OpenImage, b: OpenImage): Record<string, [number, number]> {
  const parts = (['boot', 'root'] as const).map((name): [string, [number, number]] => [
    name,
    [a.layout[name].sizeBytes, b.layout[name].sizeBytes],
  ]);
  return Object.fromEntries(parts.filter(([, [before, after]]) => before !== after));
}

export function diffText(diff: ImageDiff): string {
  const { added, removed, changed } = diff.packages;
  const lines = [
    ...Object.entries(added).map(([name, version]) => `package + ${name} ${version}`),
    ...Object.entries(removed).map(([name, version]) => `package - ${name} ${version}`),
    ...Object.entries(changed).map(([name, [from, to]]) => `package ~ ${name} ${from} → ${to}`),
    ...diff.files.map(fileLine),
    ...Object.entries(diff.sizes).map(
      ([name, [before, after]]) => `${name}: ${megabytes(before)} → ${megabytes(after)}`,
    ),
  ];
  return lines.length > 0 ? lines.join('\n') : 'No difference';
}

function fileLine({ path, change, before, after }: FileChange): string {
  const sign = change === 'added' ? '+' : change === 'removed' ? '-' : '~';
  const growth = after - before;
  const bytes = growth === 0 ? '' : ` ${growth > 0 ? '+' : ''}${growth} bytes`;
  return `file ${sign} ${path}${sign === '~' ? ` (${change})` : ''}${bytes}`;
}
