import { copyFile, mkdir, mkdtemp, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type DiskLayout, readDiskLayout } from '../base/disk-layout.ts';
import { makePiImage } from '../base/fixture.ts';
import { run } from '../exec.ts';
import { diffImages } from '../inspect/diff.ts';
import { writeBmap } from './bmap.ts';

const block = 4096;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bmap-'));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

const kinds = [
  { name: 'mbr-fat32', table: 'dos', bootSize: 40 * 1024 * 1024 },
  { name: 'gpt-fat16', table: 'gpt', bootSize: 16 * 1024 * 1024 },
] as const;

async function makeImage({ name, table, bootSize }: (typeof kinds)[number]): Promise<string> {
  const [root, boot] = [join(folder, `${name}-root`), join(folder, `${name}-boot`)];
  await mkdir(join(root, 'etc'), { recursive: true });
  await mkdir(join(boot, 'overlays'), { recursive: true });
  await writeFile(join(root, 'etc/hostname'), 'gateway\n');
  await writeFile(join(root, 'large'), Buffer.alloc(3_000_001, 'gateway'));
  await writeFile(join(boot, 'kernel8.img'), Buffer.alloc(500_000, 'kernel'));
  await writeFile(join(boot, 'zeros'), Buffer.alloc(400_000));
  await writeFile(join(boot, 'overlays/one.dtbo'), 'overlay');
  const path = join(folder, `${name}.img`);
  await makePiImage({ path, table, bootSize, rootTree: root, bootTree: boot });
  // Every zero block becomes a hole, so that holes tell nothing about what is in use.
  await run('fallocate', ['--dig-holes', path]);
  return path;
}

/** Flashes by bmaptool onto a card that was full of 0xff before. */
async function flashOverDirt(image: string, bmap: string): Promise<string> {
  const card = `${image}.card`;
  await run('bmaptool', ['copy', '--bmap', bmap, image, card]);
  // bmaptool empties a target that is a file, so the dirt comes where it wrote nothing.
  const mapped = new Set<number>();
  for (const [, from = '', to] of (await readFile(bmap, 'utf8')).matchAll(
    /> (\d+)(?:-(\d+))? <\/Range>/g,
  ))
    for (let index = Number(from); index <= Number(to ?? from); index++) mapped.add(index);
  const file = await open(card, 'r+');
  const { size } = await file.stat();
  for (let index = 0; index * block < size; index++)
    if (!mapped.has(index))
      await file.write(Buffer.alloc(Math.min(block, size - index * block), 0xff), {
        position: index * block,
      });
  await file.close();
  return card;
}

async function checkFileSystems(card: string, layout: DiskLayout): Promise<void> {
  await run('e2fsck', ['-fn', `${card}?offset=${layout.root.startBytes}`]);
  const fat = `${card}.fat`;
  await run('dd', [
    `if=${card}`,
    `of=${fat}`,
    'bs=1M',
    'iflag=skip_bytes,count_bytes',
    `skip=${layout.boot.startBytes}`,
    `count=${layout.boot.sizeBytes}`,
  ]);
  await run('fsck.fat', ['-n', fat]);
}

describe('flashing by block map over an old card', () => {
  test.each(kinds)('gives whole file systems with the same files ($name)', async (kind) => {
    const image = await makeImage(kind);
    await writeBmap(image, `${image}.bmap`);
    const card = await flashOverDirt(image, `${image}.bmap`);
    await run('sfdisk', ['--verify', card]);
    await checkFileSystems(card, await readDiskLayout(card));
    const { files, partitions } = await diffImages(image, card);
    expect(files).toEqual({ added: [], removed: [], changed: [] });
    expect(partitions).toEqual([]);
  });

  test('leaves the free blocks out, and says the same each time', async () => {
    const image = join(folder, 'mbr-fat32.img');
    await writeBmap(image, `${image}.second.bmap`);
    const bmap = await readFile(`${image}.bmap`, 'utf8');
    expect(await readFile(`${image}.second.bmap`, 'utf8')).toBe(bmap);
    const number = (name: string) =>
      Number(new RegExp(`<${name}> (\\d+) </${name}>`).exec(bmap)?.[1]);
    expect(number('ImageSize')).toBe((await stat(image)).size);
    expect(number('BlocksCount')).toBe(Math.ceil(number('ImageSize') / block));
    // 40 MB of FAT hold 1 MB, 8 MiB lie in front of it.
    expect(number('MappedBlocksCount') * block).toBeLessThan(number('ImageSize') - 44_000_000);
  });

  test('is refused by bmaptool when the image is another', async () => {
    const known = join(folder, 'mbr-fat32.img');
    const image = join(folder, 'other.img');
    await copyFile(known, image);
    await run('mcopy', ['-o', '-i', `${image}@@8M`, `${known}.bmap`, '::kernel8.img']);
    await expect(
      run('bmaptool', ['copy', '--bmap', `${known}.bmap`, image, `${image}.card`]),
    ).rejects.toThrow(/exit code 1/);
  });
});
