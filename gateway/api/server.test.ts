import { stat } from 'node:fs/promises';
import { request as httpsRequest } from 'node:https';
import { connect as connectTcp } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { localClient } from './client.ts';
import { type Answer, ApiProbe, type Ask } from './conformance/http.ts';
import { TestApi } from './testing.ts';

let gateway: TestApi;
let probe: ApiProbe;
let admin: Record<string, string>;
const owner = { name: 'ada', password: 'four words nobody guesses' };

beforeAll(async () => {
  gateway = await TestApi.start({ patience: { headers: 0.4, request: 0.8 } });
  await gateway.put('dashboard/index.html', '<!doctype html><title>Pi Gateway</title>');
  await gateway.put('dashboard/main-0123456789.js', 'console.log(1);\n'.repeat(100));
  await gateway.put('dashboard/main-0123456789.js.gz', gzipSync('console.log(1);\n'.repeat(100)));
  await gateway.put('secret.txt', 'not for the web');
  await gateway.api?.close();
  await gateway.begin({ patience: { headers: 0.4, request: 0.8 } });
  probe = new ApiProbe(gateway.url, gateway.certificate.cert);
  const claimed = await json('POST', '/claim', { code: 'GOOD-CODE', ...owner });
  admin = sessionOf(claimed);
});

afterAll(async () => {
  probe.close();
  await gateway.stop();
});

function ask(method: string, path: string, more: Partial<Ask> = {}): Promise<Answer> {
  return probe.ask({ method, path, ...more });
}

