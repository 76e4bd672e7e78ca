import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readIndex } from './archive-index.ts';
import {
  diffLocks,
  diffLockText,
  driftOf,
  missingFrom,
  refuseDrift,
  refuseMissing,
  unlocked,
} from './compare.ts';
import {
  aptPreferences,
  contentState,
  imagePins,
  type Lock,
  lockText,
  parseLock,
  readLock,
  writeLock,
} from './lock-file.ts';
import { mergeLocks } from './record.ts';

const hash = (digit: string) => digit.repeat(64);

const lock = (change: Partial<Lock> = {}): Lock => ({
  archive: {
    state: '2026-01-01T00:00:00.000Z',
    suite: 'trixie',
    components: ['main'],
    mirror: 'http://mirror.example/debian',
    security_mirror: null,
  },
  base: {
    kind: 'debian',
    asks: [],
    packages: {
      zlib1g: { version: '1:1.3', sha256: hash('a') },
      apt: { version: '3.0', sha256: hash('b') },
    },
  },
  stages: {
    ssh: {
      asks: ['openssh-server'],
      packages: { 'openssh-server': { version: '1:10.0p1-7', sha256: hash('c') } },
    },
  },
  tools: { amd64: { tar: { version: '1.35', sha256: hash('d') } } },
  ...change,
});

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-lock-'));
});
afterAll(() => rm(folder, { recursive: true }));

describe('gateway.lock', () => {
  test('is read as it was written, is sorted, and has one line for each package', async () => {
    const path = join(folder, 'gateway.lock');
    await writeLock(path, lock());
    expect(await readLock(path)).toEqual(lock());
    const text = await readFile(path, 'utf8');
    expect(text.indexOf('apt:')).toBeLessThan(text.indexOf('zlib1g:'));
    expect(text).toContain(`    openssh-server: 1:10.0p1-7 sha256:${hash('c')}\n`.trimStart());
    expect(lockText(parseLock(text, path))).toBe(text);
  });

  test('that somebody has broken is told, with the place in it', () => {
    const text = lockText(lock()).replace(`sha256:${hash('a')}`, 'sha256:zz');
    expect(() => parseLock(text, 'gateway.lock')).toThrow('The lock file cannot be read');
    try {
      parseLock(text, 'gateway.lock');
    } catch (error) {
      expect((error as { detail: string }).detail).toContain('base');
    }
  });

  test('holds apt to each version, also where that is older than what it has', () => {
    expect(aptPreferences(imagePins(lock()))).toContain(
      'Package: openssh-server\nPin: version 1:10.0p1-7\nPin-Priority: 1001\n',
    );
  });

  test('names its layers by what is locked, whatever the tools and the state are called', () => {
    const { stages } = lock();
    expect(contentState(lock({ tools: {} }))).toBe(contentState(lock()));
    const other = { ssh: { asks: [], packages: { x: { version: '1' } } } };
    expect(contentState(lock({ stages: { ...stages, ...other } }))).not.toBe(contentState(lock()));
  });

  test('for a second configuration keeps what is locked and adds the rest', () => {
    const more = lock({
      stages: {
        ssh: { asks: ['openssh-server', 'mosh'], packages: { mosh: { version: '1.4' } } },
        vpn: { asks: ['wg'], packages: { wg: { version: '1' } } },
      },
    });
    const merged = mergeLocks(lock(), more);
    expect(merged.stages.ssh?.asks).toEqual(['mosh', 'openssh-server']);
    expect(Object.keys(merged.stages.ssh?.packages ?? {}).sort()).toEqual([
      'mosh',
      'openssh-server',
    ]);
    expect(merged.stages.vpn?.packages.wg?.version).toBe('1');
  });
});

