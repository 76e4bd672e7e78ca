import { truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { TestDevice } from '../testing.ts';
import { growPartition } from './grow-rootfs.ts';

let device: TestDevice;
beforeEach(async () => {
  device = await TestDevice.make();
});
afterEach(() => device.remove());

describe('the card', () => {
  test.each(['dos', 'gpt'])(
    'a %s partition grows to the end, and no identifier changes',
    async (label) => {
      const disk = join(device.root, 'disk.img');
      await device.put('disk.img', '');
      await truncate(disk, 64 * 1024 * 1024);
      const id = label === 'dos' ? '0xf9803cbc' : '5F0D4F0E-8D3B-4D0B-9E7B-8A3B1C2D3E4F';
      await run('sfdisk', ['-q', disk], {
        input: `label: ${label}\nlabel-id: ${id}\nstart=2048, size=16384\nstart=18432, size=20480\n`,
      });
      const table = async () =>
        JSON.parse((await run('sfdisk', ['--json', disk])).stdout).partitiontable;
      const before = await table();
      await truncate(disk, 128 * 1024 * 1024);
      await growPartition(
        {
          run: async (command, args, options) =>
            command === 'partx'
              ? ''
              : (
                  await run(
                    command,
                    args,
                    options?.input === undefined ? {} : { input: options.input },
                  )
                ).stdout,
        },
        { disk, number: 2, device: `${disk}2` },
      );
      const after = await table();
      expect(after.id).toBe(before.id);
      expect(after.partitions[0]).toEqual(before.partitions[0]);
      expect(after.partitions[1].start).toBe(before.partitions[1].start);
      expect(after.partitions[1].uuid).toBe(before.partitions[1].uuid);
      expect((after.partitions[1].start + after.partitions[1].size) * 512).toBeGreaterThan(
        126 * 1024 * 1024,
      );
    },
  );
});
