import { mkdtemp, readdir, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  copyProject,
  project,
  removeFolder,
  runCli,
  sha256,
  startCli,
  traces,
} from './testing/build.ts';

/** Each phase by what the build says when it is in it, and how far into it the kill comes. */
const phases = [
  { name: 'tools tree', says: 'tools …', after: 4 },
  { name: 'base', says: 'base debian …', after: 25 },
  { name: 'chroot, installing packages', says: 'packages ssh …', after: 4 },
  { name: 'chroot, applying files', says: 'config system …', after: 0.3 },
  { name: 'initramfs', says: 'initramfs …', after: 3 },
  { name: 'assembly', says: 'image …', after: 0.3 },
  { name: 'compression', says: 'compress (zstd) …', after: 2 },
] as const;

const args = ['build', '--env', 'development'];
const finalNames = /\.(img|zst|xz|bmap|rpi-imager-manifest|json|txt)$|^SHA256SUMS$/;

let root = '';
beforeAll(async () => {
  root = join(await mkdtemp(join(tmpdir(), 'pi-gateway-killed-')), 'project');
  await copyProject(root);
});
afterAll(() => removeFolder(join(root, '..')));

async function artifacts(): Promise<string[]> {
  const names = await readdir(join(root, 'output/pi-gateway')).catch(() => []);
  return names.filter((name) => finalNames.test(name) && !name.startsWith('.'));
}

describe('a build from empty caches, killed with SIGKILL in each phase', () => {
  for (const { name, says, after } of phases)
    test(`${name}: leaves no mount, loop device or process, and no half-written artifact`, async () => {
      const build = startCli(root, args);
      await build.said(says);
      await sleep(after * 1000);
      build.kill('SIGKILL');
      await build.done;
      await sleep(500); // the kernel ends the namespace's processes on its own time
      expect(await traces(root)).toEqual([]);
      const left = await artifacts();
      if (name === 'compression') expect(left).toEqual(['pi-gateway.img']);
      else expect(left).toEqual([]);
    });

  test('the next build succeeds, and its image is the same, bit for bit, as that of a build never disturbed', async () => {
    const result = await runCli(root, args);
    expect(result.stderr).not.toContain('Error');
    expect(result.code).toBe(0);
    expect(await traces(root)).toEqual([]);
    const undisturbed = join(project, 'output/pi-gateway/pi-gateway.img');
    const mine = join(root, 'output/pi-gateway/pi-gateway.img');
    expect((await stat(mine)).size).toBe((await stat(undisturbed)).size);
    const same = (await sha256(mine)) === (await sha256(undisturbed));
    if (!same) {
      const diff = await runCli(root, ['diff', undisturbed, mine]);
      throw new Error(`the images differ:\n${diff.stdout}`);
    }
  });

  test('Ctrl-C and SIGTERM end it at once, with nothing left', async () => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      const build = startCli(root, [...args, '--refresh']);
      await build.said('base debian …');
      await sleep(2000);
      build.kill(signal);
      const { code } = await build.done;
      expect(code).toBe(signal === 'SIGTERM' ? 143 : 130);
      await sleep(500);
      expect(await traces(root)).toEqual([]);
    }
  });
});
