import { request } from 'node:https';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { TestApi } from '../testing.ts';
import { eventData, type Topic } from './topics.ts';

let gateway: TestApi;
let cookie: string;
let csrf: string;
const owner = { name: 'ada', password: 'four words nobody guesses' };

beforeAll(async () => {
  gateway = await TestApi.start({ patience: { headers: 10, request: 30, beat: 0.1 } });
  await gateway.accounts.add({ ...owner, role: 'admin' });
});

afterAll(() => gateway.stop());

beforeEach(async () => {
  const result = await gateway.accounts.login(owner, { address: '192.0.2.1', client: 'test' });
  if (result.kind !== 'begun') throw new Error(result.kind);
  cookie = `__Host-session=${result.session.secret}`;
  csrf = result.session.csrf;
});

type Headers = Record<string, string>;

type Stream = {
  status: number;
  headers: Record<string, unknown>;
  text: () => string;
  ended: Promise<void>;
  close(): void;
};

function open(topics?: string, headers: Headers = { cookie }, reads = true): Promise<Stream> {
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host: '127.0.0.1',
        port: gateway.port,
        path: `/api/v1/events${topics === undefined ? '' : `?topics=${topics}`}`,
        ca: gateway.certificate.cert,
        headers,
        agent: false,
      },
      (response) => {
        let text = '';
        if (reads)
          response.on('data', (chunk) => {
            text += chunk;
          });
        response.on('error', () => undefined);
        const ended = new Promise<void>((end) => response.on('close', end));
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text: () => text,
          ended,
          close: () => sent.destroy(),
        });
      },
    );
    sent.on('error', reject);
    sent.end();
  });
}

