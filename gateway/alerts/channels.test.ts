import { createServer as createHttp, type RequestListener } from 'node:http';
import { type AddressInfo, createServer as createTcp, type LookupFunction } from 'node:net';
import { SMTPServer } from 'smtp-server';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type Authority, makeAuthority } from '../ddns/testing.ts';
import { channelOf } from './channels/all.ts';
import type { World } from './channels/channel.ts';
import { type Heartbeat, startHeartbeat } from './heartbeat.ts';
import type { Message } from './message.ts';
import type { Outcome } from './queue.ts';
import { secretsOf } from './secrets.ts';
import { alertSettings } from './settings.ts';
import {
  heartbeatUrl,
  type Receivers,
  type SettingsInput,
  secrets,
  startReceivers,
} from './testing.ts';

/** What each server may answer, by its documentation, and what comes of it. */

let authority: Authority;
let to: Receivers;
const closing: (() => Promise<void> | void)[] = [];

beforeAll(async () => {
  authority = await makeAuthority();
  to = await startReceivers({ authority });
});
afterAll(() => to.close());
afterEach(async () => {
  for (const kind of ['mail', 'webhook', 'slack', 'ntfy', 'heartbeat'] as const)
    to.answer(kind, undefined);
  for (const close of closing.splice(0)) await close();
});

const now = Date.UTC(2026, 0, 2, 3, 4, 5);
const message: Message = { id: 'm1', at: now, events: [], dropped: 0, summary: false };
const stopped = new AbortController();

type Input = NonNullable<SettingsInput['channels']>[number];

async function send(channel: Input, more: Partial<World> = {}): Promise<Outcome> {
  const settings = alertSettings.parse({ channels: [channel] });
  const [one] = settings.channels;
  if (!one) throw new Error('no channel');
  return await channelOf(one, secretsOf(settings)).send(message, {
    ...{ host: 'attic', timeZone: 'UTC', now: () => now, signal: stopped.signal },
    ...more,
  });
}

function channel(type: Input['type']): Input {
  const found = to.settings().channels?.find((one) => one.type === type);
  if (!found) throw new Error(`no ${type}`);
  return found;
}

describe('Slack', () => {
  // https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks, Handling errors
  test.each([
    [200, 'ok', 'delivered'],
    [400, 'invalid_payload', 'refused'],
    [400, 'too_many_attachments', 'refused'],
    [400, 'user_not_found', 'stopped'],
    [400, 'no_text', 'refused'],
    [403, 'action_prohibited', 'stopped'],
    [403, 'posting_to_general_channel_denied', 'stopped'],
    [403, 'invalid_token', 'stopped'],
    [404, 'channel_not_found', 'stopped'],
    [404, 'no_service', 'stopped'],
    [404, 'no_team', 'stopped'],
    [410, 'channel_is_archived', 'stopped'],
    [429, 'rate_limited', 'retry'],
    [500, 'rollup_error', 'retry'],
  ] as const)('answers %d %s: %s', async (status, body, kind) => {
    to.answer('slack', { status, body });
    expect(await send(channel('slack'))).toMatchObject({ kind });
  });

  test('is left alone for as long as it wants', async () => {
    to.answer('slack', { status: 429, headers: { 'retry-after': '30' } });
    expect(await send(channel('slack'))).toMatchObject({ kind: 'retry', after: 30 });
    const date = new Date(now + 90_000).toUTCString();
    to.answer('slack', { status: 503, headers: { 'retry-after': date } });
    expect(await send(channel('slack'))).toMatchObject({ kind: 'retry', after: 90 });
  });
});

