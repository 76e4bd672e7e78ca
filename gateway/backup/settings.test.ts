import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { secretPaths } from '../settings/secret-paths.ts';
import { matcher } from './declared.ts';
import { idMap, mergeAccounts } from './restore/accounts.ts';
import { dueTasks, nextAt, slotBefore } from './schedule.ts';
import { backupSettings } from './settings.ts';
import { sshPrivateKey, sshPublicLine } from './ssh-key.ts';
import { targetState } from './view.ts';

const hostKey = sshPublicLine('A'.repeat(43), '');

const problemOf = (target: object) => {
  const result = backupSettings.safeParse({ targets: [target] });
  return result.success ? undefined : result.error.issues[0]?.message;
};

describe('targets', () => {
  test.each([
    { type: 'disk', label: 'BACKUP' },
    { type: 'disk', uuid: '2024-ABCD' },
    { type: 'disk', mount: '/mnt/usb', folder: 'attic/backup' },
    { type: 'sftp', host: 'nas.home.arpa', user: 'attic', path: '/backups', host_key: hostKey },
    { type: 'nfs', server: '192.168.1.5', export: '/volume1/backups' },
    { type: 'smb', server: 'nas', share: 'backups', user: 'attic', password: 'a, b' },
    {
      type: 's3',
      endpoint: 'https://s3.example.org',
      bucket: 'attic',
      access_key_id: 'A',
      secret_access_key: 'B',
    },
    { type: 'b2', bucket: 'attic', region: 'eu-central-003', key_id: 'A', application_key: 'B' },
  ])('of type $type are taken', (target) => {
    expect(problemOf(target)).toBeUndefined();
  });

  test.each([
    [{ type: 'disk' }, 'must have one of label, uuid and mount'],
    [{ type: 'disk', label: 'A', mount: '/mnt/a' }, 'must have one of label, uuid and mount'],
    [{ type: 'disk', mount: '/etc/x' }, 'below /mnt, /media or /srv'],
    [{ type: 'disk', mount: '/mnt/../etc' }, 'must be the folder'],
    [{ type: 'disk', label: 'A', folder: '../x' }, 'must be a folder'],
    [{ type: 'disk', label: '-o x' }, 'label'],
    [
      { type: 'sftp', host: '-oProxyCommand=x', user: 'a', path: '/b', host_key: hostKey },
      'must be a host name',
    ],
    [{ type: 'sftp', host: 'nas', user: 'a b', path: '/b', host_key: hostKey }, 'user name'],
    [{ type: 'sftp', host: 'nas', user: 'a', path: '/b' }, 'public host key'],
    [{ type: 'smb', server: 'nas', share: 'b', user: 'a' }, 'belong together'],
    [
      { type: 'smb', server: 'nas', share: 'b', user: 'a', password: 'x\nfile=/etc/shadow' },
      'printable',
    ],
    [
      {
        type: 's3',
        endpoint: 'http://s3.example.org',
        bucket: 'attic',
        access_key_id: 'A',
        secret_access_key: 'B',
      },
      'https://',
    ],
    [
      {
        type: 's3',
        endpoint: 'http://9.9.9.9',
        allow_http: true,
        bucket: 'attic',
        access_key_id: 'A',
        secret_access_key: 'B',
      },
      'https://',
    ],
    [{ type: 'ftp' }, 'must have a type'],
  ])('that make no sense are refused: %j', (target, message) => {
    expect(problemOf(target)).toContain(message);
  });

  test('have their secrets marked, so that no answer shows one', () => {
    const targets = [
      { type: 'smb', server: 'nas', share: 'b', user: 'a', password: 'x' },
      {
        type: 's3',
        endpoint: 'https://s3.example.org',
        bucket: 'attic',
        access_key_id: 'A',
        secret_access_key: 'B',
      },
      { type: 'b2', bucket: 'attic', region: 'eu', key_id: 'A', application_key: 'B' },
    ];
    expect(secretPaths({ backup: { targets } }).map((path) => path.at(-1))).toEqual([
      'password',
      'secret_access_key',
      'application_key',
    ]);
  });

  test('of one name are refused', () => {
    const two = {
      targets: [
        { type: 'disk', label: 'A' },
        { type: 'disk', label: 'B' },
      ],
    };
    expect(backupSettings.safeParse(two).error?.issues[0]?.message).toContain(
      "'disk' is there already",
    );
  });
});