async function until(what: () => boolean, milliseconds = 3000): Promise<void> {
  const end = performance.now() + milliseconds;
  while (!what()) {
    if (performance.now() > end) throw new Error('It did not happen in time');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Events in a stream's text, each checked by its schema. */
function eventsOf(text: string): { topic: string; data: unknown }[] {
  return text
    .split('\n\n')
    .filter((block) => block.startsWith('event: '))
    .map((block) => {
      const [, topic = '', data = ''] = /^event: (\w+)\ndata: (.*)$/.exec(block) ?? [];
      return { topic, data: eventData[topic as Topic].parse(JSON.parse(data)) };
    });
}

const check = {
  id: 'uplink',
  title: 'Uplink',
  health: 'ok' as const,
  detail: '',
  since: 1,
  needs: [],
};

test('what is known comes first, then what changes, each under its name', async () => {
  gateway.monitor.checksNow = [check];
  const stream = await open();
  expect(stream.headers['content-type']).toBe('text/event-stream; charset=utf-8');
  expect(stream.headers['cache-control']).toBe('no-store');
  await until(() => eventsOf(stream.text()).length === 2);
  gateway.monitor.tell({
    type: 'check',
    check: { ...check, health: 'failed', detail: 'a\n\nevent: x' },
  });
  gateway.monitor.tell({ type: 'series', series: [{ name: 'a', unit: '1', value: undefined }] });
  gateway.api?.changed('vpn');
  await until(() => eventsOf(stream.text()).length === 5);
  expect(eventsOf(stream.text())).toMatchObject([
    { topic: 'series', data: { series: [{ name: 'cpu.used', value: 4 }] } },
    { topic: 'check', data: { id: 'uplink', health: 'ok' } },
    { topic: 'check', data: { health: 'failed', detail: 'a\n\nevent: x' } },
    { topic: 'series', data: { series: [{ name: 'a', value: null }] } },
    { topic: 'change', data: { area: 'vpn' } },
  ]);
  stream.close();
});

test('peers are asked of the kernel each second, only while somebody listens to them', async () => {
  let asked = 0;
  Object.defineProperty(gateway, 'peers', {
    configurable: true,
    get: () => {
      asked += 1;
      return [
        {
          interface: 'wg0',
          publicKey: 'KEY',
          endpoint: undefined,
          allowedIps: [],
          handshake: 1_767_312_000,
          received: 1,
          sent: 2,
        },
      ];
    },
  });
  const other = await open('series');
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(asked).toBe(0);
  const stream = await open('vpn');
  await until(() => eventsOf(stream.text()).length >= 2);
  expect(eventsOf(stream.text())[0]).toMatchObject({
    topic: 'vpn',
    data: {
      peers: [{ public_key: 'KEY', handshake: '2026-01-02T00:00:00.000Z', received_bytes: 1 }],
    },
  });
  expect(other.text()).not.toContain('KEY');
  stream.close();
  await new Promise((resolve) => setTimeout(resolve, 300));
  const before = asked;
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(asked).toBe(before);
  other.close();
});

test('a change by anybody is told to all, with its area, and wakes the helper up before', async () => {
  gateway.asked.length = 0;
  const stream = await open('change');
  await until(() => gateway.asked.some(({ verb }) => verb === 'claim.status'));
  const sent = request({
    host: '127.0.0.1',
    port: gateway.port,
    path: '/api/v1/tokens',
    method: 'POST',
    ca: gateway.certificate.cert,
    headers: { cookie, 'x-csrf-token': csrf, 'content-type': 'application/json' },
    agent: false,
  });
  sent.end(JSON.stringify({ name: 'graphs' }));
  await until(() => stream.text().includes('"area":"accounts"'));
  stream.close();
});

test('a stream ends with its session', async () => {
  const stream = await open();
  const [session] = gateway.accounts.sessions('ada');
  gateway.accounts.endSession('ada', session?.id ?? '');
  await stream.ended;
  expect((await open()).status).toBe(401);
});

test('a token listens too, until it is revoked', async () => {
  const { token, view } = await gateway.accounts.addToken('cli/root', {
    name: 'listener',
    role: 'viewer',
    scopes: ['status:read', 'metrics:read'],
  });
  const stream = await open('series', { authorization: `Bearer ${token}` });
  expect(stream.status).toBe(200);
  await gateway.accounts.removeToken(view.id);
  await stream.ended;
});

test('a token hears of nothing that its scopes do not read elsewhere', async () => {
  const { token } = await gateway.accounts.addToken('cli/root', {
    name: 'glance',
    role: 'viewer',
    scopes: ['status:read'],
  });
  const headers = { authorization: `Bearer ${token}` };
  for (const topic of ['vpn', 'series', 'alert', 'check,vpn'])
    expect((await open(topic, headers)).status, topic).toBe(403);
  const stream = await open(undefined, headers);
  expect(stream.status).toBe(200);
  gateway.monitor.tell({ type: 'series', series: [{ name: 'cpu', unit: '1', value: 1 }] });
  await until(() => stream.text().includes('event: check'));
  expect(stream.text()).not.toMatch(/event: (series|alert|vpn)/);
  stream.close();
});

test('one session has so many streams and no more', async () => {
  const streams = await Promise.all(Array.from({ length: 10 }, () => open('series')));
  expect(streams.filter(({ status }) => status === 200)).toHaveLength(8);
  expect(streams.filter(({ status }) => status === 429)).toHaveLength(2);
  for (const stream of streams) stream.close();
  await new Promise((resolve) => setTimeout(resolve, 100));
  const again = await open('series');
  expect(again.status).toBe(200);
  again.close();
});

test('who does not read is cut off, and costs no memory without end', async () => {
  await open('series', { cookie }, false);
  const others = await Promise.all(Array.from({ length: 7 }, () => open('series')));
  expect((await open('series')).status).toBe(429);
  const before = process.memoryUsage.rss();
  const long = Array.from({ length: 2000 }, (_, i) => ({ name: `s${i}`, unit: '1', value: i }));
  for (let i = 0; i < 100; i += 1) {
    gateway.monitor.tell({ type: 'series', series: long });
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect(process.memoryUsage.rss() - before).toBeLessThan(150_000_000);
  // The others have read all of it.
  await until(() => others.every(({ text }) => eventsOf(text()).length === 101));
  const next = await open('series');
  expect(next.status).toBe(200);
  for (const stream of [...others, next]) stream.close();
});

test('unknown topics are refused', async () => {
  expect((await open('series,nothing')).status).toBe(400);
  expect((await open('series%0avpn')).status).toBe(400);
});
