import { readdir, readFile, realpath } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Step } from '../step.ts';
import { at, type System } from '../system.ts';

/** Bytes at the end of a disk that are not worth a change of the partition table. */
const negligible = 8 * 1024 * 1024;

type RootPartition = { disk: string; number: number; device: string };

/**
 * Grows rootfs to the end of the card: partition by sfdisk(8), which keeps the disk identifier and so
 * every PARTUUID, then the mounted file system by resize2fs(8).
 */
export const growRootfs: Step = {
  name: 'grow-rootfs',
  check: async (system) => {
    const root = await findRoot(system);
    if (!root) return true; // an image started on something that has no partitions: nothing to grow
    return (await freeBehind(system, root)) < negligible && (await isFilled(system, root));
  },
  apply: async (system) => {
    const root = await findRoot(system);
    if (!root) return;
    if ((await freeBehind(system, root)) >= negligible) await growPartition(system, root);
    await system.run('resize2fs', [root.device]);
  },
};

/** Rewrites one entry of the table in place; the kernel learns it by partx(8), as the disk is in use. */
export async function growPartition(
  system: Pick<System, 'run'>,
  root: RootPartition,
): Promise<void> {
  const table = await system.run('sfdisk', ['--dump', root.disk]);
  if (/^label: gpt$/m.test(table))
    await system.run('sfdisk', ['--relocate', 'gpt-bak-std', root.disk]);
  await system.run(
    'sfdisk',
    ['--no-reread', '--no-tell-kernel', '--force', '-N', String(root.number), root.disk],
    {
      input: ', +\n',
    },
  );
  await system.run('partx', ['--update', '--nr', String(root.number), root.disk]);
}

/** The partition that / is on, by sysfs: mmcblk0p2, vda2, sda2, nvme0n1p2 alike. */
async function findRoot(system: System): Promise<RootPartition | undefined> {
  const mounts = await readFile(at(system, '/proc/self/mountinfo'), 'utf8');
  const number = mounts
    .split('\n')
    .map((line) => line.split(' '))
    .find((fields) => fields[4] === '/')?.[2];
  if (!number) return undefined;
  const sysfs = await realpath(at(system, `/sys/dev/block/${number}`)).catch(() => undefined);
  if (!sysfs) return undefined;
  const partition = await readFile(join(sysfs, 'partition'), 'utf8').catch(() => undefined);
  if (!partition) return undefined;
  return {
    disk: `/dev/${basename(join(sysfs, '..'))}`,
    device: `/dev/${basename(sysfs)}`,
    number: Number(partition),
  };
}

/** Bytes behind the partition; 0 if another one follows. */
async function freeBehind(system: System, root: RootPartition): Promise<number> {
  const block = at(system, `/sys/class/block/${basename(root.disk)}`);
  const sectors = async (path: string) => Number(await readFile(join(block, path), 'utf8'));
  const name = basename(root.device);
  const start = await sectors(`${name}/start`);
  const others = (await readdir(block)).filter(
    (entry) => entry.startsWith(basename(root.disk)) && entry !== name,
  );
  for (const other of others) if ((await sectors(`${other}/start`)) > start) return 0;
  return ((await sectors('size')) - start - (await sectors(`${name}/size`))) * 512;
}

/** True if the file system has the partition's size, but for what mke2fs rounds away. */
async function isFilled(system: System, root: RootPartition): Promise<boolean> {
  const facts = await system.run('dumpe2fs', ['-h', root.device]);
  const count = Number(/^Block count:\s+(\d+)$/m.exec(facts)?.[1]);
  const size = Number(/^Block size:\s+(\d+)$/m.exec(facts)?.[1]);
  const block = at(system, `/sys/class/block/${basename(root.disk)}/${basename(root.device)}`);
  const partition = Number(await readFile(join(block, 'size'), 'utf8')) * 512;
  return partition - count * size < negligible;
}
