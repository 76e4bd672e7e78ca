import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { readDiskLayout } from '../base/disk-layout.ts';
import { makePiImage } from '../base/fixture.ts';
import { run } from '../exec.ts';
import { changeBootPartition, withBootPartition } from './card.ts';

const folder = await mkdtemp(join(tmpdir(), 'pi-gateway-card-'));
afterAll(() => rm(folder, { recursive: true }));

test('the boot partition that is taken out of a VM is the one of its disk, to the byte', async () => {
  const card = join(folder, 'card.img');
  await makePiImage({ path: card, bootSize: 16 * 1024 * 1024 });
  const disk = join(folder, 'disk.qcow2');
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', card, disk, '64M']);
  const { boot } = await readDiskLayout(card);
  const before = (await readFile(card)).subarray(boot.startBytes, boot.startBytes + boot.sizeBytes);
  const taken = () => withBootPartition(folder, (partition) => readFile(partition));
  expect((await taken()).equals(before)).toBe(true);
  await mkdir(join(folder, 'files'));
  await changeBootPartition(folder, { 'new.txt': 'hello' });
  await withBootPartition(folder, (partition) =>
    run('mcopy', ['-n', '-i', partition, '::new.txt', join(folder, 'got')]),
  );
  expect(await readFile(join(folder, 'got'), 'utf8')).toBe('hello');
});
