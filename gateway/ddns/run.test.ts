import { beforeEach, describe, expect, test } from 'vitest';
import type { Family } from './address.ts';
import type { Verdict } from './discover/votes.ts';
import { type HttpRequest, type HttpResponse, NoAnswerError } from './http.ts';
import { backOff, register } from './run.ts';
import { type DdnsSettings, ddnsSettings } from './settings.ts';
import { freshState, keyOf, parseState, type State } from './state.ts';
import { conclude } from './status.ts';
import { alertText, statusText } from './view.ts';

/**
 * The run over hours and days of a clock of its own. The providers are functions from a request to a
 * response here; providers.test.ts has them as servers.
 */
const minute = 60_000;
const day = 24 * 60 * minute;
const token = 's3cr3t-t0ken';
const password = 'pa55-w0rd';

let now = 0;
let state: State;
let said: string[] = [];
let sent: string[] = [];
let address: Partial<Record<Family, string>>;
let gone: Family[];
/** What the hosts answer; a string is the body of an HTTP 200. */
let hosts: Record<string, (request: URL) => string | number>;
let settings: DdnsSettings;

beforeEach(() => {
  now = Date.parse('2026-01-02T03:04:05Z');
  state = freshState();
  said = [];
  sent = [];
  gone = [];
  address = { 4: '1.2.3.4' };
  hosts = {
    'www.duckdns.org': () => 'OK',
    'dynupdate.no-ip.com': (url) =>
      `good ${url.searchParams.get('myip') ?? url.searchParams.get('myipv6')}`,
  };
  settings = given();
});

function given(more: Record<string, unknown> = {}, duck = token): DdnsSettings {
  return ddnsSettings.parse({
    providers: [
      { type: 'duckdns', hostnames: ['attic.duckdns.org'], token: duck },
      { type: 'noip', hostnames: ['attic.ddns.net'], username: 'u', password },
    ],
    ...more,
  });
}

async function exchange({ url }: HttpRequest): Promise<HttpResponse> {
  const where = new URL(url);
  sent.push(`${where.host} ${where.search}`);
  const answer = hosts[where.host]?.(where) ?? 'down';
  if (answer === 'down') throw new NoAnswerError(`${where.host}: the connection was refused`);
  return typeof answer === 'number'
    ? { status: answer, headers: {}, body: '' }
    : { status: 200, headers: {}, body: answer };
}

const verdicts = (): Verdict[] =>
  ([4, 6] as const).map((family) => ({
    family,
    agreed: [],
    notes: [],
    gone: gone.includes(family),
    ...(address[family] === undefined ? {} : { address: address[family] }),
  }));

/** One run, with the state through a file's text and back; @returns the requests that it made. */
async function once(uptime = day) {
  const before = sent.length;
  const seen = verdicts();
  const entries = await register(settings, seen, state, () => ({
    exchange,
    run: async () => ({ code: 127, output: '' }),
    now: () => now,
    random: () => 0,
    save: async (kept) => {
      expect(parseState(JSON.stringify(kept)), 'the state can be read again').toEqual(kept);
    },
    say: (text) => said.push(text),
  }));
  const status = conclude(entries, seen, settings.timings, state, now, uptime);
  state = parseState(JSON.stringify(state)) ?? freshState();
  return { status, requests: sent.slice(before) };
}

/** Runs every 5 minutes for so long; @returns the last status and all requests. */
async function during(time: number) {
  const requests: string[] = [];
  let last = await once();
  requests.push(...last.requests);
  for (const end = now + time; now < end; ) {
    now += 5 * minute;
    last = await once();
    requests.push(...last.requests);
  }
  return { status: last.status, requests };
}

const down = () => 'down';

describe('an address', () => {
  test('is sent once, and not again while it stays', async () => {
    const { status, requests } = await during(day);
    expect(requests).toHaveLength(1);
    expect(status).toMatchObject({ state: 'registered', registered: true, failed: false });
    expect(status.summary).toBe('attic.duckdns.org is registered at DuckDNS with 1.2.3.4');
  });

  test('is sent again when it has changed', async () => {
    await once();
    address = { 4: '1.2.3.5' };
    now += 5 * minute;
    expect((await once()).requests).toEqual([expect.stringContaining('ip=1.2.3.5')]);
  });

  test('that flaps is sent at most every 5 minutes', async () => {
    for (let second = 0; second < 3600; second += 30) {
      address = { 4: `1.2.3.${(second / 30) % 200}` };
      await once();
      now += 30_000;
    }
    expect(sent.length).toBeLessThanOrEqual(12);
  });

  test('that stays is refreshed after 25 days', async () => {
    expect((await during(24 * day)).requests).toHaveLength(1);
    expect((await during(2 * day)).requests).toHaveLength(1);
  });

  test('of each family goes on its own: a failure of one holds the other up in nothing', async () => {
    address = { 4: '1.2.3.4', 6: '2606:4700::1' };
    hosts['www.duckdns.org'] = (url) => (url.searchParams.has('ip') ? 'KO' : 'OK');
    const { status } = await once();
    expect(status.registered).toBe(true);
    expect(status.providers[0]?.records).toMatchObject([
      { type: 'A', address: null, failures: 1 },
      { type: 'AAAA', address: '2606:4700::1', failures: 0 },
    ]);
  });
});

