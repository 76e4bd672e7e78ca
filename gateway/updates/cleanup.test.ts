import { chmod, mkdir, mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { project } from '../../builder/testing/build.ts';
import { readIfThere } from '../../firstboot/system.ts';

/** The very script of the device, with its own files; df, apt-get and journalctl are stand-ins. */
const script = join(project, 'overlays/gateway/usr/lib/pi-gateway/cleanup');
const stamp = 'var/lib/pi-gateway/cleanup/done';
const day = 86_400_000;

let root = '';
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'pi-gateway-cleanup-'));
  for (const folder of ['var/log', 'var/lib/systemd/coredump', 'bin'])
    await mkdir(join(root, folder), { recursive: true });
  // How full the card is: what is said, the first line at the first look and so on.
  await program('df', `echo Use%; head -n 1 ${root}/used; sed -i 1d ${root}/used`);
  await program('apt-get', `echo "apt-get $*" >> ${root}/calls`);
  await program('journalctl', `echo "journalctl $*" >> ${root}/calls`);
  await put('var/log/new.gz', 1);
  await put('var/log/old.gz', 90);
  await put('var/log/old.log', 90);
  await put('var/lib/systemd/coredump/new', 1);
  await put('var/lib/systemd/coredump/old', 9);
});
afterEach(() => rm(root, { recursive: true }));

async function program(name: string, text: string): Promise<void> {
  await writeFile(join(root, 'bin', name), `#!/bin/sh\n${text}\n`);
  await chmod(join(root, 'bin', name), 0o755);
}

async function put(path: string, days: number): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), 'x');
  const time = new Date(Date.now() - days * day);
  await utimes(join(root, path), time, time);
}

async function clean(...used: number[]) {
  await writeFile(join(root, 'used'), used.map((one) => ` ${one}%\n`).join(''));
  return await run('sh', [script], {
    env: { CLEANUP_ROOT: root, PATH: `${join(root, 'bin')}:/usr/bin:/bin` },
  });
}

const left = async (...paths: string[]) => {
  const found = await Promise.all(paths.map((path) => readIfThere(join(root, path))));
  return paths.filter((_, index) => found[index] !== undefined);
};
const files = [
  'var/log/new.gz',
  'var/log/old.gz',
  'var/log/old.log',
  'var/lib/systemd/coredump/new',
  'var/lib/systemd/coredump/old',
];
const calls = () => readIfThere(join(root, 'calls'));

test('once a week what is old goes, and nothing else', async () => {
  const { stdout } = await clean(40, 38, 38);
  expect(stdout).toContain('40 % before, 38 % now');
  expect(await left(...files)).toEqual([
    'var/log/new.gz',
    'var/log/old.log',
    'var/lib/systemd/coredump/new',
  ]);
  expect(await calls()).toBe('apt-get --quiet clean\njournalctl --quiet --vacuum-time=60d\n');
});

test('in the same week nothing is done, and afterwards again', async () => {
  await put(stamp, 3);
  await clean(40);
  expect(await calls()).toBeUndefined();
  expect(await left(...files)).toEqual(files);
  await put(stamp, 8);
  await clean(40, 40, 40);
  expect(await calls()).toContain('clean');
});

test('a full card is cleared at once, and as far as that needs', async () => {
  await put(stamp, 1);
  await clean(90, 80, 80);
  expect(await left(...files)).toContain('var/log/new.gz');
  const { stderr } = await clean(90, 88, 84);
  expect(await left(...files)).toEqual(['var/log/old.log']);
  expect(await calls()).toContain('journalctl --quiet --vacuum-size=50M');
  expect(stderr).toBe('');
});

test('files that others remove meanwhile are no failure', async () => {
  const folder = join(root, 'var/crash');
  await mkdir(folder);
  const make = 'i=0; while [ $i -lt 20000 ]; do : > $i; i=$((i + 1)); done';
  await run('sh', ['-c', make], { cwd: folder });
  // The other way round, so that the two meet.
  const others = run('sh', ['-c', 'ls | sort -rn | xargs rm -f'], { cwd: folder });
  await clean(90, 90, 80);
  await others;
  expect(await calls()).toContain('vacuum-size');
});

test('what cannot be cleared hinders nothing else, and the unit says that it failed', async () => {
  await program('apt-get', 'exit 100');
  await expect(clean(90, 88, 84)).rejects.toThrow();
  expect(await left(...files)).toEqual(['var/log/old.log']);
  expect(await readIfThere(join(root, stamp))).toBe('');
});

test('where that is not enough, the owner is told how to find out why', async () => {
  const { stderr } = await clean(97, 96, 96);
  expect(stderr).toMatch(/^<4>The card is full to 96 %.*sudo du/);
});