describe('ntfy', () => {
  // server/errors.go of ntfy
  test.each([
    [200, '{"id":"hwQ2YpKdmg","event":"message"}', 'delivered'],
    [400, '{"code":40009,"http":400,"error":"invalid request: topic invalid"}', 'stopped'],
    [
      400,
      '{"code":40010,"http":400,"error":"invalid request: topic name is disallowed"}',
      'stopped',
    ],
    [400, '{"code":40017,"http":400,"error":"request body must be message JSON"}', 'refused'],
    [401, '{"code":40101,"http":401,"error":"unauthorized"}', 'stopped'],
    [403, '{"code":40301,"http":403,"error":"forbidden"}', 'stopped'],
    [413, '{"code":41303,"http":413,"error":"JSON body too large"}', 'refused'],
    [429, '{"code":42901,"http":429,"error":"limit reached: too many requests"}', 'retry'],
    [429, '{"code":42908,"http":429,"error":"limit reached: too many messages"}', 'retry'],
    [500, '{"code":50001,"http":500,"error":"internal server error"}', 'retry'],
    [507, '{"code":50701,"http":507,"error":"insufficient storage"}', 'retry'],
  ] as const)('answers %d %s: %s', async (status, body, kind) => {
    to.answer('ntfy', { status, body });
    expect(await send(channel('ntfy'))).toMatchObject({ kind });
  });

  test('has the topic in no URL', () => {
    expect(to.ntfy.length).toBeGreaterThan(0);
    for (const { path } of to.ntfy) expect(path).toBe('/');
  });
});

describe('a webhook', () => {
  test.each([
    [200, 'delivered'],
    [202, 'delivered'],
    [204, 'delivered'],
    [301, 'stopped'],
    [302, 'stopped'],
    [400, 'refused'],
    [401, 'stopped'],
    [404, 'stopped'],
    [408, 'retry'],
    [410, 'stopped'],
    [413, 'refused'],
    [422, 'refused'],
    [425, 'retry'],
    [429, 'retry'],
    [500, 'retry'],
    [502, 'retry'],
    [503, 'retry'],
  ] as const)('answers %d: %s', async (status, kind) => {
    to.answer('webhook', { status });
    expect(await send(channel('webhook'))).toMatchObject({ kind });
  });

  test('that redirects is not followed', async () => {
    const before = to.slack.length;
    const { url } = channel('slack') as { url: string };
    to.answer('webhook', { status: 307, headers: { location: url } });
    const outcome = await send(channel('webhook'));
    expect(outcome).toMatchObject({
      kind: 'stopped',
      reason: expect.stringMatching(/redirects \(307\).*final URL/),
    });
    expect(to.slack.length).toBe(before);
  });

  test('that answers without end is cut off', async () => {
    to.answer('webhook', { status: 500, body: 'x'.repeat(200_000) });
    expect(await send(channel('webhook'))).toMatchObject({
      kind: 'retry',
      reason: expect.stringMatching(/longer than/),
    });
  });
});

describe('http://', () => {
  const listen = async (listener: RequestListener): Promise<number> => {
    const server = createHttp(listener);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    closing.push(() => {
      server.closeAllConnections();
      server.close();
    });
    return (server.address() as AddressInfo).port;
  };
  const lookup =
    (address: string): LookupFunction =>
    (_name, options, done) =>
      options.all ? done(null, [{ address, family: 4 }]) : done(null, address, 4);

  test('goes to a private address if the owner says so, and to no public one', async () => {
    let asked = 0;
    const port = await listen((_request, response) => {
      asked += 1;
      response.end('ok');
    });
    const hook = { type: 'webhook', url: `http://hook.lan:${port}/x`, allow_http: true } as const;
    expect(await send(hook, { lookup: lookup('127.0.0.1') })).toMatchObject({ kind: 'delivered' });
    expect(asked).toBe(1);
    expect(await send(hook, { lookup: lookup('9.9.9.9') })).toMatchObject({
      kind: 'retry',
      reason: expect.stringMatching(/has a public address/),
    });
  });
});

