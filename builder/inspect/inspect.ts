import { z } from 'zod';
import type { Partition } from '../base/disk-layout.ts';
import { megabytes, table } from '../ui/present.ts';
import { packagesOf } from './dpkg.ts';
import { byName, type FileSystem, readText } from './file-system.ts';
import { type OpenImage, withImage } from './open.ts';

export type PartitionFacts = {
  number: number;
  role: 'boot' | 'root';
  /** Bytes. */
  start: number;
  size: number;
  type: string;
  partUuid: string;
  fileSystem: { type: string; label: string; uuid: string; size: number; used: number };
  /** Files, links and directories. */
  entries: number;
};

export type ImageFacts = {
  image: string;
  /** Bytes of the raw image. */
  size: number;
  table: string;
  diskId: string;
  /** As /usr/lib/os-release says it; null if it does not. */
  os: string | null;
  /** What the builder wrote into the image; null for images of others. */
  build: { name: string; base: string; stages: string[] } | null;
  partitions: PartitionFacts[];
  /** Installed Debian packages: version by name. */
  packages: Record<string, string>;
  /** Directories of the root file system that hold the most, with all below them. */
  largest: { path: string; bytes: number }[];
};

/**
 * Tells what is in a disk image: .img, or compressed by xz, zstd, gzip or zip.
 * @throws BuildError with code `source` if it is no image of a Raspberry Pi-like system.
 */
export async function inspectImage(path: string): Promise<ImageFacts> {
  return await withImage(path, describeImage);
}

function describeImage(image: OpenImage): ImageFacts {
  const { layout, root, boot } = image;
  return {
    image: image.path,
    size: image.size,
    table: layout.table,
    diskId: layout.diskId,
    os: osName(root),
    build: buildFacts(root),
    partitions: [
      partitionFacts('boot', layout.boot, boot),
      partitionFacts('root', layout.root, root),
    ].sort((a, b) => a.start - b.start),
    packages: installedPackages(root),
    largest: largestDirectories(root),
  };
}

export function partitionFacts(
  role: 'boot' | 'root',
  partition: Partition,
  system: FileSystem,
): PartitionFacts {
  return {
    number: partition.number,
    role,
    start: partition.startBytes,
    size: partition.sizeBytes,
    type: partition.type,
    partUuid: partition.partUuid,
    fileSystem: {
      type: system.type,
      label: partition.label,
      uuid: partition.uuid,
      size: system.size,
      used: system.used,
    },
    entries: system.files.size,
  };
}

/** os-release(5). */
function osName(root: FileSystem): string | null {
  const text = readText(root, '/usr/lib/os-release') ?? readText(root, '/etc/os-release') ?? '';
  return /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(text)?.[1] ?? null;
}

/** What the builder leaves in /usr/share/pi-gateway/image.json. */
const imageJson = z.object({
  name: z.string(),
  base: z.object({ description: z.string() }),
  stages: z.array(z.string()),
});

function buildFacts(root: FileSystem): ImageFacts['build'] {
  const text = readText(root, '/usr/share/pi-gateway/image.json');
  if (text === undefined) return null;
  const { name, base, stages } = imageJson.parse(JSON.parse(text));
  return { name, base: base.description, stages };
}

export function installedPackages(root: FileSystem): Record<string, string> {
  return packagesOf(readText(root, '/var/lib/dpkg/status') ?? '');
}

/** A directory that holds little but one inner directory is not worth a line of its own. */
const dominated = 0.9;

function largestDirectories(root: FileSystem): ImageFacts['largest'] {
  const totals = new Map<string, number>();
  const parent = (path: string) => path.slice(0, path.lastIndexOf('/'));
  for (const [path, { kind, size }] of root.files) {
    if (kind !== 'file') continue;
    for (let up = parent(path); up; up = parent(up)) totals.set(up, (totals.get(up) ?? 0) + size);
  }
  const hollow = new Set<string>();
  for (const [path, bytes] of totals)
    if (bytes >= dominated * (totals.get(parent(path)) ?? Number.POSITIVE_INFINITY))
      hollow.add(parent(path));
  return [...totals]
    .filter(([path]) => !hollow.has(path))
    .map(([path, bytes]) => ({ path, bytes }))
    .sort((a, b) => b.bytes - a.bytes || byName(a.path, b.path))
    .slice(0, 10);
}

/** The facts for people. */
export function inspectText(facts: ImageFacts): string {
  const { build } = facts;
  const packages = Object.entries(facts.packages);
  return [
    `${facts.image}  ${megabytes(facts.size)}`,
    `System: ${facts.os ?? 'unknown'}`,
    ...(build
      ? [
          `Built as: ${build.name}, on ${build.base}`,
          `Stages: ${build.stages.join(', ') || 'none'}`,
        ]
      : []),
    '',
    `Partitions (${facts.table === 'gpt' ? 'GPT' : 'MBR'}, disk id ${facts.diskId})`,
    table([
      ['#', 'ROLE', 'START', 'SIZE', 'USED', 'FILE SYSTEM', 'LABEL', 'UUID', 'ENTRIES'],
      ...facts.partitions.map((partition) => [
        String(partition.number),
        partition.role,
        megabytes(partition.start),
        megabytes(partition.size),
        megabytes(partition.fileSystem.used),
        partition.fileSystem.type,
        partition.fileSystem.label,
        partition.fileSystem.uuid,
        String(partition.entries),
      ]),
    ]),
    '',
    'Largest directories of the root file system',
    table(facts.largest.map(({ path, bytes }) => [path, megabytes(bytes)])),
    '',
    `Packages (${packages.length})`,
    table(packages),
  ].join('\n');
}