describe('failures', () => {
  test('are tried again ever less often, with Retry-After and 911 obeyed', async () => {
    settings = given({ providers: [given().providers[1]] });
    hosts['dynupdate.no-ip.com'] = () => '911';
    await once();
    now += 29 * minute;
    expect((await once()).requests).toEqual([]);
    now += minute;
    expect((await once()).requests).toHaveLength(1);
  });

  test('of a whole day make few requests', async () => {
    settings = given({ providers: [given().providers[0]] });
    hosts['www.duckdns.org'] = () => 502;
    expect((await during(day)).requests.length).toBeLessThan(32);
  });

  test('without a reason are tried thrice, then hourly', async () => {
    settings = given({ providers: [given().providers[0]] });
    hosts['www.duckdns.org'] = () => 'KO';
    const { requests, status } = await during(5 * 60 * minute);
    expect(requests.length).toBeGreaterThanOrEqual(6);
    expect(requests.length).toBeLessThanOrEqual(8);
    expect(statusText(status)).toContain('Check the token');
  });

  test.each(['badauth', 'abuse', 'badagent', '!donator', 'nohost'])(
    'that only the owner can mend stop everything: %s',
    async (answer) => {
      settings = given({ providers: [given().providers[1]] });
      address = { 4: '1.2.3.4', 6: '2606:4700::1' };
      hosts['dynupdate.no-ip.com'] = () => answer;
      const { requests, status } = await during(30 * day);
      expect(requests).toHaveLength(1);
      expect(status).toMatchObject({ state: 'unregistered', failed: true });
      expect(statusText(status)).toMatch(/No-IP +stopped[\s\S]*→ /);
    },
  );

  test('and stops end when the owner changes the secret, at once', async () => {
    hosts['www.duckdns.org'] = () => 'KO';
    settings = given({ providers: [given().providers[0]] });
    await during(60 * minute);
    hosts['www.duckdns.org'] = () => 'OK';
    settings = given({ providers: [given({}, 'another-token').providers[0]] });
    expect((await once()).status.state).toBe('registered');
  });

  test('are doubled up to an hour', () => {
    const { timings } = settings;
    expect([1, 2, 3, 4, 5, 6, 7, 1e6].map((n) => backOff(n, timings) / minute)).toEqual([
      2, 4, 8, 16, 32, 60, 60, 60,
    ]);
  });
});

describe('fall-back', () => {
  beforeEach(() => {
    hosts['www.duckdns.org'] = down;
  });

  test('comes when the first provider stays down, not at its first failure', async () => {
    const first = await once();
    expect(first.requests.join()).not.toContain('no-ip');
    expect(first.status).toMatchObject({ state: 'pending', registered: false, failed: false });
    const { status } = await during(20 * minute);
    expect(status).toMatchObject({
      state: 'fallback',
      registered: true,
      failed: false,
      active: { provider: 'No-IP', hostnames: ['attic.ddns.net'] },
    });
    expect(status.summary).toBe(
      'DuckDNS (attic.duckdns.org) is down: in its place attic.ddns.net is registered at No-IP with 1.2.3.4',
    );
    expect(alertText(status)).toBe(status.summary);
    expect(status.providers.map((one) => one.state)).toEqual(['down', 'active']);
  });

  test('comes at once when the first is stopped', async () => {
    hosts['www.duckdns.org'] = () => 401;
    expect((await once()).status.state).toBe('fallback');
  });

  test('ends when the first is back, and the second is left alone', async () => {
    await during(3 * 60 * minute);
    hosts['www.duckdns.org'] = () => 'OK';
    const { status } = await during(75 * minute);
    expect(status).toMatchObject({ state: 'registered', active: { provider: 'DuckDNS' } });
    expect(alertText(status)).toBe('');
    address = { 4: '1.2.3.9' };
    const { requests } = await during(60 * minute);
    expect(requests).toEqual([expect.stringContaining('duckdns')]);
  });

  test('goes on to follow the address while the first is away', async () => {
    await during(60 * minute);
    address = { 4: '1.2.3.9' };
    expect((await during(30 * minute)).status.summary).toContain('at No-IP with 1.2.3.9');
  });

  test('is taken for a family that the first cannot have', async () => {
    settings = ddnsSettings.parse({
      providers: [
        { type: 'namecheap', zone: 'example.org', hostnames: ['example.org'], password },
        { type: 'noip', hostnames: ['attic.ddns.net'], username: 'u', password },
      ],
    });
    address = { 6: '2606:4700::1' };
    gone = [4];
    expect((await once()).status).toMatchObject({ active: { provider: 'No-IP' } });
  });

  test('with nobody left is a failure after half an hour, not before', async () => {
    hosts['dynupdate.no-ip.com'] = down;
    expect((await during(25 * minute)).status).toMatchObject({ state: 'pending', failed: false });
    expect((await during(10 * minute)).status).toMatchObject({
      state: 'unregistered',
      failed: true,
    });
  });

  test('is not brought about by a clock that jumps years ahead when it is set', async () => {
    await once();
    now += 400 * day;
    const { status } = await once(60_000);
    expect(status).toMatchObject({ state: 'unregistered', failed: false });
    expect(sent.join()).not.toContain('no-ip');
  });
});

