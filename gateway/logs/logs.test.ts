import { describe, expect, test } from 'vitest';
import type { System } from '../../firstboot/system.ts';
import { UnavailableError } from '../errors.ts';
import { turnstile } from '../turnstile.ts';
import { type LogQuery, readJournal } from './journal.ts';
import { logList } from './operations.ts';
import { printable, withoutSecretsLike } from './redact.ts';
import { timeOf } from './time.ts';

const cursorOf = (i: number) =>
  `s=3398e573eae14a10b4a2b7ba47baaa36;i=${i.toString(16)};b=${'b'.repeat(32)};m=b2d061e8;t=640b6a19e5e00;x=cfb58dc5aeaa4ae5`;
const start = Date.UTC(2026, 0, 1);

/** An entry as journalctl 257 prints it with --output-fields=, values and all from a real journal. */
const line = (i: number, fields: Record<string, unknown> = {}): string =>
  JSON.stringify({
    __CURSOR: cursorOf(i),
    __REALTIME_TIMESTAMP: String((start + i * 1000) * 1000),
    __MONOTONIC_TIMESTAMP: '3000001000',
    _BOOT_ID: 'b'.repeat(32),
    PRIORITY: '6',
    _PID: '3100',
    SYSLOG_IDENTIFIER: 'sshd',
    _SYSTEMD_UNIT: 'ssh.service',
    MESSAGE: `line ${i}`,
    ...fields,
  });

/** A journal that answers as journalctl(1) does to the options that are used, and notes what it was asked. */
class FakeJournal {
  readonly calls: string[][] = [];
  readonly lines: string[];

  constructor(lines: string[]) {
    this.lines = lines;
  }

  get system(): System {
    return {
      root: '/nowhere',
      boot: '/nowhere',
      say: () => undefined,
      run: async (command, args) => {
        expect(command).toBe('journalctl');
        this.calls.push([...args]);
        const option = (name: string) =>
          args.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3);
        const reverse = args.includes('--reverse');
        const after = option('after-cursor');
        const place = this.lines.findIndex((text) => parsed(text).__CURSOR === after);
        const some =
          after === undefined
            ? this.lines
            : reverse
              ? this.lines.slice(0, place)
              : this.lines.slice(place + 1);
        const since = Number(option('since')?.slice(1) ?? 0) * 1_000_000;
        const recent = some.filter((text) => !(parsed(text).__REALTIME_TIMESTAMP < since));
        return [...(reverse ? recent.toReversed() : recent).slice(0, Number(option('lines')))]
          .map((text) => `${text}\n`)
          .join('');
      },
    };
  }

  read(query: Partial<LogQuery> = {}): ReturnType<typeof readJournal> {
    return readJournal(this.system, { limit: 100, ...query });
  }
}

const parsed = (text: string) => JSON.parse(text.startsWith('{') ? text : '{}');

const many = (count: number) => Array.from({ length: count }, (_, i) => line(i));

