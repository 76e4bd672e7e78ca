import { megabytes, table } from '../ui/present.ts';
import { byName, type FileEntry, type FileSystem } from './file-system.ts';
import { installedPackages, type PartitionFacts, partitionFacts } from './inspect.ts';
import { type OpenImage, withImage } from './open.ts';

/** What may differ in a file that both images have. */
export type Difference = 'kind' | 'content' | 'mode' | 'owner' | 'target';

export type FileChange = {
  path: string;
  what: Difference[];
  /** Bytes in the first and the second image. */
  before: number;
  after: number;
};

export type ImageDiff = {
  a: string;
  b: string;
  packages: {
    added: { name: string; version: string }[];
    removed: { name: string; version: string }[];
    changed: { name: string; before: string; after: string }[];
  };
  /** Of the root file system by path; of the boot partition as `boot:/path`. Dates don't count. */
  files: {
    added: { path: string; size: number }[];
    removed: { path: string; size: number }[];
    changed: FileChange[];
  };
  /** Partitions whose place, size or file system differ. */
  partitions: { role: 'boot' | 'root'; before: PartitionFacts; after: PartitionFacts }[];
  /** Bytes of the raw images. */
  size: { before: number; after: number };
};

/** Compares two disk images: packages, files with what differs in them, partitions. */
export async function diffImages(a: string, b: string): Promise<ImageDiff> {
  return await withImage(a, (before) => withImage(b, (after) => imageDiff(before, after)));
}

/** Compares two images that are open. */
export function imageDiff(before: OpenImage, after: OpenImage): ImageDiff {
  const files: ImageDiff['files'] = { added: [], removed: [], changed: [] };
  compareFiles(before.root, after.root, '', files);
  compareFiles(before.boot, after.boot, 'boot:', files);
  return {
    a: before.path,
    b: after.path,
    packages: comparePackages(installedPackages(before.root), installedPackages(after.root)),
    files,
    partitions: comparePartitions(before, after),
    size: { before: before.size, after: after.size },
  };
}

function comparePackages(
  before: Record<string, string>,
  after: Record<string, string>,
): ImageDiff['packages'] {
  const result: ImageDiff['packages'] = { added: [], removed: [], changed: [] };
  for (const name of [...new Set([...Object.keys(before), ...Object.keys(after)])].sort(byName)) {
    const [old, version] = [before[name], after[name]];
    if (old === undefined && version !== undefined) result.added.push({ name, version });
    else if (old !== undefined && version === undefined)
      result.removed.push({ name, version: old });
    else if (old !== undefined && version !== undefined && old !== version)
      result.changed.push({ name, before: old, after: version });
  }
  return result;
}

function compareFiles(
  before: FileSystem,
  after: FileSystem,
  prefix: string,
  into: ImageDiff['files'],
): void {
  for (const [path, old] of before.files) {
    const entry = after.files.get(path);
    if (!entry) {
      into.removed.push({ path: prefix + path, size: old.size });
      continue;
    }
    const what = differences(old, entry, () => sameContent(before, after, path));
    if (what.length > 0)
      into.changed.push({ path: prefix + path, what, before: old.size, after: entry.size });
  }
  for (const [path, { size }] of after.files)
    if (!before.files.has(path)) into.added.push({ path: prefix + path, size });
}

function differences(a: FileEntry, b: FileEntry, sameContent: () => boolean): Difference[] {
  if (a.kind !== b.kind) return ['kind'];
  const what: Difference[] = [];
  if (a.kind === 'file' && (a.size !== b.size || !sameContent())) what.push('content');
  if (a.target !== b.target) what.push('target');
  if (a.mode !== b.mode) what.push('mode');
  if (a.uid !== b.uid || a.gid !== b.gid) what.push('owner');
  return what;
}

/** Compares two files of the same size without having either in memory as a whole. */
function sameContent(a: FileSystem, b: FileSystem, path: string): boolean {
  const others = b.content(path)[Symbol.iterator]();
  let rest = Buffer.alloc(0);
  for (let piece of a.content(path))
    while (piece.length > 0) {
      // Pieces end where extents do, which need not be at the same place in both.
      if (rest.length === 0) rest = Buffer.from(others.next().value ?? []);
      const length = Math.min(piece.length, rest.length);
      if (length === 0 || !piece.subarray(0, length).equals(rest.subarray(0, length))) return false;
      piece = piece.subarray(length);
      rest = rest.subarray(length);
    }
  return true;
}

function comparePartitions(before: OpenImage, after: OpenImage): ImageDiff['partitions'] {
  const result: ImageDiff['partitions'] = [];
  for (const role of ['boot', 'root'] as const) {
    const old = partitionFacts(role, before.layout[role], before[role]);
    const now = partitionFacts(role, after.layout[role], after[role]);
    if (JSON.stringify(old) !== JSON.stringify(now)) result.push({ role, before: old, after: now });
  }
  return result;
}

/** The differences for people. */
export function diffText(diff: ImageDiff): string {
  const { packages, files } = diff;
  const rows: string[][] = [
    ...packages.added.map(({ name, version }) => ['+', name, version]),
    ...packages.removed.map(({ name, version }) => ['-', name, version]),
    ...packages.changed.map(({ name, before, after }) => ['~', name, `${before} → ${after}`]),
  ];
  const changes: string[][] = [
    ...files.added.map(({ path, size }) => ['+', path, `${size} bytes`]),
    ...files.removed.map(({ path, size }) => ['-', path, `${size} bytes`]),
    ...files.changed.map(({ path, what, before, after }) => [
      '~',
      path,
      before === after ? what.join(', ') : `${what.join(', ')}: ${before} → ${after} bytes`,
    ]),
  ];
  const partitions = diff.partitions.map(({ role, before, after }) => [
    '~',
    role,
    partitionChange(before, after),
  ]);
  if (diff.size.before !== diff.size.after)
    partitions.push([
      '~',
      'image',
      `${megabytes(diff.size.before)} → ${megabytes(diff.size.after)}`,
    ]);
  const section = (title: string, lines: string[][]) =>
    lines.length > 0 ? [`${title} (${lines.length})\n${table(lines)}`] : [];
  return (
    [
      ...section('Partitions', partitions),
      ...section('Packages', rows),
      ...section('Files', changes),
    ].join('\n\n') || 'The images hold the same.'
  );
}

function partitionChange(a: PartitionFacts, b: PartitionFacts): string {
  const facts = (one: PartitionFacts): Record<string, string> => ({
    start: megabytes(one.start),
    size: megabytes(one.size),
    used: megabytes(one.fileSystem.used),
    entries: String(one.entries),
    number: String(one.number),
    type: one.type,
    label: one.fileSystem.label,
    UUID: one.fileSystem.uuid,
    PARTUUID: one.partUuid,
  });
  const [old, now] = [facts(a), facts(b)];
  const changed = Object.keys(old).filter((key) => old[key] !== now[key]);
  if (changed.length === 0) return 'less than 0.1 MB';
  return changed.map((key) => `${key} ${old[key]} → ${now[key]}`).join(', ');
}
