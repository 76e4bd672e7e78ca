import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { BuildError, exitCode, messageOf } from '../errors.ts';
import { output, run } from '../exec.ts';

export type Partition = {
  number: number;
  startBytes: number;
  sizeBytes: number;
  partUuid: string | undefined;
  label: string;
  uuid: string;
};

/** A Raspberry Pi's disk: a FAT partition that the firmware reads, and an ext4 root. */
export type DiskLayout = {
  table: 'dos' | 'gpt';
  /** MBR: eight hex digits. GPT: a UUID. */
  diskId: string;
  boot: Partition;
  root: Partition;
};

const sfdiskJson = z.object({
  partitiontable: z.object({
    label: z.enum(['dos', 'gpt']),
    id: z.string(),
    sectorsize: z.number().default(512),
    partitions: z.array(
      z.object({
        node: z.string(),
        start: z.number(),
        size: z.number(),
        type: z.string(),
        uuid: z.string().optional(),
      }),
    ),
  }),
});

/**
 * Reads the image's partition table and finds the boot and the root partition by what is on them.
 * @throws BuildError that says what the image lacks.
 */
export async function readDiskLayout(image: string): Promise<DiskLayout> {
  const bad = (what: string, cause?: unknown) =>
    new BuildError({
      what,
      where: image,
      fix: 'Give an image of a Raspberry Pi system: MBR or GPT, a FAT boot partition and an ext4 root',
      code: exitCode.source,
      cause,
    });
  const { size } = await stat(image);
  const text = await run('sfdisk', ['--json', image]).catch((cause: unknown) => {
    throw bad(`The image has no partition table (${messageOf(cause)})`, cause);
  });
  const parsed = sfdiskJson.safeParse(JSON.parse(text.stdout));
  if (!parsed.success) throw bad('The image has neither an MBR nor a GPT partition table');
  const { label, id, sectorsize, partitions } = parsed.data.partitiontable;
  const found: (Partition & { type: string })[] = [];
  for (const [index, entry] of partitions.entries()) {
    const startBytes = entry.start * sectorsize;
    const sizeBytes = entry.size * sectorsize;
    if (startBytes + sizeBytes > size)
      throw bad(
        `The image is cut off: partition ${index + 1} ends ${startBytes + sizeBytes - size} bytes behind its end`,
      );
    const facts = await probe(image, startBytes, sizeBytes);
    found.push({
      number: Number(/(\d+)$/.exec(entry.node)?.[1] ?? index + 1),
      startBytes,
      sizeBytes,
      partUuid: entry.uuid,
      type: facts.get('TYPE') ?? '',
      label: facts.get('LABEL') ?? '',
      uuid: facts.get('UUID') ?? '',
    });
  }
  const boot = found.find((partition) => partition.type === 'vfat');
  const root = found.find((partition) => partition.type === 'ext4');
  if (!boot) throw bad('The image has no FAT partition to start from');
  if (!root) throw bad('The image has no ext4 root partition');
  if (root.startBytes < boot.startBytes)
    throw bad('The root partition lies before the boot partition');
  return { table: label, diskId: id.replace(/^0x/, ''), boot, root };
}

/** What blkid(8) finds at a place of the image. */
async function probe(image: string, offset: number, size: number): Promise<Map<string, string>> {
  const text = await output(
    'blkid',
    ['--probe', '--output', 'export', '--offset', String(offset), '--size', String(size), image],
    { okCodes: [2] }, // 2: nothing was found
  );
  return new Map(
    text
      .split('\n')
      .filter((line) => line.includes('='))
      .map((line) => {
        const [key = '', ...value] = line.split('=');
        return [key, value.join('=')] as const;
      }),
  );
}

/** Where the tree's fstab(5) mounts the boot partition: /boot since long, /boot/firmware since Debian 12. */
export async function bootMountPoint(tree: string): Promise<'/boot/firmware' | '/boot'> {
  const fstab = await readFile(join(tree, 'etc/fstab'), 'utf8').catch(() => '');
  const points = fstab
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .map((line) => line.split(/\s+/)[1]);
  return points.includes('/boot') && !points.includes('/boot/firmware')
    ? '/boot'
    : '/boot/firmware';
}
