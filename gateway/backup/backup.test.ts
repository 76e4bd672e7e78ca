import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { backupConditions } from './conditions.ts';
import type { RunProgram } from './run-program.ts';
import { readState } from './state.ts';
import { backUp, checkTarget, initTarget, testTarget } from './tasks.ts';
import { standard, TestGateway } from './testing.ts';

let gateway: TestGateway;

beforeEach(async () => {
  gateway = await TestGateway.make();
  await gateway.furnish();
});
afterEach(() => gateway.remove());

const stateOf = async (name = 'usb') => (await readState(gateway.system)).targets[name];

/** Changes bytes in the middle of the newest or the only pack file with data of a file. */
async function damage(packs: readonly string[]): Promise<void> {
  for (const path of packs) {
    const file = await open(path, 'r+');
    const { size } = await file.stat();
    await file.write(Buffer.alloc(16, 0xaa), 0, 16, Math.floor(size / 3));
    await file.close();
  }
}

async function packs(): Promise<string[]> {
  const data = join(gateway.root, 'mnt/usb/pi-gateway/data');
  const names = await readdir(data, { recursive: true });
  return names.filter((name) => /[0-9a-f]{64}$/.test(name)).map((name) => join(data, name));
}

describe('a backup to a disk', () => {
  test('makes its repository the first time, and a restore test finds every byte, owner and mode in it', async () => {
    const job = gateway.job([gateway.disk], { paths: ['/mnt'], exclude: ['/mnt/usb'] });
    const seen: string[] = [];
    const run: RunProgram = async (command, args, options) => {
      seen.push([command, ...args, JSON.stringify(options?.env ?? {})].join(' '));
      return await job.run(command, args, options);
    };
    expect(await backUp({ ...job, run }, job.settings.targets)).toEqual(['ok']);
    expect((await stateOf())?.last_success?.files).toBeGreaterThan(8);
    expect((await stateOf())?.snapshots).toHaveLength(1);
    expect(await testTarget(job, gateway.disk)).toBe(true);
    expect((await stateOf())?.test).toMatchObject({ ok: true, message: '' });
    expect(await readdir(join(gateway.root, 'var/lib/pi-gateway-backup'))).not.toContain('scratch');

    // What is left out is not in it, nor the repository itself.
    const files = await gateway.restic('ls', 'latest');
    expect(files).toContain('/home/ada/.ssh/authorized_keys');
    expect(files).not.toContain('.cache');
    expect(files).not.toContain('/mnt/usb');

    // No secret was on a command line or is left in a file that others read.
    const password = (await gateway.read('etc/pi-gateway/backup/password')).trim();
    expect(seen.length).toBeGreaterThan(4);
    expect(seen.join('\n')).not.toContain(password);
    expect(await gateway.read('var/lib/pi-gateway-backup/status.json')).not.toContain(password);
    const { mode } = await stat(join(gateway.root, 'var/lib/pi-gateway-backup/manifest.jsonl'));
    expect(mode & 0o077).toBe(0);
    const left = await readdir(join(gateway.root, 'run/pi-gateway-backup'));
    expect(left.sort()).toEqual(['excludes', 'paths']);
  });

  test('writes nothing while the disk is away, and says so; an alert comes when that lasts', async () => {
    await gateway.put('proc/self/mounts', 'proc /proc proc rw 0 0\n');
    const job = gateway.job([gateway.disk]);
    expect(await backUp(job, job.settings.targets)).toEqual(['away']);
    expect(await readdir(join(gateway.root, 'mnt/usb'))).toEqual([]);
    expect((await stateOf())?.last_attempt?.message).toContain('nothing is mounted on /mnt/usb');
    const conditions = (now: number) => backupConditions(gateway.system, job.settings, now);
    const active = async (now: number) =>
      (await conditions(now)).filter((one) => one.active).map((one) => one.source);
    expect(await active(Date.now() + 3_600_000)).toEqual([]);
    expect(await active(Date.now() + 73 * 3_600_000)).toEqual(['backup:usb:late']);
  });

  test('does not begin anew in silence when the repository has vanished, nor goes on in another one', async () => {
    const job = gateway.job([gateway.disk]);
    await backUp(job, job.settings.targets);
    await rename(join(gateway.root, 'mnt/usb/pi-gateway'), join(gateway.root, 'mnt/elsewhere'));
    expect(await backUp(job, job.settings.targets)).toEqual(['failed']);
    expect((await stateOf())?.last_attempt?.message).toContain('the repository is gone');
    expect(await readdir(join(gateway.root, 'mnt/usb'))).toEqual([]);
    await gateway.restic('init');
    expect(await backUp(job, job.settings.targets)).toEqual(['failed']);
    expect((await stateOf())?.last_attempt?.message).toContain('another repository');
    expect(await initTarget(job, gateway.disk)).toBe('taken');
    expect(await backUp(job, job.settings.targets)).toEqual(['ok']);
  });

  test('says that the password is another one, and what to do', async () => {
    const job = gateway.job([gateway.disk]);
    await backUp(job, job.settings.targets);
    await gateway.put('etc/pi-gateway/backup/password', 'another\n', 0o600);
    expect(await backUp(job, job.settings.targets)).toEqual(['failed']);
    expect((await stateOf())?.last_attempt).toMatchObject({
      message: expect.stringContaining('wrong password'),
      fix: expect.stringContaining('made with another password'),
    });
  });

  test('keeps as many as the owner wants, and the last three in any case', async () => {
    const job = gateway.job([gateway.disk], { keep: { daily: 0, weekly: 0, monthly: 0 } });
    for (let i = 0; i < 4; i += 1) {
      await gateway.put('etc/wireguard/peers.d/phone.conf', `# ${i}\n`, 0o600);
      await backUp(job, job.settings.targets);
    }
    expect((await stateOf())?.snapshots).toHaveLength(3);
  });

  test('goes to several targets at once; one that fails is no other’s trouble', async () => {
    const away = { type: 'disk', name: 'away', label: 'NOWHERE' };
    const job = gateway.job([away, gateway.disk]);
    expect(await backUp(job, job.settings.targets)).toEqual(['away', 'ok']);
    expect((await stateOf('away'))?.last_attempt?.message).toContain(
      'no disk with the label NOWHERE',
    );
  });
});