describe('reading the journal', () => {
  test('the newest comes first, and the cursor leads on to what is older, without gap or overlap', async () => {
    const journal = new FakeJournal(many(10));
    const seen: string[] = [];
    let next: string | undefined;
    do {
      const page = await journal.read({ limit: 4, cursor: next });
      seen.push(...page.entries.map(({ message }) => message));
      next = page.next;
    } while (next !== undefined);
    expect(seen).toEqual(many(10).map((_, i) => `line ${9 - i}`));
  });

  test('what came since a cursor is read forward, as a follower does', async () => {
    const { entries } = await new FakeJournal(many(10)).read({
      cursor: cursorOf(6),
      forward: true,
    });
    expect(entries.map(({ message }) => message)).toEqual(['line 7', 'line 8', 'line 9']);
  });

  test('a text is found in either case, far back, and is no option of journalctl and no pattern', async () => {
    const lines = many(5000);
    lines[3] = line(3, { MESSAGE: 'The .* --vacuum-size=1 Needle' });
    const journal = new FakeJournal(lines);
    const { entries, next } = await journal.read({ text: '.* --VACUUM-size=1 needle' });
    expect(entries.map(({ time }) => time)).toEqual([new Date(start + 3000).toISOString()]);
    expect(next).toBeUndefined();
    expect(journal.calls.flat().join(' ')).not.toContain('vacuum');
  });

  test('a search that finds nothing ends after some thousand entries, and tells where to go on', async () => {
    const journal = new FakeJournal(many(30_000));
    const { entries, next } = await journal.read({ text: 'nowhere' });
    expect(entries).toEqual([]);
    expect(next).toBe(cursorOf(10_000));
    expect(journal.calls).toHaveLength(20);
  });

  test('since holds beside a cursor too, where journalctl would refuse it', async () => {
    const journal = new FakeJournal(many(10));
    const { entries, next } = await journal.read({
      cursor: cursorOf(8),
      since: new Date(start + 5000).toISOString(),
    });
    expect(entries.map(({ message }) => message)).toEqual(['line 7', 'line 6', 'line 5']);
    expect(next).toBeUndefined();
    expect(journal.calls.flat().filter((arg) => arg.startsWith('--since'))).toEqual([]);
  });

  test('times go to journalctl as seconds, never as they were written', async () => {
    const journal = new FakeJournal([]);
    await journal.read({ since: '0001-01-01T00:00:00Z', until: '2026-01-01T01:00:00+01:00' });
    expect(journal.calls[0]).toContain('--since=@0');
    expect(journal.calls[0]).toContain(`--until=@${start / 1000}`);
  });

  test.each([
    ['--vacuum-size=1.service'],
    ['-x.service'],
    ['ssh.service --rotate'],
    ['*.service'],
    ['ssh'],
    ['ssh.service\n'],
    [`${'a'.repeat(260)}.service`],
    [''],
  ])('%j is refused as a name of a unit', async (unit) => {
    const journal = new FakeJournal([]);
    await expect(journal.read({ unit })).rejects.toThrow('no name of a unit');
    expect(journal.calls).toEqual([]);
    expect(logList.query?.safeParse({ unit }).success).toBe(false);
  });

  test.each([['ssh.service'], ['wg-quick@wg0.service'], ['dev-disk-by\\x2dlabel.mount']])(
    '%s is a name of a unit',
    async (unit) => {
      const journal = new FakeJournal([]);
      await journal.read({ unit });
      expect(journal.calls[0]).toContain(`--unit=${unit}`);
      expect(logList.query?.safeParse({ unit }).success).toBe(true);
    },
  );

  test('a cursor that is none is refused before journalctl sees it', async () => {
    const journal = new FakeJournal([]);
    await expect(journal.read({ cursor: 's=0;--rotate' })).rejects.toThrow('cursor');
    expect(journal.calls).toEqual([]);
  });

  test("values of any shape are read: bytes, too long, several, none, systemd's own", async () => {
    const { entries } = await new FakeJournal([
      line(0, { MESSAGE: [104, 105, 255] }),
      line(1, { MESSAGE: null }),
      line(2, { MESSAGE: ['first', 'second'], PRIORITY: undefined, _PID: undefined }),
      line(3, { _SYSTEMD_UNIT: 'init.scope', UNIT: 'ssh.service', PRIORITY: '3' }),
      'no JSON',
      line(5, { MESSAGE: '\u001b]0;title\u0007\u001b[31mred\u001b[0m\u0000 \u202eevil' }),
    ]).read();
    expect(entries.map(({ message }) => message)).toEqual([
      'red evil',
      'line 3',
      'first',
      '(longer than 4096 bytes)',
      'hi\ufffd',
    ]);
    expect(entries[1]).toMatchObject({ unit: 'ssh.service', priority: 'err' });
    expect(entries[2]).toMatchObject({ pid: null, priority: 'info' });
  });
});

