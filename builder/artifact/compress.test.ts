import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { run } from '../exec.ts';
import type { Tools } from '../tools/tools.ts';
import { compressImage, fileDigest } from './compress.ts';

/** The host's own programs instead of the tools tree's. */
const tools: Tools = {
  root: '/',
  digest: '',
  versions: {},
  emulates: false,
  command: (program) => [basename(program)],
  run: (program, args, options) => run(basename(program), args, options),
};

let folder = '';
let image = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-compress-'));
  image = join(folder, 'test.img');
  await writeFile(image, Buffer.alloc(2_000_000, 'a gateway '));
});
afterAll(() => rm(folder, { recursive: true }));

test.each(['xz', 'zstd'] as const)(
  '%s gives the image back, and nothing half-written stays',
  async (compression) => {
    const packed = await compressImage({
      image,
      compression,
      level: 6,
      tools,
      log: join(folder, 'log'),
      onProgress: () => undefined,
    });
    const unpacked = join(folder, 'unpacked');
    await run('sh', ['-c', `${compression} -dc "$0" > "$1"`, packed, unpacked]);
    expect((await readFile(unpacked)).equals(await readFile(image))).toBe(true);
    expect((await readdir(folder)).filter((name) => name.endsWith('.partial'))).toEqual([]);
  },
);

test('a compressor that fails leaves nothing under the final name', async () => {
  const broken = { ...tools, command: () => ['false'] };
  await rm(`${image}.xz`, { force: true });
  await expect(
    compressImage({
      image,
      compression: 'xz',
      level: 6,
      tools: broken,
      log: join(folder, 'log'),
      onProgress: () => undefined,
    }),
  ).rejects.toThrow();
  expect(await readdir(folder)).not.toContain('test.img.xz');
});

test('a digest is that of sha256sum', async () => {
  const { stdout } = await run('sha256sum', [image]);
  expect(await fileDigest(image)).toEqual({ sha256: stdout.split(' ')[0], size: 2_000_000 });
});