describe('what is declared', () => {
  test('is brought to rest before and goes on after; not while no target is there', async () => {
    const seen: string[] = [];
    gateway.hook = async (command) => void seen.push(command.join(' '));
    await gateway.put(
      'usr/share/pi-gateway/backup.d/50-photos.json',
      JSON.stringify({
        description: 'Photos',
        paths: ['/srv/photos'],
        quiesce: [['podman', 'pause', 'photos']],
        resume: [['podman', 'unpause', 'photos']],
      }),
    );
    await gateway.put('srv/photos/cat.jpg', 'meow');
    const job = gateway.job([gateway.disk]);
    expect(await backUp(job, job.settings.targets)).toEqual(['ok']);
    expect(await gateway.restic('ls', 'latest')).toContain('/srv/photos/cat.jpg');
    await gateway.put('proc/self/mounts', '');
    await backUp(job, job.settings.targets);
    // The disk was away: nothing was paused for it.
    expect(seen).toEqual(['podman pause photos', 'podman unpause photos']);
  });

  test('that could not be brought to rest, or in a file that makes no sense, makes the backup a partial one, of which an alert tells', async () => {
    gateway.hook = async () => {
      throw new Error('no such container');
    };
    await gateway.put(
      'usr/share/pi-gateway/backup.d/50-photos.json',
      JSON.stringify({ description: 'x', paths: ['/home'], quiesce: [['podman', 'pause', 'x']] }),
    );
    await gateway.put('usr/share/pi-gateway/backup.d/90-broken.json', '{"paths": "x"');
    const job = gateway.job([gateway.disk]);
    expect(await backUp(job, job.settings.targets)).toEqual(['partial']);
    const active = (await backupConditions(gateway.system, job.settings)).filter(
      (one) => one.active,
    );
    const told = active.map((one) => one.text).join();
    expect(told).toContain('no such container');
    expect(told).toContain('90-broken.json is not used');
    expect((await stateOf())?.last_success?.files).toBeGreaterThan(8);
  });

  test('with signs that mean something to restic is left out by its name and nothing else', async () => {
    await gateway.remove();
    gateway = await TestGateway.make({
      ...standard,
      exclude: ['/home/ada/a[b]c', '/home/ada/$HOME', '/home/ada/x?'],
    });
    await gateway.furnish();
    for (const name of ['a[b]c', 'abc', '$HOME', 'x?', 'xy'])
      await gateway.put(`home/ada/${name}`, name);
    const job = gateway.job([gateway.disk]);
    await backUp(job, job.settings.targets);
    const files = await gateway.restic('ls', 'latest', '/home/ada');
    expect(files).toMatch(/abc\n/);
    expect(files).toMatch(/xy\n/);
    for (const name of ['a[b]c', '$HOME', 'x?']) expect(files).not.toContain(`${name}\n`);
    expect(await testTarget(job, gateway.disk)).toBe(true);
  });
});

