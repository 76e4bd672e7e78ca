import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { System } from '../../../firstboot/system.ts';
import { GatewayError, UnavailableError } from '../../errors.ts';
import { apiSettings } from '../settings.ts';
import { type Accounts, type AccountsOptions, openAccounts } from './accounts.ts';
import { PasswordHasher, refuseWeak } from './password.ts';
import { fromBase32, hotp } from './totp.ts';

const cheap = { ln: 4, r: 8, p: 1 };
const password = 'four words nobody guesses';
const from = { address: '192.168.1.20', client: 'Firefox' };

let root: string;
let said: string[];
let clock: number;
let accounts: Accounts;
let opened: Accounts[];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'pi-gateway-accounts-'));
  said = [];
  opened = [];
  clock = Date.UTC(2026, 0, 2);
  accounts = await open();
});

afterEach(async () => {
  for (const one of opened) await one.close();
  await rm(root, { recursive: true, force: true });
});

async function open(options: Partial<AccountsOptions> = {}): Promise<Accounts> {
  const system: System = {
    root,
    boot: '/boot/firmware',
    say: (text) => said.push(text),
    run: async () => '',
  };
  const made = await openAccounts({
    system,
    settings: () => apiSettings.parse({ session_idle_minutes: 30, session_hours: 2 }),
    hasher: new PasswordHasher(cheap),
    now: () => clock,
    uptime: () => clock / 1000,
    ...options,
  });
  opened.push(made);
  return made;
}

const seconds = (count: number) => {
  clock += count * 1000;
};

async function login(more: object = {}, where: object = {}): Promise<string> {
  const result = await accounts.login({ name: 'ada', password, ...more }, { ...from, ...where });
  if (result.kind === 'wait') return `wait ${result.seconds}`;
  return result.kind === 'begun' ? result.session.secret : result.kind;
}

const file = () => join(root, 'var/lib/pi-gatewayd/accounts.json');

test('the claim code makes one admin, once', async () => {
  let used = 0;
  const use = async () => {
    used += 1;
  };
  expect(accounts.claimed()).toBe(false);
  const results = await Promise.allSettled(
    ['ada', 'eve', 'bob'].map((name) => accounts.claim({ name, password }, use, from)),
  );
  expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected', 'rejected']);
  expect(used).toBe(1);
  expect(accounts.list()).toMatchObject([{ name: 'ada', role: 'admin' }]);
  expect(accounts.claimed()).toBe(true);
});

test.each(['refused', 'conflict'] as const)(
  'a wrong claim code makes no account, and guessing it is slowed down (%s)',
  async (kind) => {
    const wrong = async () => {
      throw new GatewayError('That is not the code', 'Look', kind);
    };
    for (let i = 0; i < 5; i += 1) {
      await expect(accounts.claim({ name: 'eve', password }, wrong, from)).rejects.toThrow(
        'not the code',
      );
      seconds(1);
    }
    await accounts.claim({ name: 'eve', password }, wrong, from).catch(() => undefined);
    expect(await accounts.claim({ name: 'eve', password }, wrong, from)).toMatchObject({
      kind: 'wait',
    });
    expect(accounts.claimed()).toBe(false);
    expect((await open()).claimed()).toBe(false);
  },
);

test('a power cut between the used code and the account does not leave a gateway without owner', async () => {
  const use = async () => {
    throw new UnavailableError('The helper ended before it answered', 'See');
  };
  await expect(accounts.claim({ name: 'ada', password }, use, from)).rejects.toThrow('helper');
  const after = await open();
  expect(after.claimed()).toBe(false);
  const isUsed = async () => {
    throw new GatewayError('It is used', 'Log in', 'missing');
  };
  const other = { name: 'ada', password: 'another long password' };
  await expect(after.claim(other, isUsed, from)).rejects.toThrow('used');
  // What somebody else sends takes nothing from the owner to be.
  await expect(
    (await open()).claim({ name: 'ada', password }, isUsed, from),
  ).resolves.toMatchObject({ kind: 'begun' });
  expect((await open()).list()).toMatchObject([{ name: 'ada', role: 'admin' }]);
});

test('accounts that cannot be understood are put aside: nobody gets in, and nobody is the first visitor', async () => {
  await accounts.add({ name: 'ada', role: 'admin', password });
  await writeFile(file(), (await readFile(file(), 'utf8')).slice(0, 40));
  for (let i = 0; i < 2; i += 1) {
    accounts = await open();
    expect(accounts.claimed()).toBe(true);
    expect(await login()).toBe('wrong');
    await expect(
      accounts.claim({ name: 'eve', password }, async () => undefined, from),
    ).rejects.toMatchObject({
      kind: 'conflict',
      fix: expect.stringContaining('pi-gateway account add'),
    });
  }
  expect(said[0]).toContain('pi-gateway account add');
  expect(await readFile(`${file()}.damaged`, 'utf8')).toContain('version');
  await accounts.add({ name: 'ada', role: 'admin', password });
  expect((await login()).length).toBe(43);
});

