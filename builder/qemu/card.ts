import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readDiskLayout } from '../base/disk-layout.ts';
import { output, run } from '../exec.ts';

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

/** Names of the files at the top of the boot partition. */
export async function bootPartitionFiles(card: string): Promise<string[]> {
  const { boot } = await readDiskLayout(card);
  const listing = await output('mdir', ['-b', '-i', `${card}@@${boot.startBytes}`, '::']);
  return listing
    .split('\n')
    .filter((line) => line !== '' && !line.endsWith('/'))
    .map((line) => line.replace(/^::\//, ''));
}