describe('a repository', () => {
  test('with flipped bytes in its packs is found damaged by the check and by the restore test, with an alert for each', async () => {
    const job = gateway.job([gateway.disk], { verify: { read_percent: 100 } });
    await backUp(job, job.settings.targets);
    await damage(await packs());
    expect(await checkTarget(job, gateway.disk)).toBe(false);
    expect(await testTarget(job, gateway.disk)).toBe(false);
    const active = (await backupConditions(gateway.system, job.settings)).filter(
      (one) => one.active,
    );
    expect(active.map((one) => [one.source, one.severity])).toEqual([
      ['backup:usb:check', 'critical'],
      ['backup:usb:test', 'critical'],
    ]);
    expect(active[0]?.text).toContain('the repository is damaged');
  });

  test('is read back in another part each time, and gives room free when it is whole', async () => {
    const job = gateway.job([gateway.disk], { verify: { read_percent: 50 } });
    await backUp(job, job.settings.targets);
    for (const part of ['1/2', '2/2', '1/2']) {
      expect(await checkTarget(job, gateway.disk)).toBe(true);
      expect((await stateOf())?.check).toMatchObject({ ok: true, part });
    }
    expect((await stateOf())?.size_bytes).toBeGreaterThan(300_000);
  });

  test('is free for the next work after a backup was killed in its middle, whoever has its number now', async () => {
    const job = gateway.job([gateway.disk]);
    await backUp(job, job.settings.targets);
    await gateway.put('home/ada/big', randomBytes(20_000_000));
    const child = spawn('restic', [
      ...[
        '--repo',
        join(gateway.root, 'mnt/usb/pi-gateway'),
        '--no-cache',
        '--limit-upload',
        '1000',
      ],
      ...['--password-file', join(gateway.root, 'etc/pi-gateway/backup/password')],
      ...['backup', join(gateway.root, 'home')],
    ]);
    const locks = async () =>
      (await readdir(join(gateway.root, 'mnt/usb/pi-gateway/locks'))).filter((one) =>
        /^[0-9a-f]{64}$/.test(one),
      );
    while ((await locks()).length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    // A process of this number lives: restic itself takes the lock for one that is held.
    child.kill('SIGSTOP');
    await expect(gateway.restic('prune')).rejects.toThrow('locked');
    expect(await checkTarget(job, gateway.disk)).toBe(true);
    expect(await locks()).toEqual([]);
    child.kill('SIGKILL');
    await once(child, 'close');
    expect(await backUp(job, job.settings.targets)).toEqual(['ok']);
    expect(await testTarget(job, gateway.disk)).toBe(true);
  });
});

test.runIf(process.getuid?.() === 0)(
  'a full disk is told as what it is, and backups go on when there is room again',
  async () => {
    const mount = join(gateway.root, 'mnt/usb');
    await run('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', mount]);
    try {
      const job = gateway.job([gateway.disk], { verify: { read_percent: 100 } });
      expect(await backUp(job, job.settings.targets)).toEqual(['ok']);
      await gateway.put('home/ada/film', randomBytes(9_000_000));
      expect(await backUp(job, job.settings.targets)).toEqual(['failed']);
      expect((await stateOf())?.last_attempt).toMatchObject({
        message: expect.stringContaining('no room left'),
        fix: expect.stringContaining('Make room'),
      });
      await rm(join(gateway.root, 'home/ada/film'));
      // What the failed one has left is taken away by the check.
      expect(await checkTarget(job, gateway.disk)).toBe(true);
      expect(await backUp(job, job.settings.targets)).toEqual(['ok']);
      expect(await testTarget(job, gateway.disk)).toBe(true);
    } finally {
      await run('umount', [mount]);
    }
  },
);
