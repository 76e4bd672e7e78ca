import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { declarations } from '../../gateway/backup/declared.ts';
import { renderStage } from '../testing.ts';
import { backup } from './stage.ts';

const exec = promisify(execFile);
const units = '/usr/lib/systemd/system';

test('is off unless asked for, and listens nowhere', () => {
  expect(backup.enabledByDefault).toBe(false);
  expect(backup.ports).toBeUndefined();
});

test('brings what shares need only where they are wanted, and masks what of it would listen', () => {
  const packages = (o: object) => backup.packages?.(backup.options.parse(o));
  expect(packages({})).toContain('cifs-utils');
  expect(packages({ smb: false })).not.toContain('cifs-utils');
  expect(packages({})).not.toContain('nfs-common');
  expect(packages({ nfs: true })).toContain('nfs-common');
  const { mask } = backup.services?.(backup.options.parse({ nfs: true })) ?? {};
  expect(mask).toContain('rpcbind.socket');
});

test('declares what belongs to the gateway so that the program takes it', async () => {
  const files = await renderStage(backup);
  const root = await mkdtemp(join(tmpdir(), 'pi-gateway-declared-'));
  try {
    const folder = join(root, 'usr/share/pi-gateway/backup.d');
    await exec('mkdir', ['-p', folder]);
    for (const one of files.entries)
      if (one.path.includes('/backup.d/') && 'content' in one)
        await writeFile(join(folder, basename(one.path)), one.content);
    const system = { root, boot: '', say: () => undefined, run: async () => '' };
    const { found, problems } = await declarations(system, { paths: [], exclude: [] });
    expect(problems).toEqual([]);
    const all = found.flatMap((one) => one.paths);
    for (const path of [
      '/etc/pi-gateway',
      '/etc/wireguard',
      '/var/lib/pi-gatewayd',
      '/etc/ssh/ssh_host_*',
      '/home',
    ])
      expect(all).toContain(path);
    // What is newer in the image than in the backup stays.
    expect(found.find((one) => one.paths.includes('/etc/pi-gateway'))?.mirror).toBe(false);
  } finally {
    await rm(root, { recursive: true });
  }
});

test('keeps secrets from everybody: no dump, none in arguments or environment', async () => {
  const files = await renderStage(backup);
  for (const name of ['pi-gateway-backup@.service', 'pi-gateway-restore.service']) {
    const text = files.text(`${units}/${name}`);
    expect(text).toMatch(/^LimitCORE=0$/m);
    expect(text).not.toMatch(/^Environment/m);
  }
});

describe('the sandbox', () => {
  let folder = '';
  const files = () => renderStage(backup);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'pi-gateway-units-'));
    for (const one of (await files()).entries)
      if (one.path.startsWith(units) && 'content' in one)
        await writeFile(join(folder, basename(one.path)), one.content);
  });
  afterAll(() => rm(folder, { recursive: true }));

  // It reads and restores files of all owners: the capabilities for that are what scores.
  test.each([
    ['pi-gateway-backup@now.service', 2.4],
    ['pi-gateway-restore.service', 2.4],
    ['pi-gateway-restore-apply.service', 1.6],
    ['pi-gateway-restore-finish.service', 1],
  ])('of %s leaves it little', async (name, most) => {
    const file = join(folder, name.replace('@now', '@'));
    const target = join(folder, name);
    if (file !== target) await exec('cp', [file, target]);
    const { stdout } = await exec('systemd-analyze', [
      'security',
      '--offline=true',
      '--no-pager',
      target,
    ]);
    const score = Number(/exposure level for \S+: ([\d.]+)/.exec(stdout)?.[1]);
    expect(score).toBeGreaterThan(0);
    expect(score).toBeLessThanOrEqual(most);
  });
});
