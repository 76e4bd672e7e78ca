import { stat } from 'node:fs/promises';
import { output } from '../exec.ts';
import { megabytes, table } from '../ui/present.ts';
import { catalog, packagesOf, readRootFile, rootDevice, withImage } from './image.ts';

export type PartitionFacts = {
  name: 'boot' | 'root';
  type: string;
  label: string;
  uuid: string;
  start: number;
  size: number;
  used: number;
};

export type ImageFacts = {
  image: string;
  /** Bytes of the file. */
  size: number;
  table: 'dos' | 'gpt';
  disk_id: string;
  partitions: PartitionFacts[];
  os: string;
  /** What pi-gateway-image wrote into it, if it made it. */
  gateway: { stages?: string[] } | null;
  packages: Record<string, string>;
  /** Bytes of the largest directories. */
  directories: Record<string, number>;
};

/** Reads what an image holds. Works on any Raspberry Pi-like image; needs no root. */
export async function inspectImage(path: string): Promise<ImageFacts> {
  return await withImage(path, async (image) => {
    const { layout } = image;
    const status = (await readRootFile(image, '/var/lib/dpkg/status')) ?? '';
    const release = (await readRootFile(image, '/usr/lib/os-release')) ?? '';
    const made = await readRootFile(image, '/usr/share/pi-gateway/image.json');
    const partition = (name: 'boot' | 'root', used: number): PartitionFacts => ({
      name,
      type: name === 'boot' ? 'vfat' : 'ext4',
      label: layout[name].label,
      uuid: layout[name].uuid,
      start: layout[name].startBytes,
      size: layout[name].sizeBytes,
      used,
    });
    return {
      image: path,
      size: (await stat(path)).size,
      table: layout.table,
      disk_id: layout.diskId,
      partitions: [
        partition('boot', await bootUsage(`${image.raw}@@${layout.boot.startBytes}`)),
        partition('root', await rootUsage(rootDevice(image))),
      ],
      os: /^PRETTY_NAME="(.*)"$/m.exec(release)?.[1] ?? 'unknown',
      gateway: made === undefined ? null : (JSON.parse(made) as { stages?: string[] }),
      packages: packagesOf(status),
      directories: largest(await catalog(image)),
    };
  });
}

async function rootUsage(device: string): Promise<number> {
  const facts = await output('debugfs', ['-R', 'stats -h', device]);
  const number = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+)$`, 'm').exec(facts)?.[1] ?? 0);
  return (number('Block count') - number('Free blocks')) * number('Block size');
}

/** mdir's last line tells the bytes that are free; minfo the sectors in all. */
async function bootUsage(partition: string): Promise<number> {
  const listing = await output('mdir', ['-i', partition, '::/']);
  const free = Number(/([\d ]+) bytes free/.exec(listing)?.[1]?.replaceAll(' ', '') ?? 0);
  const info = await output('minfo', ['-i', partition]);
  const sectors = Number(
    /^big size: (\d+) sectors/m.exec(info)?.[1] ?? /^small size: (\d+)/m.exec(info)?.[1] ?? 0,
  );
  return Math.max(0, sectors * 512 - free);
}

/** The ten largest directories of depth two: /usr/lib, /var/lib. */
function largest(
  files: ReadonlyMap<string, { size: number; mode: number }>,
): Record<string, number> {
  const sums = new Map<string, number>();
  for (const [path, { size, mode }] of files) {
    if ((mode & 0o170000) !== 0o100000) continue;
    const [, first = '', second = '', ...deeper] = path.split('/');
    const directory = deeper.length > 0 ? `/${first}/${second}` : `/${first}`;
    sums.set(directory, (sums.get(directory) ?? 0) + size);
  }
  const ranked = [...sums].toSorted((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  return Object.fromEntries(ranked.slice(0, 10));
}

export function inspectText(facts: ImageFacts): string {
  return [
    `${facts.image}: ${megabytes(facts.size)}`,
    `System: ${facts.os}, ${Object.keys(facts.packages).length} packages`,
    `Stages: ${facts.gateway?.stages?.join(', ') ?? 'none (not made by pi-gateway-image)'}`,
    '',
    table([
      [`${facts.table} ${facts.disk_id}`, 'TYPE', 'LABEL', 'START', 'SIZE', 'USED', 'UUID'],
      ...facts.partitions.map((p) => [
        p.name,
        p.type,
        p.label,
        megabytes(p.start),
        megabytes(p.size),
        megabytes(p.used),
        p.uuid,
      ]),
    ]),
    '',
    table(Object.entries(facts.directories).map(([path, bytes]) => [path, megabytes(bytes)])),
  ].join('\n');
}