test('changes at once lose nothing, and each is on file', async () => {
  accounts = await open({ hasher: new PasswordHasher(cheap, 100) });
  const names = Array.from({ length: 20 }, (_, i) => `user${i}`);
  await Promise.all(names.map((name) => accounts.add({ name, role: 'admin', password })));
  await Promise.all([
    ...names.slice(0, 10).map((name) => accounts.remove(name)),
    ...names.slice(10).map((name) => accounts.addToken(name, { name, role: 'viewer' })),
    ...names.slice(10).map((name) => accounts.change(name, { password: `${password} too` })),
  ]);
  const stored = JSON.parse(await readFile(file(), 'utf8'));
  expect(stored.accounts.map((one: { name: string }) => one.name)).toEqual(names.slice(10));
  expect(stored.tokens).toHaveLength(10);
});

test('the last admin can be neither removed nor made a viewer', async () => {
  await accounts.add({ name: 'ada', role: 'admin', password });
  await accounts.add({ name: 'bob', role: 'viewer', password });
  await expect(accounts.remove('ada')).rejects.toMatchObject({ kind: 'conflict' });
  await expect(accounts.change('ada', { role: 'viewer' })).rejects.toMatchObject({
    kind: 'conflict',
  });
  await accounts.change('bob', { role: 'admin' });
  await accounts.remove('ada');
  expect(accounts.list().map(({ name }) => name)).toEqual(['bob']);
});

test('a session ends when nobody uses it, at its own end, with the password, the role and the account', async () => {
  await accounts.add({ name: 'ada', role: 'admin', password });
  await accounts.add({ name: 'bob', role: 'admin', password });
  const idle = await login();
  seconds(29 * 60);
  expect(accounts.bySession(idle, false)?.principal).toMatchObject({ name: 'ada', role: 'admin' });
  seconds(61);
  expect(accounts.bySession(idle)).toBeUndefined();
  const long = await login();
  for (let i = 0; i < 5; i += 1) {
    seconds(24 * 60 - 1);
    expect(accounts.bySession(long), String(i)).toBeDefined();
  }
  seconds(10);
  expect(accounts.bySession(long)).toBeUndefined();
  for (const change of [{ password: `${password}!` }, { role: 'viewer' as const }]) {
    await accounts.change('ada', { password });
    const secret = await login();
    await accounts.change('ada', change);
    expect(accounts.bySession(secret)).toBeUndefined();
  }
  await accounts.change('ada', { password });
  const last = await login();
  await accounts.remove('ada');
  expect(accounts.bySession(last)).toBeUndefined();
});

test("one's own new password ends all other sessions and needs the old one", async () => {
  await accounts.add({ name: 'ada', role: 'admin', password });
  const here = await login();
  const other = await login();
  const keep = accounts.bySession(here)?.sessionId;
  const next = 'a wholly different one';
  const change = (current: string) =>
    accounts.changePassword('ada', current, next, { ...from, keep });
  expect(await change('wrong one')).toEqual({ kind: 'wrong' });
  expect(accounts.bySession(other)).toBeDefined();
  expect(await change(password)).toEqual({ kind: 'begun' });
  expect(accounts.bySession(here)).toBeDefined();
  expect(accounts.bySession(other)).toBeUndefined();
  expect(await login()).toBe('wrong');
  expect((await login({ password: next })).length).toBe(43);
});

test('sessions outlive the daemon as digests, and go on ending in time', async () => {
  await accounts.add({ name: 'ada', role: 'admin', password });
  const secret = await login();
  await accounts.close();
  expect(await readFile(join(root, 'run/pi-gatewayd/sessions.json'), 'utf8')).not.toContain(secret);
  accounts = await open();
  expect(accounts.bySession(secret, false)?.principal.name).toBe('ada');
  seconds(31 * 60);
  expect(accounts.bySession(secret)).toBeUndefined();
  await writeFile(join(root, 'run/pi-gatewayd/sessions.json'), '{"x":');
  expect((await open()).sessions('ada')).toEqual([]);
});