describe('a mail server', () => {
  test.each([
    [451, 'retry', /answered 451 busy/],
    [421, 'retry', /answered 421/],
    [552, 'refused', /answered 552/],
    [554, 'refused', /answered 554/],
  ] as const)('answers the mail with %d: %s', async (status, kind, reason) => {
    to.answer('mail', { status, body: 'busy' });
    expect(await send(channel('mail'))).toMatchObject({
      kind,
      reason: expect.stringMatching(reason),
    });
  });

  /** An SMTP server of a test's own. */
  const serve = async (options: ConstructorParameters<typeof SMTPServer>[0]): Promise<number> => {
    const { key, cert } = authority;
    const server = new SMTPServer({ key, cert, disableReverseLookup: true, ...options });
    server.on('error', () => undefined);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    closing.push(() => new Promise<void>((resolve) => server.close(resolve)));
    return (server.server.address() as AddressInfo).port;
  };

  test('without STARTTLS gets neither the password nor the mail', async () => {
    const commands: string[] = [];
    const port = await serve({
      disabledCommands: ['STARTTLS'],
      authOptional: true,
      onAuth: (auth, _session, done) => {
        commands.push(auth.method);
        done(null, { user: 'x' });
      },
      onMailFrom: (_address, _session, done) => {
        commands.push('MAIL');
        done();
      },
    });
    const outcome = await send({ ...channel('mail'), port } as Input);
    expect(outcome).toMatchObject({
      kind: 'stopped',
      reason: expect.stringMatching(/STARTTLS.*tls: implicit/),
    });
    expect(commands).toEqual([]);
  });

  test('that is asked in the clear by a man in the middle is told nothing', async () => {
    const heard: string[] = [];
    const server = createTcp((socket) => {
      socket.on('error', () => undefined);
      socket.write('220 mx ESMTP\r\n');
      socket.on('data', (data) => {
        heard.push(String(data));
        if (/^EHLO/i.test(String(data))) socket.write('250-mx\r\n250 AUTH PLAIN LOGIN\r\n');
        else socket.write('502 no\r\n');
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    closing.push(() => void server.close());
    const { port } = server.address() as AddressInfo;
    expect(await send({ ...channel('mail'), port } as Input)).toMatchObject({ kind: 'stopped' });
    expect(heard.join('')).not.toMatch(/AUTH|MAIL|DATA/);
  });

  test.each([
    ['PLAIN', ['PLAIN']],
    ['LOGIN', ['LOGIN']],
  ])('may want AUTH %s, inside TLS', async (_, authMethods) => {
    const seen: unknown[] = [];
    const port = await serve({
      authMethods,
      onAuth: ({ username, password, method }, session, done) => {
        seen.push([username, password, method, session.secure]);
        done(null, { user: username ?? '' });
      },
      onData: (stream, _session, done) => {
        stream.resume().on('end', () => done(null, 'kept'));
      },
    });
    expect(await send({ ...channel('mail'), port } as Input)).toMatchObject({ kind: 'delivered' });
    expect(seen).toEqual([['ada@example.org', secrets.password, authMethods[0], true]]);
  });

  test('that wants no log-in gets none', async () => {
    const {
      user: _user,
      password: _password,
      ...open
    } = channel('mail') as Input & {
      user?: string;
      password?: string;
    };
    const port = await serve({
      authOptional: true,
      onData: (stream, _session, done) => {
        stream.resume().on('end', () => done(null, 'kept'));
      },
    });
    expect(await send({ ...open, port } as Input)).toMatchObject({ kind: 'delivered' });
  });

  test('that refuses the password repeats no part of it', async () => {
    const outcome = await send({ ...channel('mail'), password: 'another-secret' } as Input);
    expect(outcome).toMatchObject({
      kind: 'stopped',
      reason: expect.stringMatching(/answered 535.*is wrong/),
    });
    expect(JSON.stringify(outcome)).not.toContain('another-secret');
  });

  test('that takes the sender or nobody of the recipients not has to be looked at', async () => {
    const refuse = (code: number) =>
      serve({
        authOptional: true,
        onAuth: (_auth, _session, done) => done(null, { user: 'x' }),
        onRcptTo: (_address, _session, done) =>
          done(Object.assign(new Error('no such user'), { responseCode: code })),
      });
    const attempt = async (code: number) =>
      await send({ ...channel('mail'), port: await refuse(code) } as Input);
    expect(await attempt(550)).toMatchObject({
      kind: 'stopped',
      reason: expect.stringMatching(/no such user/),
    });
    expect(await attempt(450)).toMatchObject({ kind: 'retry' });
  });

  test('that takes it for some is said so', async () => {
    const port = await serve({
      authOptional: true,
      onAuth: (_auth, _session, done) => done(null, { user: 'x' }),
      onRcptTo: ({ address }, _session, done) =>
        done(
          address.startsWith('gone') ? Object.assign(new Error('no'), { responseCode: 550 }) : null,
        ),
      onData: (stream, _session, done) => {
        stream.resume().on('end', () => done(null, 'kept'));
      },
    });
    const both = { ...channel('mail'), port, to: ['gone@example.org', 'you@example.org'] };
    expect(await send(both as Input)).toMatchObject({
      kind: 'delivered',
      answer: expect.stringMatching(/1 of 2 recipients were refused/),
    });
  });

  test('that nobody is at, or that says nothing', async () => {
    expect(await send({ ...channel('mail'), port: 1 } as Input)).toMatchObject({
      kind: 'retry',
      reason: '127.0.0.1: the connection was refused',
    });
    const given = new AbortController();
    const server = createTcp((socket) => {
      socket.on('error', () => undefined);
      given.abort();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    closing.push(() => void server.close());
    const { port } = server.address() as AddressInfo;
    const outcome = await send({ ...channel('mail'), port } as Input, { signal: given.signal });
    expect(outcome).toMatchObject({ kind: 'retry' });
  });
});

describe('the heartbeat', () => {
  const begin = (
    more: Partial<NonNullable<SettingsInput['heartbeat']>> = {},
    pause = 30,
    clock = { now },
  ): Heartbeat => {
    const settings = alertSettings.parse({
      heartbeat: { url: heartbeatUrl(to), ca: authority.ca, ...more },
    });
    if (!settings.heartbeat) throw new Error('no heartbeat');
    to.heartbeat.splice(0);
    const heartbeat = startHeartbeat(
      settings.heartbeat,
      { host: 'attic', timeZone: undefined, now: () => clock.now },
      secretsOf(settings),
      pause,
    );
    closing.push(() => heartbeat.stop());
    return heartbeat;
  };
  const until = async (condition: () => boolean) => {
    for (let tries = 0; !condition(); tries++) {
      if (tries > 1000) throw new Error('it did not happen in 5 s');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  const pause = (milliseconds: number) =>
    new Promise((resolve) => setTimeout(resolve, milliseconds));

  test('beats while monitoring looks', async () => {
    const heartbeat = begin();
    await pause(100);
    expect(to.heartbeat).toEqual([]);
    heartbeat.beat(0);
    await until(() => to.heartbeat.length >= 3);
    expect(to.heartbeat[0]).toMatchObject({ method: 'GET', path: `/ping/${secrets.heartbeat}` });
    expect(heartbeat.status()).toMatchObject({ state: 'ok', problem: undefined, sentAt: now });
  });

  test('ends when monitoring does', async () => {
    const clock = { now };
    const heartbeat = begin({}, 30, clock);
    heartbeat.beat(0);
    await until(() => to.heartbeat.length >= 1);
    clock.now += 200_000;
    await pause(50);
    const count = to.heartbeat.length;
    await pause(150);
    expect(to.heartbeat.length).toBe(count);
  });

  test('says at once that critical alerts are active, and that they are over, if the owner wants', async () => {
    const heartbeat = begin({ method: 'POST', fail_when_critical: true }, 60_000);
    const step = async (critical: number, count: number) => {
      heartbeat.beat(critical);
      await until(() => to.heartbeat.length === count);
      await pause(20);
    };
    await step(0, 1);
    await step(2, 2);
    heartbeat.beat(1);
    await step(0, 3);
    const usual = `/ping/${secrets.heartbeat}`;
    expect(to.heartbeat.map((one) => one.path)).toEqual([usual, `${usual}/fail`, usual]);
    expect(to.heartbeat[1]).toMatchObject({
      method: 'POST',
      raw: '2 critical alerts are active\n',
    });
  });

  test('that fails is told after 3 times, and does not ask more often for it', async () => {
    to.answer('heartbeat', { status: 503, body: secrets.heartbeat });
    const heartbeat = begin({}, 100);
    const start = performance.now();
    heartbeat.beat(0);
    await until(() => heartbeat.status().state === 'failing');
    expect(heartbeat.failing()).toBe(false);
    expect(heartbeat.status().problem).toBe('it answered 503 ***');
    await until(() => heartbeat.failing());
    expect(performance.now() - start).toBeGreaterThan(190);
    to.answer('heartbeat', undefined);
    await until(() => heartbeat.status().state === 'ok');
    expect(heartbeat.failing()).toBe(false);
  });

  test('that its server does not know is not well, though it is answered 200', async () => {
    to.answer('heartbeat', { status: 200, body: 'OK (not found)' });
    const heartbeat = begin();
    heartbeat.beat(0);
    await until(() => heartbeat.status().state === 'failing');
    expect(heartbeat.status().problem).toContain('OK (not found)');
  });
});