test('a day without network or power is no time of failing: one failure after it brings no fall-back', async () => {
  hosts['www.duckdns.org'] = down;
  await once();
  now += day;
  const { status } = await once();
  expect(status.providers.map((one) => one.state)).toEqual(['failing', 'standby']);
  expect(sent.join()).not.toContain('no-ip');
});

describe('the network', () => {
  test('that is absent at boot is nobody’s failure; its return is used at once', async () => {
    address = {};
    gone = [4, 6];
    const { status } = await once(60_000);
    expect(status).toMatchObject({ state: 'offline', registered: false, failed: false });
    expect(sent).toEqual([]);
    address = { 4: '1.2.3.4' };
    gone = [];
    now += minute;
    expect((await once()).status.state).toBe('registered');
  });

  test('that goes away leaves the name where it is', async () => {
    await once();
    address = {};
    gone = [4, 6];
    const { status, requests } = await during(10 * day);
    expect(status).toMatchObject({ state: 'offline', registered: true, failed: false });
    expect(status.summary).toContain('attic.duckdns.org at DuckDNS stays as it was');
    expect(requests).toEqual([]);
  });
});

describe('IPv6 that disappears', () => {
  beforeEach(async () => {
    address = { 4: '1.2.3.4', 6: '2606:4700::1' };
  });
  const leave = () => {
    address = { 4: '1.2.3.4' };
    gone = [6];
  };

  test('for a moment changes nothing; for long its record is cleared, and IPv4 sent again', async () => {
    hosts['www.duckdns.org'] = (url) => (url.searchParams.has('clear') ? 'OK' : 'OK');
    await once();
    leave();
    expect((await during(20 * minute)).requests).toEqual([]);
    const { requests, status } = await during(20 * minute);
    expect(requests).toEqual([
      expect.stringContaining('clear=true'),
      expect.stringContaining('ip=1.2.3.4'),
    ]);
    expect(status.providers[0]?.records[1]).toMatchObject({ type: 'AAAA', address: null });
  });

  test('where the protocol cannot clear is said to be left', async () => {
    settings = given({ providers: [given().providers[1]] });
    await once();
    leave();
    const { status, requests } = await during(2 * 60 * minute);
    expect(requests).toEqual([]);
    expect(statusText(status)).toContain(
      'IPv6 is gone; No-IP cannot clear the AAAA record: it is left at 2606:4700::1',
    );
  });

  test('only in doubt, as when services disagree, clears nothing', async () => {
    await once();
    address = { 4: '1.2.3.4' };
    expect((await during(5 * 60 * minute)).requests).toEqual([]);
  });
});

test('no secret is in the state, in a log line or in the status, not even one that a provider repeats', async () => {
  const leak = (url: URL) => `ERROR: token ${url.searchParams.get('token')} ${token} is wrong`;
  hosts['www.duckdns.org'] = leak;
  hosts['dynupdate.no-ip.com'] = () =>
    `see https://x.example/?p=${password} ${Buffer.from(password).toString('base64')}`;
  const { status } = await during(2 * 60 * minute);
  expect(status.providers[0]?.records[0]?.notes.join()).toContain('token ***');
  const everything = [JSON.stringify(state), ...said, JSON.stringify(status), statusText(status)];
  for (const secret of [token, password, Buffer.from(password).toString('base64')])
    expect(everything.join('\n')).not.toContain(secret);
});

test('no part of a secret is left where a long answer is cut', async () => {
  settings = given({ providers: [given().providers[0]] });
  for (let before = 40; before < 125; before += 1) {
    hosts['www.duckdns.org'] = () => `${'x'.repeat(before)}${token}${'y'.repeat(200)}`;
    const { status } = await once();
    expect(statusText(status)).toContain('xxxx');
    expect(statusText(status) + said.join()).not.toContain(token.slice(0, 4));
    now += 2 * 60 * minute;
  }
  expect(sent.length).toBeGreaterThan(80);
});

test('a provider with other settings is another one; its key tells no secret', () => {
  const [one, other] = [given().providers[0], given({}, 'another').providers[0]];
  if (!one || !other) throw new Error('no providers');
  expect(keyOf(one)).toBe(keyOf(other));
  expect(keyOf({ ...one, hostnames: ['b.duckdns.org'] })).not.toBe(keyOf(one));
});