test('the sessions of an account are bounded: the one used longest ago gives way', async () => {
  await accounts.add({ name: 'ada', role: 'admin', password });
  const first = await login();
  for (let i = 0; i < 32; i += 1) {
    seconds(1);
    await login();
  }
  expect(accounts.sessions('ada')).toHaveLength(32);
  expect(accounts.bySession(first)).toBeUndefined();
});

test('a code of the app is good once, and recovery codes are, too', async () => {
  await accounts.add({ name: 'ada', role: 'admin', password });
  const { secret, uri } = accounts.beginTotp('ada');
  expect(uri).toContain(`secret=${secret}`);
  const code = (steps = 0) => hotp(fromBase32(secret), Math.floor(clock / 30_000) + steps);
  await expect(accounts.confirmTotp('ada', '000000')).rejects.toMatchObject({ kind: 'refused' });
  expect((await login()).length, 'not on yet').toBe(43);
  const recovery = await accounts.confirmTotp('ada', code());
  expect(recovery).toHaveLength(10);
  expect(await login()).toBe('code-needed');
  expect(await login({ code: code() }), 'the one of the set-up').toBe('wrong');
  seconds(30);
  const now = code();
  expect((await login({ code: now })).length).toBe(43);
  expect(await login({ code: now })).toBe('wrong');
  expect(await login({ code: code(-1) })).toBe('wrong');
  expect(
    (await login({ code: code(1) }, { address: '192.168.1.21' })).length,
    'a clock ahead',
  ).toBe(43);
  // Also after a restart.
  await accounts.close();
  accounts = await open();
  expect(await login({ code: code(1) })).toBe('wrong');
  const typed = String(recovery[3]).toUpperCase().replace('-', ' ');
  expect((await login({ code: typed })).length).toBe(43);
  expect(await login({ code: recovery[3] })).toBe('wrong');
  expect(await readFile(file(), 'utf8')).not.toContain(recovery[4]);
  await accounts.change('ada', { totp: false });
  expect((await login()).length).toBe(43);
});

test('one code sent twice at the same moment logs in once', async () => {
  await accounts.add({ name: 'ada', role: 'admin', password });
  const { secret } = accounts.beginTotp('ada');
  const code = () => hotp(fromBase32(secret), Math.floor(clock / 30_000));
  await accounts.confirmTotp('ada', code());
  seconds(30);
  const both = await Promise.all([login({ code: code() }), login({ code: code() })]);
  expect(both.filter((one) => one === 'wrong')).toHaveLength(1);
});

test('who guesses waits ever longer, costs no hash meanwhile, and keeps the owner out from nowhere else', async () => {
  let hashes = 0;
  const counting = new (class extends PasswordHasher {
    override verify(given: string, hash: string | undefined) {
      hashes += 1;
      return super.verify(given, hash);
    }
  })(cheap);
  accounts = await open({ hasher: counting });
  await accounts.add({ name: 'ada', role: 'admin', password });
  expect((await login({}, { address: '192.168.1.7' })).length).toBe(43);
  hashes = 0;
  const evil = { address: '2001:db8:0:1::1' };
  for (let i = 0; i < 500; i += 1)
    await login({ password: `guess ${i}` }, { address: `2001:db8:0:1::${i.toString(16)}` });
  expect(hashes).toBeLessThan(10);
  expect(await login({}, evil)).toMatch(/^wait \d+$/);
  expect((await login()).length, 'another address').toBe(43);
  // From many networks at once: elsewhere the account waits for seconds, where it has been before not at all.
  for (let i = 0; i < 60; i += 1) {
    await login({ password: 'guess' }, { address: `203.0.113.${i}` });
    seconds(0.1);
  }
  expect(await login({}, { address: '198.51.100.1' })).toMatch(/^wait [12]?\d$|^wait 30$/);
  expect((await login({}, { address: '192.168.1.7' })).length).toBe(43);
  seconds(31);
  expect((await login({}, { address: '198.51.100.1' })).length).toBe(43);
});

test('a wrong code counts as a failure, so nobody who knows the password tries all of them', async () => {
  await accounts.add({ name: 'ada', role: 'admin', password });
  const { secret } = accounts.beginTotp('ada');
  await accounts.confirmTotp('ada', hotp(fromBase32(secret), Math.floor(clock / 30_000)));
  const answers = new Set<string>();
  for (let i = 0; i < 50; i += 1)
    answers.add((await login({ code: String(100_000 + i) })).split(' ')[0] ?? '');
  expect([...answers]).toEqual(['wrong', 'wait']);
});

