import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { blocksOf, Meter, memoryInUse } from './resources.ts';

test('a process that takes memory is seen in the sum of all', async () => {
  const before = await memoryInUse();
  const taken = Buffer.alloc(200e6, 1);
  // Others on the machine come and go meanwhile.
  expect((await memoryInUse()) - before).toBeGreaterThan(100e6);
  expect(taken.length).toBe(200e6);
});

test('a peak of the disk stays known when the file is gone, and a folder may be missing', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'pi-gateway-meter-'));
  const meter = new Meter();
  meter.watch(folder);
  meter.watch(join(folder, 'later'));
  await writeFile(join(folder, 'large'), Buffer.alloc(5e6, 1));
  expect((await meter.peaks()).peak_disk).toBeGreaterThanOrEqual(5e6);
  await rm(join(folder, 'large'));
  expect(await blocksOf([folder])).toBeLessThan(5e6);
  expect((await meter.peaks()).peak_disk).toBeGreaterThanOrEqual(5e6);
  await rm(folder, { recursive: true });
});