describe('drift', () => {
  test('of the archive is refused with the package, what is locked, what the mirror has and what to do', async () => {
    const lists = join(folder, 'lists_binary-arm64_Packages');
    await writeFile(
      lists,
      [
        `Package: apt\nVersion: 3.1\nDescription: x\n more\nSHA256: ${hash('e')}\n`,
        `Package: zlib1g\nVersion: 1:1.3\nSHA256: ${hash('f')}\n`,
        `Package: other\nVersion: 9\nSHA256: ${hash('a')}\n`,
      ].join('\n'),
    );
    const pins = imagePins(lock());
    const index = await readIndex(folder, 'arm64', new Set(Object.keys(pins)));
    expect([...index.keys()].sort()).toEqual(['apt', 'zlib1g']);
    const missing = missingFrom(pins, index);
    expect(missing).toEqual([
      { name: 'apt', locked: '3.0', has: ['3.1'], otherFile: false },
      { name: 'openssh-server', locked: '1:10.0p1-7', has: [], otherFile: false },
      // The same version with other bytes is another package.
      { name: 'zlib1g', locked: '1:1.3', has: ['1:1.3'], otherFile: true },
    ]);
    try {
      refuseMissing(missing, 'http://mirror.example/debian', 'gateway.lock');
      expect.unreachable();
    } catch (error) {
      const { detail, fix, code } = error as { detail: string; fix: string; code: number };
      expect(detail).toMatch(/apt +3\.0 +3\.1/);
      expect(detail).toMatch(/openssh-server +1:10\.0p1-7 +nothing of this name/);
      expect(fix).toContain('lock update');
      expect(fix).toContain('debian.snapshot');
      expect(code).toBe(4);
    }
  });

  test('of what is installed counts other versions, and what is not locked only where the lock is complete', () => {
    const installed = { apt: '3.0', zlib1g: '1:1.4', extra: '1' };
    const pins = imagePins(lock());
    expect(driftOf(installed, pins, false)).toEqual([
      { name: 'zlib1g', locked: '1:1.3', found: '1:1.4' },
    ]);
    expect(driftOf(installed, pins, true).map((one) => one.name)).toEqual(['zlib1g', 'extra']);
    expect(() => refuseDrift(driftOf(installed, pins, true), 'x', 'gateway.lock')).toThrow(
      '2 packages would not be as gateway.lock locks them',
    );
  });

  test('of the configuration is told: base, suite, mirror, stages and what they ask for', () => {
    const wanted = {
      suite: 'trixie',
      components: ['main'],
      mirror: null,
      base: { kind: 'debian', asks: [] as string[] },
      stages: { ssh: ['openssh-server'] } as Record<string, string[]>,
      tools: 'amd64',
    };
    expect(unlocked(lock(), wanted)).toEqual([]);
    expect(
      unlocked(lock(), {
        ...wanted,
        suite: 'forky',
        mirror: 'http://other.example/debian',
        base: { kind: 'debian', asks: ['vim'] },
        stages: { ssh: ['openssh-server', 'mosh'], vpn: ['wg'] },
        tools: 'arm64',
      }),
    ).toEqual([
      'debian.suite is forky; trixie is locked',
      'debian.mirror is http://other.example/debian; http://mirror.example/debian is locked',
      "debian.packages are 'vim'; '' are locked",
      "the stage 'ssh' asks for mosh, which is not locked",
      "the stage 'vpn' is not in the lock",
      'no tools for arm64 machines such as this are in the lock',
    ]);
  });
});

test('two locks are compared by part: what came, went, and has another version or other bytes', () => {
  const after = lock({
    base: {
      kind: 'debian',
      asks: [],
      packages: {
        apt: { version: '3.1', sha256: hash('e') },
        bash: { version: '5', sha256: hash('f') },
      },
    },
    tools: { amd64: { tar: { version: '1.35', sha256: hash('0') } } },
  });
  const diff = diffLocks(lock(), after);
  expect(diffLockText(diff)).toBe(
    [
      '~  apt     3.0 → 3.1          base',
      '+  bash    5                  base',
      '-  zlib1g  1:1.3              base',
      '~  tar     1.35 (other file)  tools amd64',
    ].join('\n'),
  );
  const renamed = lock({ archive: { ...lock().archive, state: 'another' } });
  expect(diffLockText(diffLocks(lock(), renamed))).toBe('No package changed.');
});
