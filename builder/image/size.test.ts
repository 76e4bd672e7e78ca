import { link, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { measureTree } from './size.ts';

const block = 4096;

test('blocks of files and directories are counted, hard links and short links as ext4 holds them', async () => {
  const root = await mkdtemp(join(tmpdir(), 'pi-gateway-size-'));
  try {
    await mkdir(join(root, 'boot/firmware/overlays'), { recursive: true });
    await writeFile(join(root, 'boot/firmware/kernel'), 'x'.repeat(9000));
    await writeFile(join(root, 'boot/firmware/overlays/one'), 'x');
    await mkdir(join(root, 'many'));
    for (let i = 0; i < 150; i++) await writeFile(join(root, `many/${i}`), '');
    await writeFile(join(root, 'one'), 'x'.repeat(block + 1));
    await link(join(root, 'one'), join(root, 'same'));
    await symlink('y'.repeat(59), join(root, 'short'));
    await symlink('y'.repeat(60), join(root, 'long'));
    await writeFile(join(root, 'a\nname'), 'x');
    // root, boot, boot/firmware, many and its 150, one, two links, and the strange name
    const inodes = 3 + 151 + 1 + 2 + 1;
    const directories = 3 + Math.ceil((150 * 40) / block);
    expect(await measureTree(root, (path) => path.startsWith('/boot/firmware/'))).toEqual({
      inodes,
      bytes: (directories + 2 + 1 + 1) * block,
    });
    expect((await measureTree(root, () => false)).inodes).toBe(inodes + 3);
  } finally {
    await rm(root, { recursive: true });
  }
});
