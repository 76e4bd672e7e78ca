import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { controls } from '../../gateway/compliance/controls/all.ts';
import { factsOfDirectory, factsOfTree } from '../../gateway/compliance/facts.ts';
import { assess } from '../../gateway/compliance/score.ts';
import { tailoring } from '../../gateway/compliance/tailoring.ts';
import { makePiImage } from '../base/fixture.ts';
import { imageTree, judgeDirectory, judgeImage } from './compliance.ts';
import { withImage } from './open.ts';

let folder = '';
let tree = '';
let image = '';

const files: Record<string, string> = {
  '/boot/firmware/cmdline.txt': 'root=/dev/mmcblk0p2\n',
  '/etc/group': 'root:x:0:\nshadow:x:42:\n',
  '/etc/passwd': 'root:x:0:0:root:/root:/bin/bash\n',
  '/etc/shadow': 'root:!*:20000:0:99999:7:::\n',
  '/etc/sysctl.d/90.conf': 'kernel.dmesg_restrict = 1\n',
  '/usr/lib/issue': 'Only for those who may.\n',
  '/var/lib/dpkg/status': 'Package: dpkg\nStatus: install ok installed\nVersion: 1\n',
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-compliance-'));
  tree = join(folder, 'root');
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(tree, path)), { recursive: true });
    await writeFile(join(tree, path), content);
  }
  await mkdir(join(tree, 'tmp'));
  await chmod(join(tree, 'tmp'), 0o1777);
  await chmod(join(tree, 'etc/shadow'), 0o640);
  // An absolute link: outside the tree there is no such file.
  await symlink('/usr/lib/issue', join(tree, 'etc/issue'));
  image = join(folder, 'small.img');
  await makePiImage({ path: image, rootTree: tree });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('an image is judged like the tree that it was made of, without mounting it', async () => {
  const ofImage = await withImage(image, ({ root, boot }) =>
    assess(factsOfTree(imageTree(root, boot)), controls, tailoring),
  );
  // makePiImage writes fstab and cmdline.txt of its own.
  const written = ['1.4.2', '6.2.1.3', '6.2.1.4'];
  const others = (results: typeof ofImage) => results.filter(({ id }) => !written.includes(id));
  expect(others(ofImage)).toEqual(others(assess(factsOfDirectory(tree), controls, tailoring)));
  const state = Object.fromEntries(ofImage.map(({ id, state }) => [id, state]));
  expect(state).toMatchObject({
    '1.5.5': 'pass',
    '1.6.2': 'pass',
    '7.1.5': 'pass',
    '7.1.9': 'fail',
    '7.1.11': 'pass',
    '1.1.2.1.1': 'not-applicable',
  });
  // From the FAT partition: read, but without the argument.
  expect(ofImage.find(({ id }) => id === '6.2.1.3')?.evidence).toBe('audit is not given');
});

test('the command says by its exit code whether the score is reached', async () => {
  const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  try {
    expect(await judgeImage(image, { json: true })).toBe(1);
    expect(JSON.parse(String(write.mock.lastCall?.[0]))).toMatchObject({
      live: false,
      root: image,
    });
    expect(await judgeDirectory(tree, { minScore: 1 })).toBe(0);
    expect(await judgeDirectory(tree, { control: '1.5.5' })).toBe(0);
    expect(await judgeDirectory(tree, { control: '7.1.9' })).toBe(1);
  } finally {
    write.mockRestore();
  }
  await expect(judgeDirectory(join(folder, 'none'), {})).rejects.toThrow('no such directory');
});
