import { lstat, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { BuildError, exitCode, isErrno } from '../errors.ts';
import { run } from '../exec.ts';

export type Partition = {
  /** From 1, as in /dev/mmcblk0p1. */
  number: number;
  startBytes: number;
  sizeBytes: number;
  /** MBR: a hex number (`c`, `83`); GPT: a UUID. */
  type: string;
  /** As in root=PARTUUID=…: lower case. */
  partUuid: string;
  /** As blkid calls it: `vfat`, `ext4`. Empty if it is none that it knows. */
  fileSystem: string;
  label: string;
  /** The file system's. FAT: `1234-ABCD`; ext4: a UUID. */
  uuid: string;
};

export type DiskLayout = {
  table: 'dos' | 'gpt';
  /** MBR: eight hex digits; GPT: a UUID. Lower case. */
  diskId: string;
  sectorSize: number;
  /** The first FAT partition. */
  boot: Partition;
  /** The first ext4 partition. */
  root: Partition;
  /** What someone may want to know: that there were other candidates. */
  notes: string[];
};

/** `sfdisk --json`; sizes in sectors. */
const tableSchema = z.object({
  partitiontable: z.object({
    label: z.string(),
    id: z.string(),
    sectorsize: z.number().int().positive().default(512),
    partitions: z
      .array(
        z.object({
          node: z.string(),
          start: z.number(),
          size: z.number(),
          type: z.string(),
          uuid: z.string().optional(),
        }),
      )
      .default([]),
  }),
});

type Table = z.output<typeof tableSchema>['partitiontable'];

/**
 * Finds boot (FAT) and root (ext4) partition of a raw image by what they hold, not by number or
 * type. Reads only; needs no loop device and no root.
 * @throws BuildError with code `source` that says which of them is missing or cut off.
 */
export async function readDiskLayout(image: string): Promise<DiskLayout> {
  const table = await readTable(image);
  const { size } = await stat(image);
  const partitions: Partition[] = [];
  for (const entry of table.partitions) {
    const number = Number(/(\d+)$/.exec(entry.node)?.[1]);
    const startBytes = entry.start * table.sectorsize;
    const sizeBytes = entry.size * table.sectorsize;
    if (startBytes + sizeBytes > size)
      throw unusable(
        image,
        `The image is cut short: partition ${number} ends at byte ${startBytes + sizeBytes}, the file has ${size}`,
        'Get the image again, and check its size and SHA-256',
      );
    partitions.push({
      number,
      startBytes,
      sizeBytes,
      type: entry.type.toLowerCase(),
      partUuid: partUuid(table, entry.uuid, number),
      ...(await probe(image, startBytes, sizeBytes)),
    });
  }
  const notes: string[] = [];
  return {
    table: table.label === 'gpt' ? 'gpt' : 'dos',
    diskId: table.id.toLowerCase().replace(/^0x/, ''),
    sectorSize: table.sectorsize,
    boot: pick(image, partitions, 'vfat', notes),
    root: pick(image, partitions, 'ext4', notes),
    notes,
  };
}

async function readTable(image: string): Promise<Table> {
  const { stdout, exitCode: code } = await run('sfdisk', ['--json', image], { okCodes: [1] });
  const table = code === 0 ? tableSchema.parse(JSON.parse(stdout)).partitiontable : undefined;
  // A file system alone may look like an MBR: both end their first sector with 55 aa.
  if (!table || table.partitions.length === 0) {
    const { fileSystem } = await probe(image, 0, (await stat(image)).size);
    throw unusable(
      image,
      `The image has no partition table${fileSystem ? `: it is a bare ${fileSystem} file system` : ''}`,
      'Give the image of a whole SD card: MBR or GPT, with a FAT boot and an ext4 root partition',
    );
  }
  // The MBR that protects a GPT is all that is left to see (UEFI 2.10 §5.2.3).
  if (table.label === 'dos' && table.partitions.some((entry) => entry.type === 'ee'))
    throw unusable(
      image,
      'The GPT of the image is damaged or cut off',
      'Get the image again, and check its size and SHA-256',
    );
  if (table.label !== 'dos' && table.label !== 'gpt')
    throw unusable(
      image,
      `The image has a partition table of type ${table.label}`,
      'Give an image with MBR or GPT: a Raspberry Pi starts from these only',
    );
  return table;
}

/** The kernel's PARTUUID of an MBR partition is made of disk id and number. */
function partUuid(table: Table, uuid: string | undefined, number: number): string {
  const id = table.id.toLowerCase().replace(/^0x/, '');
  return uuid?.toLowerCase() ?? `${id}-${String(number).padStart(2, '0')}`;
}

/** What blkid(8) finds in a part of the file; exit code 2 says nothing, 8 more than one thing. */
async function probe(
  image: string,
  offset: number,
  size: number,
): Promise<Pick<Partition, 'fileSystem' | 'label' | 'uuid'>> {
  const { stdout } = await run(
    'blkid',
    ['-p', '-o', 'export', '--offset', String(offset), '--size', String(size), image],
    { okCodes: [2, 8] },
  );
  const values = new Map(
    stdout.split('\n').map((line) => {
      const at = line.indexOf('=');
      // blkid escapes with backslashes what a shell would take apart.
      return [line.slice(0, at), line.slice(at + 1).replaceAll(/\\(.)/g, '$1')] as const;
    }),
  );
  return {
    fileSystem: values.get('TYPE') ?? '',
    label: values.get('LABEL') ?? '',
    uuid: values.get('UUID') ?? '',
  };
}

const roles = {
  vfat: { name: 'FAT', role: 'boot' },
  ext4: { name: 'ext4', role: 'root' },
} as const;

function pick(
  image: string,
  partitions: readonly Partition[],
  fileSystem: keyof typeof roles,
  notes: string[],
): Partition {
  const { name, role } = roles[fileSystem];
  const [first, ...others] = partitions.filter((partition) => partition.fileSystem === fileSystem);
  if (!first)
    throw unusable(
      image,
      `The image has no ${name} partition to be its ${role} partition. It has: ${partitions
        .map((partition) => `${partition.number} ${partition.fileSystem || 'unknown'}`)
        .join(', ')}`,
      'Give the image of a system for Raspberry Pi: a FAT boot and an ext4 root partition',
    );
  if (others.length > 0)
    notes.push(
      `The image has ${others.length + 1} ${name} partitions (${[first, ...others]
        .map(describe)
        .join(', ')}); ${first.number} is taken as the ${role} partition`,
    );
  return first;
}

function describe(partition: Partition): string {
  return partition.label ? `${partition.number} '${partition.label}'` : `${partition.number}`;
}

function unusable(where: string, what: string, fix: string): BuildError {
  return new BuildError({ what, where, fix, code: exitCode.source });
}

/**
 * Where a system mounts its boot partition, by its fstab(5): `/boot/firmware` since Raspberry Pi OS
 * bookworm, `/boot` before.
 * @throws BuildError with code `source` if fstab names neither.
 */
export async function bootMountPoint(rootTree: string): Promise<'/boot/firmware' | '/boot'> {
  const path = join(rootTree, 'etc/fstab');
  const problem = (what: string) =>
    unusable(path, what, 'Give the image of a system that mounts its FAT partition there');
  const kind = await lstat(path).catch((error: unknown) => {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  });
  // A link could lead out of the tree, to the fstab of this machine.
  if (!kind?.isFile()) throw problem('The image has no /etc/fstab');
  const mounted = (await readFile(path, 'utf8'))
    .split('\n')
    .filter((line) => !line.trimStart().startsWith('#'))
    .map((line) =>
      line
        .trim()
        .split(/\s+/)[1]
        ?.replace(/(.)\/$/, '$1'),
    );
  for (const point of ['/boot/firmware', '/boot'] as const)
    if (mounted.includes(point)) return point;
  throw problem('The fstab of the image mounts nothing on /boot/firmware or /boot');
}