function json(method: string, path: string, body: unknown, headers = {}): Promise<Answer> {
  return ask(method, `/api/v1${path}`, {
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
}

function sessionOf({ headers, text }: Answer): Record<string, string> {
  const [cookie = ''] = String(headers['set-cookie']).split(';');
  return { cookie, 'x-csrf-token': String(JSON.parse(text).csrf) };
}

function problem(answer: Answer): { status: number; detail: string; fix: string } {
  expect(answer.headers['content-type']).toBe('application/problem+json');
  const value = JSON.parse(answer.text);
  expect(value).toMatchObject({ type: 'about:blank', status: answer.status });
  expect(value.title).not.toBe('');
  expect(value.fix).not.toBe('');
  return value;
}

/** Sends bytes as they are and gives what comes back until the connection ends. */
async function raw(bytes: string, wait = 3000): Promise<string> {
  return await new Promise((resolve) => {
    const socket: TLSSocket = connect(
      { host: '127.0.0.1', port: gateway.port, ca: gateway.certificate.cert },
      () => socket.write(bytes),
    );
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(text));
    socket.setTimeout(wait, () => socket.destroy());
  });
}

test('TLS 1.2 and 1.3 with ephemeral keys are spoken, and nothing older', async () => {
  const speak = (options: object) =>
    new Promise<string>((resolve) => {
      const socket = connect(
        { host: '127.0.0.1', port: gateway.port, ca: gateway.certificate.cert, ...options },
        () => {
          resolve(`${socket.getProtocol()} ${socket.getCipher().name}`);
          socket.destroy();
        },
      );
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
    });
  expect(await speak({})).toMatch(/^TLSv1.3 TLS_/);
  expect(await speak({ maxVersion: 'TLSv1.2' })).toMatch(/^TLSv1.2 ECDHE-ECDSA-.*(GCM|POLY1305)/);
  expect(
    await speak({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL@SECLEVEL=0' }),
  ).toMatch(/^ERR_SSL|^ECONNRESET/);
  for (const ciphers of ['AES128-SHA', 'ECDHE-ECDSA-AES128-SHA256', 'AES256-GCM-SHA384'])
    expect(await speak({ maxVersion: 'TLSv1.2', ciphers }), ciphers).toMatch(
      /^ERR_SSL|^ECONNRESET/,
    );
});

test('a request by another name is refused, so that no page of another name reaches it (DNS rebinding)', async () => {
  const by = (host: string) => ask('GET', '/api/v1/claim', { headers: { host } });
  for (const host of ['localhost', 'localhost:8443', 'LOCALHOST', 'attic.local', '127.0.0.1:1'])
    expect((await by(host)).status, host).toBe(200);
  for (const host of [
    'evil.example',
    'localhost.evil.example',
    '203.0.113.7',
    '[2001:db8::1]',
    'a b',
    '@localhost',
    '127.0.0.1.nip.io',
  ])
    expect([400, 421], host).toContain((await by(host)).status);
  problem(await by('evil.example'));
});

test('what is no HTTP, no path or too long is refused with a problem, and the next request is answered', async () => {
  const head = 'Host: localhost\r\nConnection: close\r\n\r\n';
  const cases: [string, number][] = [
    ['GET /api/v1/claim HTTP/1.1\r\nConnection: close\r\n\r\n', 400],
    ['NONSENSE\r\n\r\n', 400],
    [`BREW /api/v1/claim HTTP/1.1\r\n${head}`, 400],
    [`GET api/v1/claim HTTP/1.1\r\n${head}`, 400],
    [`GET //evil.example/ HTTP/1.1\r\n${head}`, 400],
    [`GET http://localhost/api/v1/claim HTTP/1.1\r\n${head}`, 400],
    [`GET /api/v1/vpn/clients/%ff HTTP/1.1\r\n${head}`, 400],
    [`GET /api/v1/vpn/clients/a%00b HTTP/1.1\r\n${head}`, 400],
    [`GET /api/v1/vpn/clients/%2 HTTP/1.1\r\n${head}`, 400],
    [`GET /${'a'.repeat(3000)} HTTP/1.1\r\n${head}`, 414],
    [`GET / HTTP/1.1\r\nX-A: ${'a'.repeat(9000)}\r\n${head}`, 431],
    [`GET / HTTP/1.1\r\nX-A: a\r\n${'X-B: b\r\n'.repeat(4000)}${head}`, 431],
    [`GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n${head}a`, 400],
    [
      `POST /api/v1/session HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n${head}`,
      400,
    ],
    [`GET / HTTP/1.1\r\nX-A: a\u0001b\r\n${head}`, 400],
    [`GET / HTTP/9.9\r\n${head}`, 400],
    [`TRACE /api/v1/claim HTTP/1.1\r\n${head}`, 405],
    [`OPTIONS /api/v1/claim HTTP/1.1\r\n${head}`, 405],
    [`PROPFIND / HTTP/1.1\r\n${head}`, 405],
  ];
  for (const [bytes, status] of cases) {
    const text = await raw(bytes);
    expect(text.slice(0, 12), bytes.slice(0, 60)).toBe(`HTTP/1.1 ${status}`);
    expect(text, bytes.slice(0, 60)).toContain('application/problem+json');
    expect(text).toContain('"fix":"');
  }
  expect((await ask('GET', '/api/v1/claim')).status).toBe(200);
});

test('a method that an address does not have is told which it has', async () => {
  const answer = await ask('PUT', '/api/v1/claim');
  expect(problem(answer).status).toBe(405);
  expect(answer.headers.allow).toBe('GET, HEAD, POST');
  expect((await ask('HEAD', '/api/v1/claim')).status).toBe(200);
  expect(problem(await ask('GET', '/api/v1/nothing')).status).toBe(404);
  expect(problem(await ask('GET', '/api/v2/claim')).status).toBe(404);
});

describe('the configuration of a client', () => {
  const path = '/api/v1/vpn/clients/phone/config';
  const post = { 'content-type': 'application/json' };
  beforeEach(() => {
    gateway.asked.length = 0;
    return () => {
      gateway.answer = undefined;
    };
  });
  const vpnVerbs = () =>
    gateway.asked.map(({ verb }) => verb).filter((one) => one.startsWith('vpn.'));

  test('is handed out by no GET or HEAD, which other pages, histories and previews may repeat', async () => {
    for (const method of ['GET', 'HEAD']) {
      const answer = await ask(method, path, { headers: admin });
      expect([answer.status, answer.headers.allow]).toEqual([405, 'POST, DELETE']);
    }
    expect((await ask('HEAD', '/api/v1/vpn/clients/phone/qr', { headers: admin })).status).toBe(
      405,
    );
    expect(vpnVerbs()).toEqual([]);
  });

  test('needs the token of the session, as any change', async () => {
    const { 'x-csrf-token': _, ...cookie } = admin as Record<string, string>;
    const answer = await ask('POST', path, { headers: { ...cookie, ...post }, body: '{}' });
    expect(problem(answer)).toMatchObject({ status: 403, detail: expect.stringContaining('CSRF') });
    expect(vpnVerbs()).toEqual([]);
  });

  test('is to be had again after a download that broke off, and is forgotten when it was sent', async () => {
    let release: () => void = () => undefined;
    const isAsked = new Promise<void>((resolve) => {
      gateway.answer = async ({ verb }) => {
        if (verb !== 'vpn.config') return {};
        resolve();
        await new Promise<void>((go) => {
          release = go;
        });
        return { text: '[Interface]\n', public_key: 'KEY' };
      };
    });
    const { port } = gateway;
    const broken = httpsRequest({
      host: '127.0.0.1',
      port,
      method: 'POST',
      path,
      rejectUnauthorized: false,
      headers: { ...admin, ...post, host: `localhost:${port}`, 'content-length': 2 },
    });
    broken.on('error', () => undefined);
    broken.end('{}');
    await isAsked;
    broken.destroy();
    await new Promise((resolve) => setTimeout(resolve, 200));
    release();
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(vpnVerbs()).toEqual(['vpn.config']);

    const again = ask('POST', path, { headers: { ...admin, ...post }, body: '{}' });
    await expect.poll(vpnVerbs).toEqual(['vpn.config', 'vpn.config']);
    release();
    expect(await again).toMatchObject({ status: 200, text: '[Interface]\n' });
    await expect.poll(vpnVerbs).toEqual(['vpn.config', 'vpn.config', 'vpn.forget']);
    expect(gateway.asked.at(-1)?.args).toEqual({ name: 'phone', public_key: 'KEY' });
  });
});

test('a body is JSON of a megabyte at most, not deep, not of many pieces, and says so', async () => {
  const send = (body: string | Buffer, headers: Record<string, string> = {}) =>
    ask('POST', '/api/v1/session', {
      headers: { 'content-type': 'application/json', ...headers },
      body,
    });
  const status = async (answer: Promise<Answer>) => problem(await answer).status;
  expect(await status(send('{}', { 'content-type': 'text/plain' }))).toBe(415);
  expect(await status(send('{}', { 'content-type': 'application/json; charset=latin1' }))).toBe(
    415,
  );
  expect(await status(send('{}', { 'content-type': 'multipart/form-data; boundary=a' }))).toBe(415);
  expect(await status(send('{}', { 'content-encoding': 'gzip' }))).toBe(415);
  expect(await status(send('{'))).toBe(400);
  expect(await status(send(Buffer.from([0x7b, 0xff, 0x7d])))).toBe(400);
  expect(await status(send('[]'))).toBe(400);
  expect(await status(send('null'))).toBe(400);
  expect(problem(await send('['.repeat(500_000))).detail).toContain('nested deeper');
  expect(problem(await send(`{"name":${'{"a":'.repeat(40)}1${'}'.repeat(41)}`)).detail).toContain(
    'nested',
  );
  expect(problem(await send(`[${'1,'.repeat(60_000)}1]`)).detail).toContain('more than');
  expect(
    problem(await send('{"name":"ada","password":"x","__proto__":{"role":"admin"}}')).detail,
  ).toContain('__proto__');
  expect(await status(send(`{"name":"${'a'.repeat(1_000_000)}"}`))).toBe(400);
  const wrong = await send('{"password":"hunter2-secret",}');
  expect(wrong.text).not.toContain('hunter2');
});

test('ten megabytes are refused with 413, whether their length is said or not, and cost no memory', async () => {
  const body = Buffer.alloc(10_485_760, 0x20);
  const headers = { 'content-type': 'application/json' };
  const before = process.memoryUsage.rss();
  expect(problem(await ask('POST', '/api/v1/session', { headers, body })).status).toBe(413);
  const chunks = `40000\r\n${' '.repeat(0x40000)}\r\n`.repeat(40);
  const text = await raw(
    `POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`,
  );
  expect(text.slice(0, 12)).toBe('HTTP/1.1 413');
  expect(process.memoryUsage.rss() - before).toBeLessThan(150_000_000);
  expect((await ask('GET', '/api/v1/claim')).status).toBe(200);
});

test('who sends a byte now and then is cut off, and others are answered meanwhile (slowloris)', async () => {
  const begun = performance.now();
  const slow = Array.from(
    { length: 25 },
    (_, i) =>
      new Promise<number>((resolve) => {
        const socket = connect({
          host: '127.0.0.1',
          port: gateway.port,
          ca: gateway.certificate.cert,
        });
        const line =
          i % 2 === 0
            ? 'GET / HTTP/1.1\r\nHost: localhost\r\n'
            : 'POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n';
        socket.write(line);
        const timer = setInterval(() => socket.write('X'), 50);
        socket.on('error', () => undefined);
        socket.on('data', () => undefined);
        socket.on('close', () => {
          clearInterval(timer);
          resolve(performance.now() - begun);
        });
      }),
  );
  for (let i = 0; i < 20; i += 1) {
    const started = performance.now();
    expect((await ask('GET', '/api/v1/claim')).status).toBe(200);
    expect(performance.now() - started).toBeLessThan(500);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  expect(Math.max(...(await Promise.all(slow)))).toBeLessThan(5000);
});

test('one address has so many connections and no more; when they end it is let in again', async () => {
  const open = Array.from({ length: 60 }, () => {
    const socket = connectTcp({ host: '127.0.0.1', port: gateway.port });
    socket.on('error', () => undefined);
    return socket;
  });
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(open.filter((socket) => !socket.destroyed && socket.readable).length).toBeLessThan(40);
  for (const socket of open) socket.destroy();
  await new Promise((resolve) => setTimeout(resolve, 100));
  probe.close();
  expect((await ask('GET', '/api/v1/claim')).status).toBe(200);
});

test('every answer forbids to be sniffed, framed, cached or read by other sites', async () => {
  for (const path of ['/', '/api/v1/claim', '/api/v1/nothing', '/nothing']) {
    const { headers } = await ask('GET', path);
    expect(headers['content-security-policy']).toContain("default-src 'none'");
    expect(headers['content-security-policy']).toContain("frame-ancestors 'none'");
    expect(headers['content-security-policy']).not.toContain('unsafe');
    expect(headers['x-content-type-options']).toBe('nosniff');
    expect(headers['referrer-policy']).toBe('no-referrer');
    expect(headers['cross-origin-opener-policy']).toBe('same-origin');
    expect(headers['cross-origin-resource-policy']).toBe('same-origin');
    expect(headers['permissions-policy']).toContain('camera=()');
    expect(headers['x-powered-by']).toBeUndefined();
    expect(headers.server).toBeUndefined();
    if (path !== '/') expect(headers['cache-control']).toBe('no-store');
  }
});

test('the dashboard comes compressed where that is understood, once, and nothing beside it', async () => {
  const index = await ask('GET', '/');
  expect(index.status).toBe(200);
  expect(index.headers['content-type']).toBe('text/html; charset=utf-8');
  expect(index.headers['cache-control']).toBe('no-cache');
  const again = await ask('GET', '/', { headers: { 'if-none-match': String(index.headers.etag) } });
  expect(again.status).toBe(304);
  const script = await ask('GET', '/main-0123456789.js');
  expect(script.headers['content-encoding']).toBeUndefined();
  expect(script.headers['cache-control']).toContain('immutable');
  const zipped = await ask('GET', '/main-0123456789.js', {
    headers: { 'accept-encoding': 'br, gzip' },
  });
  expect(zipped.headers['content-encoding']).toBe('gzip');
  expect(zipped.headers.etag).not.toBe(script.headers.etag);
  expect(Number(zipped.headers['content-length'])).toBeLessThan(200);
  for (const path of [
    '/../secret.txt',
    '/%2e%2e/secret.txt',
    '/..%2fsecret.txt',
    '/%2fetc/passwd',
    '/main-0123456789.js.gz',
    '/dashboard/index.html',
    '/index.html/',
  ])
    expect((await ask('GET', path)).status, path).toBe(404);
  expect((await ask('POST', '/')).status).toBe(405);
});

test('a session is in a cookie that only this host gets, over TLS, and no script reads', async () => {
  const answer = await json('POST', '/session', owner);
  expect(answer.status).toBe(200);
  expect(answer.headers['set-cookie']).toEqual([
    expect.stringMatching(
      /^__Host-session=[A-Za-z0-9_-]{43}; Path=\/; Secure; HttpOnly; SameSite=Strict$/,
    ),
  ]);
  const session = sessionOf(answer);
  expect((await ask('GET', '/api/v1/metrics/current', { headers: session })).status).toBe(200);
  expect((await ask('DELETE', '/api/v1/session', { headers: session })).status).toBe(204);
  expect((await ask('GET', '/api/v1/metrics/current', { headers: session })).status).toBe(401);
});

test('a new login in the same browser ends the session of before', async () => {
  const first = sessionOf(await json('POST', '/session', owner));
  const second = sessionOf(await json('POST', '/session', owner, first));
  expect(second.cookie).not.toBe(first.cookie);
  expect((await ask('GET', '/api/v1/accounts', { headers: first })).status).toBe(401);
  expect((await ask('GET', '/api/v1/accounts', { headers: second })).status).toBe(200);
});

test('a page of another site changes and reads nothing, even with the cookie', async () => {
  const body = { name: 'eve', role: 'admin', password: 'correct horse staple gun' };
  const { cookie = '' } = admin;
  for (const headers of [
    { cookie },
    { cookie, 'x-csrf-token': 'AAAA' },
    { ...admin, origin: 'https://evil.example' },
    { ...admin, origin: 'null' },
    { ...admin, 'sec-fetch-site': 'cross-site' },
    { ...admin, 'sec-fetch-site': 'same-site' },
  ])
    expect(problem(await json('POST', '/accounts', body, headers)).status).toBe(403);
  const read = { headers: { cookie, 'sec-fetch-site': 'cross-site' } };
  expect((await ask('GET', '/api/v1/accounts', read)).status).toBe(403);
  const login = await json('POST', '/session', owner, { origin: 'https://evil.example' });
  expect(login.status).toBe(403);
  const own = { ...admin, origin: gateway.url, 'sec-fetch-site': 'same-origin' };
  expect((await json('POST', '/accounts', { ...body, name: 'bob' }, own)).status).toBe(201);
});

test('a token does what its scopes and role say, and makes no accounts or tokens', async () => {
  const made = await json('POST', '/tokens', { name: 'graphs', scopes: ['metrics:read'] }, admin);
  expect(made.status).toBe(201);
  const { token } = JSON.parse(made.text);
  const headers = { authorization: `Bearer ${token}` };
  expect((await ask('GET', '/metrics', { headers })).text).toContain('pi_gateway_up 1');
  expect((await ask('GET', '/api/v1/metrics/current', { headers })).status).toBe(200);
  const refused = await ask('GET', '/api/v1/vpn', { headers });
  expect(problem(refused).detail).toContain('vpn:read');
  expect(refused.headers['www-authenticate']).toContain('insufficient_scope');
  expect((await ask('GET', '/metrics')).status).toBe(401);
  expect((await ask('GET', '/metrics', { headers: { authorization: 'Basic YTpi' } })).status).toBe(
    401,
  );
  const all = await json('POST', '/tokens', { name: 'all', role: 'admin' }, admin);
  const every = { authorization: `Bearer ${JSON.parse(all.text).token}` };
  expect((await ask('GET', '/api/v1/accounts', { headers: every })).status).toBe(200);
  expect((await json('POST', '/tokens', { name: 'more' }, every)).status).toBe(403);
  expect((await json('POST', '/accounts', {}, every)).status).toBe(403);
  const list = await ask('GET', '/api/v1/tokens', { headers: admin });
  expect(list.text).not.toContain(token.slice(4, 20));
  // A cookie beside a token counts for nothing.
  const both = { ...admin, authorization: 'Bearer pgw_no' };
  expect((await ask('GET', '/api/v1/accounts', { headers: both })).status).toBe(401);
});

test('five hundred wrong logins cost little and leave the API and the owner elsewhere at work', async () => {
  const started = performance.now();
  const statuses = new Map<number, number>();
  const guesses = Array.from({ length: 500 }, (_, i) =>
    json('POST', '/session', { name: i % 2 ? 'ada' : `user${i}`, password: `guess number ${i}` }),
  );
  const meanwhile = performance.now();
  expect((await ask('GET', '/api/v1/metrics/current', { headers: admin })).status).toBe(200);
  expect(performance.now() - meanwhile).toBeLessThan(5000);
  for (const { status } of await Promise.all(guesses))
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
  expect([...statuses.keys()].sort()).toEqual([401, 429]);
  expect(statuses.get(401)).toBeLessThan(30);
  expect(performance.now() - started).toBeLessThan(15_000);
  const here = await json('POST', '/session', owner);
  expect(problem(here).status).toBe(429);
  expect(Number(here.headers['retry-after'])).toBeGreaterThan(0);
  // Sessions go on, and root changes the password at once.
  expect((await ask('GET', '/api/v1/accounts', { headers: admin })).status).toBe(200);
  gateway.ahead += 3_700_000;
  const later = await json('POST', '/session', owner);
  expect(later.status).toBe(200);
  admin = sessionOf(later);
});

test('the helper that does not answer is a 503 that says when to come back', async () => {
  const { UnavailableError } = await import('../errors.ts');
  gateway.answer = () => {
    throw new UnavailableError('The helper cannot be reached', 'Start it');
  };
  const answer = await ask('GET', '/api/v1/audit', { headers: admin });
  gateway.answer = undefined;
  expect(problem(answer)).toMatchObject({ status: 503, fix: 'Start it' });
  expect(answer.headers['retry-after']).toBe('5');
});

test('a mistake of ours is a 500 that tells nothing, and the journal has it', async () => {
  gateway.answer = () => {
    throw new TypeError('secret inside /var/lib/x.ts:3');
  };
  const answer = await ask('GET', '/api/v1/audit', { headers: admin });
  gateway.answer = undefined;
  expect(problem(answer).status).toBe(500);
  expect(answer.text).not.toContain('inside');
  expect(gateway.said.join('\n')).toContain('secret inside');
  gateway.said.length = 0;
});

test('over its socket root is the admin that sudo was asked by, and nobody else can connect', async () => {
  expect((await stat(gateway.socket)).mode & 0o777).toBe(0o600);
  const client = localClient(gateway.socket, 'gateway');
  gateway.asked.length = 0;
  const added = await client.call('accountAdd', {
    body: { name: 'carol', role: 'viewer', password: 'yet another long password' },
  });
  expect(added).toMatchObject({ name: 'carol', role: 'viewer' });
  expect(gateway.asked.at(-1)).toMatchObject({
    verb: 'audit.record',
    args: { action: 'account.add', details: { name: 'carol' } },
    actor: { via: 'cli', name: 'gateway' },
  });
  await expect(
    client.call('accountAdd', {
      body: { name: 'carol', role: 'viewer', password: 'and another one here' },
    }),
  ).rejects.toMatchObject({ kind: 'conflict', fix: expect.stringContaining('other name') });
  await expect(localClient(`${gateway.socket}.none`).call('claimStatus')).rejects.toThrow(
    'daemon does not answer',
  );
});

test('accounts, tokens and sessions outlive a restart of the daemon, and no secret is on file', async () => {
  const { readFile } = await import('node:fs/promises');
  await gateway.api?.close();
  await gateway.begin({ patience: { headers: 0.4, request: 0.8 } });
  probe.close();
  probe = new ApiProbe(gateway.url, gateway.certificate.cert);
  expect((await ask('GET', '/api/v1/accounts', { headers: admin })).status).toBe(200);
  const path = `${gateway.folder}/var/lib/pi-gatewayd/accounts.json`;
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  const files = [
    await readFile(path, 'utf8'),
    await readFile(`${gateway.folder}/run/pi-gatewayd/sessions.json`, 'utf8'),
  ].join('');
  expect(files).not.toContain(owner.password);
  expect(files).not.toContain(admin.cookie?.slice(16, 40));
  expect(files).not.toContain(admin['x-csrf-token']);
  expect(gateway.said).toEqual([]);
});

test('who makes an admin as root, without the claim code, ends that code', async () => {
  gateway.asked.length = 0;
  const local = localClient(gateway.socket);
  const made = { name: 'made-by-root', role: 'admin', password: owner.password } as const;
  await local.call('accountAdd', { body: made });
  expect(gateway.asked.map(({ verb }) => verb)).toContain('claim.close');
  await local.call('accountRemove', { params: { name: made.name } });
});
