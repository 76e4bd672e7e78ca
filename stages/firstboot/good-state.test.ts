import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { readDiskLayout } from '../../builder/base/disk-layout.ts';
import { makePiImage } from '../../builder/base/fixture.ts';
import { run } from '../../builder/exec.ts';
import { problemsAfterReplay, problemsOfCard, problemsOfFat } from './good-state.ts';

const folder = await mkdtemp(join(tmpdir(), 'pi-gateway-good-'));
afterAll(() => rm(folder, { recursive: true }));
const card = join(folder, 'card.img');
await makePiImage({ path: card });
const { boot, root } = await readDiskLayout(card);
const wanted = {
  hostname: 'attic',
  timezone: 'UTC',
  secrets: { token: 'token-of-the-owner', passwordHash: '$6$salt$hash-of-the-owner' },
};

async function change(offset: number, bytes: Uint8Array): Promise<void> {
  const file = await open(card, 'r+');
  await file.write(bytes, 0, bytes.length, offset);
  await file.close();
  await run('qemu-img', ['convert', '-O', 'qcow2', card, join(folder, 'disk.qcow2')]);
}

test('a sound card is good, and one whose FAT was not unmounted, too', async () => {
  await change(0, new Uint8Array());
  expect(await problemsOfCard(folder, wanted)).toEqual([]);
  expect(await problemsAfterReplay(folder)).toEqual([]);
  // FAT32's boot sector, offset 65, bit 0: dirty (fsck.fat(8), linux/msdos_fs.h).
  await change(boot.startBytes + 65, Buffer.from([1]));
  expect(await problemsOfCard(folder, wanted)).toEqual([]);
});

test('a secret in a corner of the boot partition that no file has is found', async () => {
  const offset = boot.sizeBytes - 3000;
  await change(boot.startBytes + offset, Buffer.from(wanted.secrets.token));
  expect(await problemsOfCard(folder, wanted)).toEqual([
    `the boot partition has the token at byte ${offset}`,
  ]);
  await change(boot.startBytes + offset, Buffer.alloc(wanted.secrets.token.length));
});

test('a FAT whose two copies differ is not good', async () => {
  const fat = join(folder, 'fat.img');
  await run('mkfs.vfat', ['-C', '-F', '32', '-s', '1', fat, '40000']);
  expect(await problemsOfFat(fat)).toEqual([]);
  const file = await open(fat, 'r+');
  // Behind the 32 reserved sectors: the first FAT, entry 100.
  await file.write(Buffer.from([0xff, 0xff, 0xff, 0x0f]), 0, 4, 32 * 512 + 400);
  await file.close();
  expect((await problemsOfFat(fat)).length).toBeGreaterThan(0);
});

test('an ext4 whose inode table was written over is not good', async () => {
  const { stdout } = await run('dumpe2fs', [`${card}?offset=${root.startBytes}`]);
  const table = Number(/Inode table at (\d+)/.exec(stdout)?.[1]);
  await change(root.startBytes + table * 4096 + 256, Buffer.alloc(256, 0xaa));
  expect((await problemsOfCard(folder, wanted)).join('\n')).toContain('e2fsck finds');
  expect((await problemsAfterReplay(folder)).join('\n')).toContain('after replay');
});
