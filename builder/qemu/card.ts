import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readDiskLayout } from '../base/disk-layout.ts';
import { run } from '../exec.ts';

/** Takes the card out of a VM that has ended, and gives its bytes to `work`: a sparse raw file. */
export async function withCard<T>(
  directory: string,
  work: (card: string) => Promise<T>,
): Promise<T> {
  const card = join(directory, 'card-out.img');
  const disk = join(directory, 'disk.qcow2');
  await run('qemu-img', ['convert', '-O', 'raw', disk, card]);
  try {
    return await work(card);
  } finally {
    await rm(card, { force: true });
  }
}

/**
 * Takes the boot partition alone out of a VM that has ended, in use or not: quicker than the whole card.
 */
export async function withBootPartition<T>(
  directory: string,
  work: (partition: string) => Promise<T>,
): Promise<T> {
  const { boot } = await readDiskLayout(join(directory, 'card.img'));
  const partition = join(directory, 'boot-out.img');
  // qemu-img dd counts in blocks: the largest that divides both.
  const block = [1024 * 1024, 4096, 512].find(
    (size) => boot.startBytes % size === 0 && boot.sizeBytes % size === 0,
  );
  await run('qemu-img', [
    ...['dd', '-f', 'qcow2', '-O', 'raw', `bs=${block}`],
    `skip=${boot.startBytes / (block ?? 1)}`,
    // It counts from the start of the disk, not from where it begins to read.
    `count=${(boot.startBytes + boot.sizeBytes) / (block ?? 1)}`,
    ...[`if=${join(directory, 'disk.qcow2')}`, `of=${partition}`],
  ]);
  try {
    return await work(partition);
  } finally {
    await rm(partition, { force: true });
  }
}

/** Writes files to the boot partition of a card, as its owner does on another computer. */
export async function changeBootPartition(
  directory: string,
  files: Record<string, string>,
): Promise<void> {
  await withCard(directory, async (card) => {
    const { boot } = await readDiskLayout(card);
    for (const [name, content] of Object.entries(files)) {
      const file = join(directory, 'files', name);
      await writeFile(file, content);
      await run('mcopy', ['-o', '-i', `${card}@@${boot.startBytes}`, file, `::${name}`]);
    }
    await run('qemu-img', ['convert', '-O', 'qcow2', card, join(directory, 'disk.qcow2')]);
  });
}
