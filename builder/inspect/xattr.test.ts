import { closeSync, openSync } from 'node:fs';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { run } from '../exec.ts';
import { readExt4 } from './ext4.ts';

test('extended attributes are read as debugfs writes them, from the inode and from a block of their own', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'pi-gateway-xattr-'));
  const image = join(folder, 'disk.img');
  const source = join(folder, 'source');
  const long = join(folder, 'long');
  await writeFile(image, '');
  await truncate(image, 4 * 1024 * 1024);
  await writeFile(source, 'content');
  await writeFile(long, 'y'.repeat(600));
  await run('mke2fs', ['-q', '-F', '-t', 'ext4', '-I', '256', image]);
  const commands = join(folder, 'commands');
  await writeFile(
    commands,
    [
      `write ${source} plain`,
      `write ${source} small`,
      'ea_set /small security.capability abc',
      'ea_set /small user.b 1',
      `write ${source} large`,
      `ea_set -f ${long} /large user.long`,
      'set_inode_field /plain mtime @1700000000',
      '',
    ].join('\n'),
  );
  await run('debugfs', ['-w', '-f', commands, image]);
  const descriptor = openSync(image, 'r');
  try {
    const { files } = readExt4(descriptor, 0, image);
    expect(files.get('/plain')).not.toHaveProperty('attributes');
    expect(files.get('/plain')?.modified).toBe(1_700_000_000);
    expect(files.get('/small')?.attributes).toEqual({
      'security.capability': Buffer.from('abc').toString('hex'),
      'user.b': Buffer.from('1').toString('hex'),
    });
    expect(files.get('/large')?.attributes).toEqual({
      'user.long': Buffer.from('y'.repeat(600)).toString('hex'),
    });
  } finally {
    closeSync(descriptor);
    await rm(folder, { recursive: true });
  }
});