describe('the schedule', () => {
  const at = (text: string) => new Date(text).getTime();
  const daily = backupSettings.parse({}).schedule;
  const since = (time: string) => ({
    ...targetState.parse({}),
    last_success: {
      at: new Date(at(time)).toISOString(),
      snapshot: '',
      files: 1,
      bytes: 1,
      added: 1,
      seconds: 1,
    },
  });

  test('has its slots by the clock on the wall', () => {
    expect(slotBefore(daily, at('2026-05-06T02:59'))).toBe(at('2026-05-05T03:00'));
    expect(slotBefore(daily, at('2026-05-06T03:00'))).toBe(at('2026-05-06T03:00'));
    expect(slotBefore({ every: 'hour', time: '00:30' }, at('2026-05-06T10:10'))).toBe(
      at('2026-05-06T09:30'),
    );
    // The 3rd of May 2026 is a Sunday.
    expect(slotBefore({ every: 'week', time: '03:00' }, at('2026-05-06T10:00'))).toBe(
      at('2026-05-03T03:00'),
    );
    expect(slotBefore({ every: 'week', time: '03:00' }, at('2026-05-03T02:00'))).toBe(
      at('2026-04-26T03:00'),
    );
  });

  test('is made up for: what was due while the device was off is due now', () => {
    const now = at('2026-05-06T10:00');
    expect(nextAt(daily, undefined, now)).toBeLessThanOrEqual(now);
    expect(nextAt(daily, since('2026-05-04T03:10'), now)).toBeLessThanOrEqual(now);
    expect(nextAt(daily, since('2026-05-06T03:10'), now)).toBe(at('2026-05-07T03:00'));
  });

  test('goes on after a clock that was ahead', () => {
    const now = at('2026-05-06T10:00');
    expect(nextAt(daily, since('2031-01-01T00:00'), now)).toBeLessThanOrEqual(now);
  });

  test('has checks and restore tests in their own time, and none before there is a backup', () => {
    const settings = backupSettings.parse({});
    const now = at('2026-05-06T10:00');
    expect(dueTasks(settings, undefined, now)).toEqual(['backup']);
    const done = since('2026-05-06T03:10');
    expect(dueTasks(settings, done, now)).toEqual(['check', 'test']);
    const checked = {
      at: new Date(at('2026-05-01T03:20')).toISOString(),
      ok: true,
      message: '',
      fix: '',
      part: '1/10',
    };
    const tested = { ...checked, snapshot: '', files: 1, bytes: 1 };
    expect(dueTasks(settings, { ...done, check: checked, test: tested }, now)).toEqual([]);
    expect(
      dueTasks(settings, { ...done, check: checked, test: tested }, at('2026-05-08T02:00')),
    ).toEqual(['backup', 'check']);
    const never = backupSettings.parse({ verify: { every_days: 0, restore_days: 0 } });
    expect(dueTasks(never, done, now)).toEqual([]);
  });
});

describe('accounts of a backup', () => {
  const old = {
    '/etc/passwd':
      'root:x:0:0::/root:/bin/sh\nsvc:x:990:990::/:/\nada:x:1000:1000::/home/ada:/bin/bash\nbob:x:1001:1001::/home/bob:/bin/bash\n',
    '/etc/shadow': 'root:ROOT:1::::::\nsvc:!:1::::::\nada:ADA:1::::::\nbob:BOB:1::::::\n',
    '/etc/group':
      'root:x:0:\nsudo:x:27:ada\nadm:x:4:ada,svc\nsvc:x:990:\nada:x:1000:\nbob:x:1001:\nfamily:x:1002:ada,bob\n',
  };
  const now = {
    '/etc/passwd':
      'root:x:0:0::/root:/bin/bash\nsvc:x:120:121::/:/\nnewer:x:121:122::/:/\ngateway:x:1000:1000::/home/gateway:/bin/bash\n',
    '/etc/shadow': 'root:*:2::::::\nsvc:!:2::::::\nnewer:!:2::::::\ngateway:*:2::::::\n',
    '/etc/group':
      'root:x:0:\nsudo:x:27:gateway\nadm:x:4:newer,gateway\nsvc:x:121:\nnewer:x:122:\ngateway:x:1000:\n',
  };

  test('make people what they were, and leave the image’s own as they are', () => {
    const merged = mergeAccounts(old, now);
    expect(merged['/etc/passwd']).toBe(
      'root:x:0:0::/root:/bin/bash\nsvc:x:120:121::/:/\nnewer:x:121:122::/:/\nada:x:1000:1000::/home/ada:/bin/bash\nbob:x:1001:1001::/home/bob:/bin/bash\n',
    );
    expect(merged['/etc/shadow']).toBe(
      'svc:!:2::::::\nnewer:!:2::::::\nroot:ROOT:1::::::\nada:ADA:1::::::\nbob:BOB:1::::::\n',
    );
    expect(merged['/etc/group']).toBe(
      'root:x:0:\nsudo:x:27:ada\nadm:x:4:newer,ada\nsvc:x:121:\nnewer:x:122:\nada:x:1000:\nbob:x:1001:\nfamily:x:1002:ada,bob\n',
    );
  });

  test('are the same when they are merged again: after a power cut', () => {
    const once = mergeAccounts(old, now);
    expect(mergeAccounts(old, once)).toEqual(once);
  });

  test('give files to whoever has the name now', () => {
    const id = idMap(old['/etc/passwd'], mergeAccounts(old, now)['/etc/passwd']);
    expect([0, 990, 1000, 4711].map(id)).toEqual([0, 120, 1000, 4711]);
  });
});

test('the key for SFTP is one that ssh-keygen reads, with the public half that the server is given', () => {
  const folder = mkdtempSync(join(tmpdir(), 'pi-gateway-key-'));
  try {
    for (const seed of ['A'.repeat(43), `${'z_-'.repeat(14)}8`]) {
      writeFileSync(join(folder, 'key'), sshPrivateKey(seed), { mode: 0o600 });
      const shown = execFileSync('ssh-keygen', ['-y', '-f', join(folder, 'key')], {
        encoding: 'utf8',
      });
      expect(shown.trim()).toBe(sshPublicLine(seed));
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a pattern leaves out the path and what is below it, and nothing that only begins like it', () => {
  const isLeftOut = matcher(['/home/*/.cache', '/srv/a']);
  expect(['/home/ada/.cache', '/home/ada/.cache/x/y', '/srv/a', '/srv/a/b'].every(isLeftOut)).toBe(
    true,
  );
  expect(
    ['/home/.cache', '/home/ada/x/.cache', '/srv/ab', '/home/ada/.cached'].some(isLeftOut),
  ).toBe(false);
});