test('a hash of another cost is made anew at the next login', async () => {
  await accounts.add({ name: 'ada', role: 'admin', password });
  expect(await readFile(file(), 'utf8')).toContain('ln=4,r=8,p=1');
  accounts = await open({ hasher: new PasswordHasher({ ln: 5, r: 8, p: 2 }) });
  expect((await login()).length).toBe(43);
  expect(await readFile(file(), 'utf8')).toContain('ln=5,r=8,p=2');
  expect((await login()).length).toBe(43);
});

test('a token is kept as a digest, has an end, and may no more than its owner', async () => {
  await accounts.add({ name: 'ada', role: 'admin', password });
  await accounts.add({ name: 'bob', role: 'admin', password });
  const expires = clock + 60_000;
  const { token, view } = await accounts.addToken('bob', {
    name: 'backup',
    role: 'admin',
    expires,
  });
  expect(token).toMatch(/^pgw_[A-Za-z0-9_-]{49}$/);
  expect(await readFile(file(), 'utf8')).not.toContain(token.slice(4, 30));
  expect(accounts.byToken(token)?.principal).toMatchObject({
    name: 'backup',
    role: 'admin',
    via: 'token',
  });
  expect(
    accounts.byToken(`${token.slice(0, -1)}${token.endsWith('A') ? 'B' : 'A'}`),
  ).toBeUndefined();
  await accounts.change('bob', { role: 'viewer' });
  expect(accounts.byToken(token)?.principal.role).toBe('viewer');
  seconds(61);
  expect(accounts.byToken(token)).toBeUndefined();
  await expect(
    accounts.addToken('bob', { name: 'old', role: 'viewer', expires: clock }),
  ).rejects.toMatchObject({ kind: 'refused' });
  await accounts.removeToken(view.id);
  expect(accounts.tokens()).toEqual([]);
  const { token: next } = await accounts.addToken('bob', { name: 'next', role: 'viewer' });
  await accounts.remove('bob');
  expect(accounts.byToken(next)).toBeUndefined();
});

test('when a token was used is written once an hour', async () => {
  const { token } = await accounts.addToken('cli/root', { name: 'graphs', role: 'viewer' });
  const writes = new Set<string>();
  for (let i = 0; i < 100; i += 1) {
    accounts.byToken(token);
    await accounts.close();
    writes.add(await readFile(file(), 'utf8'));
    seconds(60);
  }
  expect(writes.size).toBe(2);
  expect(accounts.tokens()[0]?.lastUsed).toBe(clock - 40 * 60_000);
});

test.each([
  ['short', 'too short'],
  ['password1234', 'first that anybody tries'],
  ['PasswordPassword', 'first that anybody tries'],
  ['abcabcabcabc', 'again and again'],
  ['aaaaaaaaaaaaaaa', 'again and again'],
  ['123456789012345', 'row of keys'],
  ['zyxwvutsrqponm', 'row of keys'],
  ['gateway-raspberry-ada', 'name'],
  ['ada-pi-gateway', 'name'],
])('the password %s is refused: %s', (given, why) => {
  expect(() => refuseWeak(given, 'ada')).toThrow(why);
});

test.each(['four words nobody guesses', 'ñandú öst 東京 каша', 'correct1horse2battery'])(
  'the password %s is taken: length counts, not kinds of characters',
  (given) => {
    expect(() => refuseWeak(given, 'ada')).not.toThrow();
  },
);

test('a password is the same however a keyboard composes its characters', async () => {
  const hasher = new PasswordHasher(cheap);
  const hash = await hasher.hash('Müller ist ein Name'.normalize('NFD'));
  expect(await hasher.verify('Müller ist ein Name'.normalize('NFC'), hash)).toEqual({
    ok: true,
    stale: false,
  });
});

test('an unknown name takes as long as a wrong password', async () => {
  const hasher = new PasswordHasher({ ln: 12, r: 8, p: 1 });
  const hash = await hasher.hash(password);
  const time = async (of: string | undefined) => {
    const started = performance.now();
    for (let i = 0; i < 4; i += 1) expect((await hasher.verify('wrong', of)).ok).toBe(false);
    return performance.now() - started;
  };
  // Of several rounds the shortest: what else a machine does only adds.
  let [known, unknown] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let round = 0; round < 5; round += 1) {
    known = Math.min(known, await time(hash));
    unknown = Math.min(unknown, await time(undefined));
  }
  expect(unknown / known).toBeGreaterThan(0.5);
  expect(unknown / known).toBeLessThan(2);
});

test('passwords are checked one by one, and more than a few waiting are turned away', async () => {
  const hasher = new PasswordHasher(cheap, 4);
  const results = await Promise.allSettled(
    Array.from({ length: 10 }, async () => await hasher.hash(password)),
  );
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(4);
  expect(await hasher.hash(password)).toContain('$scrypt$');
});