describe('what looks like a secret is taken out of a log', () => {
  const key = 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=';
  test.each([
    ['a WireGuard key', `peer(${key}) said hello`, key],
    ['an API token', 'used pgw_0123456789abcdefABCDEF for it', '0123456789abcdefABCDEF'],
    ['a claim code', 'the code is 7Q2K-M0XV-3WZT-9HJP.', '7Q2K'],
    ['the password of a URL', 'GET https://ada:s3cr3t@example.org/x', 's3cr3t'],
    ['the query of a URL', 'GET https://example.org/update?host=a&token=abc', 'abc'],
    ['a password by name', 'password=hunter2 and more', 'hunter2'],
    ['a password in JSON', '{"smtp_password": "hun \\"ter2", "port": 25}', 'ter2'],
    ['a Wi-Fi key', `  psk=${'0a'.repeat(32)}`, '0a0a'],
    ['a header', 'authorization: Bearer abcdefghijklmnop', 'abcdefghijklmnop'],
    ['a bearer', 'sent Bearer abcdefghijklmnop', 'abcdefghijklmnop'],
    ['a hash of a password', 'user $6$salt$abcdefghijklmnopqrstuvwxyz0123 ok', 'abcdefghij'],
    ['an Argon2 hash', '$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub', 'RdescudvJ'],
    ['a private key', '-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNz\n', 'b3BlbnNz'],
    ['an age key', 'AGE-SECRET-KEY-1QQQSYQCYQ5RQWZQFPG9SCRGWPUGPZYSN', 'QQQSYQ'],
    ['a Slack webhook', 'POST https://hooks.slack.com/services/T0/B0/xyz1 failed', 'xyz1'],
    ['a JWT', 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVm', 'dozjgNryP4J3jVm'],
    ['an option of a command', 'COMMAND=/usr/bin/x --api-key=deadbeef', 'deadbeef'],
  ])('%s', (_, text, secret) => {
    expect(text).toContain(secret);
    expect(withoutSecretsLike(text)).not.toContain(secret);
  });

  test.each([
    'Accepted publickey for gateway from 192.168.1.5 port 50122 ssh2: ED25519 SHA256:Xy1zdGZ2n8lQmB0xwZ4m5N6b7V8c9X0z1A2s3D4f5G6',
    'Failed password for root from 203.0.113.9 port 4711 ssh2',
    'gateway drop input: IN=eth0 OUT= MAC=dc:a6:32:01:02:03 SRC=203.0.113.9 DST=192.168.1.2 LEN=40',
    'Started ssh.service - OpenBSD Secure Shell server.',
    'chronyd[512]: Selected source 192.0.2.1 (2.debian.pool.ntp.org)',
    'See https://www.debian.org/security/ for more',
  ])('what tells the owner something stays: %s', (text) => {
    expect(withoutSecretsLike(text)).toBe(text);
  });

  test('a text of a stranger cannot hide a secret from this by control characters', () => {
    const text = 'pass\u0000word=hun\u001b[0mter2';
    expect(withoutSecretsLike(printable(text))).not.toContain('ter2');
  });

  test('a long line of a stranger costs no more time than its length', () => {
    const began = performance.now();
    for (const part of ['a', '=', 'token=', 'eyJ', '$6$', 'https://', '"', 'AAAA-', '- ', 'key ='])
      withoutSecretsLike(part.repeat(4096 / part.length));
    expect(performance.now() - began).toBeLessThan(500);
  });
});

test('many who read at once are two programs at a time, and all get their answer', async () => {
  let running = 0;
  let most = 0;
  const inTurn = turnstile(2);
  const work = async (i: number) => {
    running += 1;
    most = Math.max(most, running);
    await new Promise((resolve) => setTimeout(resolve, 1));
    running -= 1;
    if (i % 3 === 0) throw new Error('no');
    return i;
  };
  const results = await Promise.allSettled(
    Array.from({ length: 30 }, (_, i) => inTurn(() => work(i))),
  );
  expect(most).toBe(2);
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(20);
});

test('a journal that cannot be read is told apart from a question that is none', async () => {
  const { system } = new FakeJournal([]);
  const broken = { ...system, run: () => Promise.reject(new Error('journalctl failed: No space')) };
  await expect(readJournal(broken, { limit: 1 })).rejects.toBeInstanceOf(UnavailableError);
});

describe('times of the command line', () => {
  const now = Date.UTC(2026, 0, 31, 12);
  test.each([
    ['90s', now - 90_000],
    ['30m', now - 1_800_000],
    ['30 min ago', now - 1_800_000],
    ['2h', now - 7_200_000],
    ['1d', now - 86_400_000],
    ['2026-01-30T10:00Z', Date.UTC(2026, 0, 30, 10)],
    ['2026-01-30 10:00:05+01:00', Date.UTC(2026, 0, 30, 9, 0, 5)],
    ['2026-01-30', new Date(2026, 0, 30).getTime()],
    ['2026-01-30 14:05', new Date(2026, 0, 30, 14, 5).getTime()],
  ])('%s', (text, time) => {
    expect(timeOf(text, now)?.getTime()).toBe(time);
  });

  test.each(['yesterday', '', '1', '-1h', '1y', '2026-13-01', '30.01.2026', '1h; reboot'])(
    '%j is none',
    (text) => {
      expect(timeOf(text, now)).toBeUndefined();
    },
  );
});
