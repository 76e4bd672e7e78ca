import { expect, test } from 'vitest';
import type { FileEntry, FileSystem } from '../inspect/file-system.ts';
import { categoriesOf } from './categories.ts';

function system(files: Record<string, number>, used: number): FileSystem {
  const entry = (size: number): FileEntry => ({ kind: 'file', size, mode: 0o644, uid: 0, gid: 0 });
  return {
    type: 'ext4',
    size: 1_000_000,
    used,
    files: new Map(Object.entries(files).map(([path, size]) => [path, entry(size)])),
    content: () => [],
  };
}

const partition = (startBytes: number, sizeBytes: number) => ({ startBytes, sizeBytes });

test('every byte of the image is in one category, by blocks', () => {
  const image = {
    size: 2_000_000,
    layout: { boot: partition(50_000, 900_000), root: partition(950_000, 1_000_000) },
    root: system(
      {
        '/usr/bin/node': 10_000,
        '/usr/bin/bash': 1,
        '/usr/lib/modules/6.12/kernel/net.ko': 4096,
        '/usr/share/doc/bash/copyright': 100,
        '/srv/own': 5000,
      },
      100_000,
    ),
    boot: system({ '/config.txt': 10 }, 4096),
  } as unknown as Parameters<typeof categoriesOf>[0];
  const found = categoriesOf(image);
  const bytes = Object.fromEntries(found.map((one) => [one.category, one.bytes]));
  expect(bytes).toMatchObject({
    node: 3 * 4096,
    programs: 4096,
    'kernel and modules': 4096,
    documentation: 4096,
    other: 2 * 4096,
    'boot partition: files': 4096,
    'root partition: free': 900_000,
    'outside the partitions': 100_000,
  });
  expect(found.reduce((sum, one) => sum + one.bytes, 0)).toBe(image.size);
});
