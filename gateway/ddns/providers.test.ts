import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import type { Answer, Outcome } from './outcome.ts';
import { stands } from './outcome.ts';
import { providers } from './providers/all.ts';
import { commonAnswers, type Provider } from './providers/provider.ts';
import { keyFile, nsupdateScript, parseNsupdate } from './providers/rfc2136.ts';
import { ddnsSettings, type ProviderSettings, type SettingsOf } from './settings.ts';
import {
  type Authority,
  contextFor,
  lookupTo,
  makeAuthority,
  type Reply,
  type Seen,
  serve,
  type TestServer,
} from './testing.ts';

const v4 = { family: 4, address: '1.2.3.4' } as const;
const v6 = { family: 6, address: '2606:4700::1111' } as const;
const secret = 's3cr3t-t0ken';

let authority: Authority;
let server: TestServer;
beforeAll(async () => {
  authority = await makeAuthority();
});
afterEach(async () => {
  await server?.close();
});

/** Settings as the owner writes them, with the test's server in the provider's place. */
function settings<Type extends ProviderSettings['type']>(
  type: Type,
  more: Record<string, unknown>,
): SettingsOf<Type> {
  const parsed = ddnsSettings.parse({ providers: [{ type, ...more }] });
  return parsed.providers[0] as SettingsOf<Type>;
}

const given = {
  duckdns: () =>
    settings('duckdns', { hostnames: ['attic.duckdns.org'], token: secret, server: server.url }),
  noip: () =>
    settings('noip', {
      hostnames: ['attic.ddns.net'],
      username: 'key1',
      password: secret,
      contact: 'me@example.org',
      server: server.url,
    }),
  freedns: () =>
    settings('freedns', {
      hostnames: ['attic.mooo.com'],
      token4: secret,
      token6: 'other-token',
      server: server.url,
    }),
  namecheap: () =>
    settings('namecheap', {
      zone: 'example.org',
      hostnames: ['attic.example.org'],
      password: secret,
      server: server.url,
    }),
  dyndns2: () =>
    settings('dyndns2', {
      hostnames: ['attic.dyn.example'],
      username: 'me',
      password: secret,
      server: `${server.url}/nic/update`,
    }),
  cloudflare: () =>
    settings('cloudflare', {
      zone: 'example.org',
      hostnames: ['attic.example.org'],
      token: secret,
      server: server.url,
    }),
};
const overHttp = Object.keys(given) as (keyof typeof given)[];

async function update(
  type: keyof typeof given,
  sent: typeof v4 | typeof v6 = v4,
  context = contextFor(authority.ca),
): Promise<Outcome> {
  const provider = providers[type] as unknown as Provider;
  return await provider.update(given[type](), sent, context);
}

/** The documented text with this test's addresses in it. */
function fill(text: string, sent: typeof v4 | typeof v6): string {
  return text
    .replaceAll('ADDRESS4', sent.family === 4 ? sent.address : '')
    .replaceAll('ADDRESS6', sent.family === 6 ? sent.address : '')
    .replaceAll('ADDRESS', sent.address)
    .replaceAll('OTHER', '9.9.9.9')
    .replaceAll('NAME', 'attic.example.org')
    .replaceAll('"type":"A"', sent.family === 4 ? '"type":"A"' : '"type":"AAAA"');
}

const reply = (answer: Answer, sent: typeof v4 | typeof v6 = v4): Reply => ({
  status: answer.status ?? 200,
  headers: { ...answer.headers },
  body: fill(answer.says, sent),
});

const table = overHttp.flatMap((type) =>
  providers[type].answers.map((answer) => ({ type, answer, says: answer.says.slice(0, 60) })),
);

describe('every documented answer', () => {
  test.each(table.filter(({ type }) => type !== 'cloudflare'))('of $type: $says', async (o) => {
    server = await serve(authority, () => reply(o.answer));
    expect(await update(o.type)).toEqual(o.answer.outcome);
    // The same for the other family, where the provider has it.
    if (providers[o.type].families(given[o.type]() as never).includes(6)) {
      server.reply = () => reply(o.answer, v6);
      expect(await update(o.type, v6)).toEqual(o.answer.outcome);
    }
  });

  test.each(table.filter(({ type }) => type === 'cloudflare'))(
    'of Cloudflare to a change: $says',
    async ({ answer }) => {
      server = await serve(authority, (seen) =>
        seen.method === 'PATCH' ? reply(answer) : cloudflareLists(seen),
      );
      expect(await update('cloudflare')).toEqual(answer.outcome);
    },
  );

  const common = overHttp.flatMap((type) => commonAnswers.map((answer) => ({ type, ...answer })));
  test.each(common)('of any web server in place of $type: $when', async ({ type, ...answer }) => {
    server = await serve(authority, () => reply(answer));
    const outcome = await update(type);
    expect(outcome).toEqual(answer.outcome);
    expect(stands(outcome)).toBe(false);
  });

  test.each(table.filter(({ answer }) => stands(answer.outcome) && /ADDRESS/.test(answer.says)))(
    'of $type that names another address than was sent is no success: $says',
    async ({ type, answer }) => {
      const lie = (text: string) => fill(text.replaceAll(/ADDRESS[46]?/g, '6.6.6.6'), v4);
      server = await serve(authority, (seen) =>
        type === 'cloudflare' && seen.method === 'GET'
          ? cloudflareLists(seen)
          : { body: lie(answer.says) },
      );
      expect(await update(type)).toMatchObject({ kind: 'retry' });
    },
  );

  test.each(table.filter(({ type, answer }) => type !== 'cloudflare' && stands(answer.outcome)))(
    'of $type with a server error is no success: $says',
    async ({ type, answer }) => {
      server = await serve(authority, () => ({ ...reply(answer), status: 500 }));
      expect(await update(type)).toMatchObject({ kind: 'retry' });
    },
  );
});

function cloudflareLists({ path, query }: Seen): Reply {
  return {
    body: JSON.stringify({
      success: true,
      errors: [],
      result:
        path === '/client/v4/zones'
          ? [{ id: 'zone1', name: query.name }]
          : [{ id: 'rec1', name: query.name, type: query.type, content: '9.9.9.9', proxied: true }],
    }),
  };
}

describe('what is sent', () => {
  test('to DuckDNS: labels, and one family alone, so that none is guessed', async () => {
    server = await serve(authority, () => ({ body: 'OK' }));
    await update('duckdns');
    await update('duckdns', v6);
    expect(server.seen.map(({ path, query }) => ({ path, ...query }))).toEqual([
      { path: '/update', domains: 'attic', token: secret, verbose: 'true', ip: v4.address },
      { path: '/update', domains: 'attic', token: secret, verbose: 'true', ipv6: v6.address },
    ]);
  });

  test('to No-IP: credentials in a header, and the User-Agent that it demands', async () => {
    server = await serve(authority, () => ({ body: `good ${v4.address}` }));
    await update('noip');
    const [seen] = server.seen;
    expect(seen?.query).toEqual({ hostname: 'attic.ddns.net', myip: v4.address });
    expect(seen?.headers.authorization).toBe(
      `Basic ${Buffer.from(`key1:${secret}`).toString('base64')}`,
    );
    expect(seen?.headers['user-agent']).toMatch(/^\w+ \w+\/\w+-[\d.]+ me@example\.org$/);
  });

  test('to FreeDNS: the token of the family', async () => {
    server = await serve(authority, () => ({ body: `Updated a from 9.9.9.9 to ${v4.address}` }));
    expect(await update('freedns')).toEqual({ kind: 'updated' });
    await update('freedns', v6);
    expect(server.seen.map(({ path }) => path)).toEqual([`/u/${secret}/`, '/u/other-token/']);
  });

  test('to Namecheap: one host a request, @ for the domain itself', async () => {
    server = await serve(authority, () => reply(providers.namecheap.answers.at(-1) as Answer));
    const both = settings('namecheap', {
      zone: 'example.org',
      hostnames: ['example.org', 'a.b.example.org'],
      password: secret,
      server: server.url,
    });
    await providers.namecheap.update(both, v4, contextFor(authority.ca));
    expect(server.seen.map(({ query }) => query.host)).toEqual(['@', 'a.b']);
  });

  test('to a server of dyndns2 at its own path, under the name that it wants', async () => {
    server = await serve(authority, () => ({ body: `good ${v6.address}` }));
    const own = settings('dyndns2', {
      server: `${server.url}/own/path`,
      hostnames: ['a.dyn.example'],
      username: 'u',
      password: secret,
      ipv6_parameter: 'myipv6',
    });
    expect(await providers.dyndns2.update(own, v6, contextFor(authority.ca))).toEqual({
      kind: 'updated',
    });
    expect(server.seen[0]).toMatchObject({ path: '/own/path', query: { myipv6: v6.address } });
  });
});

test('an answer for fewer names than were sent is no success', async () => {
  server = await serve(authority, () => ({ body: `good ${v4.address}` }));
  const two = { ...given.noip(), hostnames: ['a.ddns.net', 'b.ddns.net'] };
  expect(await providers.noip.update(two, v4, contextFor(authority.ca))).toMatchObject({
    kind: 'retry',
  });
  server.reply = () => ({ body: `good ${v4.address}\r\nnohost\r\n` });
  expect(await providers.noip.update(two, v4, contextFor(authority.ca))).toMatchObject({
    kind: 'stopped',
  });
});

describe('FreeDNS v1', () => {
  const v1 = () =>
    settings('freedns', {
      hostnames: ['attic.mooo.com'],
      username: 'Attic',
      password: secret,
      server: server.url,
    });
  const list = (address4: string) =>
    `attic.mooo.com|${address4}|https://freedns.afraid.org/dynamic/update.php?T0K3N\nattic.mooo.com|2606:4700::9|https://freedns.afraid.org/dynamic/update.php?T6\n`;

  test("asks for the records, then for the right one's URL at the server that we trust", async () => {
    server = await serve(authority, ({ path }) => ({
      body:
        path === '/api/'
          ? list('9.9.9.9')
          : `Updated 1 host(s) attic.mooo.com to ${v4.address} in 0.1 seconds`,
    }));
    expect(await providers.freedns.update(v1(), v4, contextFor(authority.ca))).toEqual({
      kind: 'updated',
    });
    // printf 'attic|s3cr3t-t0ken' | sha1sum
    expect(server.seen[0]?.query.sha).toBe('0b239623aa12e0bca2593a6fd09c67a417caaadc');
    expect(server.seen[1]?.url).toBe('/dynamic/update.php?T0K3N&address=1.2.3.4');
  });

  test('sends nothing more if the list has the address already', async () => {
    server = await serve(authority, () => ({ body: list(v4.address) }));
    expect(await providers.freedns.update(v1(), v4, contextFor(authority.ca))).toEqual({
      kind: 'unchanged',
    });
    expect(server.seen).toHaveLength(1);
  });

  test.each([
    ['ERROR: Could not authenticate.', 'stopped'],
    ['other.mooo.com|9.9.9.9|https://freedns.afraid.org/dynamic/update.php?X', 'stopped'],
    ['a|b|c', 'retry'],
    ['', 'retry'],
  ])('refuses as a list: %s', async (body, kind) => {
    server = await serve(authority, () => ({ body }));
    expect(await providers.freedns.update(v1(), v4, contextFor(authority.ca))).toMatchObject({
      kind,
    });
  });
});

describe('Cloudflare', () => {
  type Row = { id: string; name: string; type: string; content: string; proxied?: boolean };
  /** The API's zone and record calls over a list of records. */
  function api(records: Row[]): TestServer['reply'] {
    const ok = (result: unknown): Reply => ({ body: JSON.stringify({ success: true, result }) });
    const gone: Reply = {
      status: 404,
      body: JSON.stringify({ success: false, errors: [{ code: 7003, message: 'gone' }] }),
    };
    return ({ method, path, query, body, headers }) => {
      if (headers.authorization !== `Bearer ${secret}`)
        return {
          status: 403,
          body: JSON.stringify({ success: false, errors: [{ code: 10000, message: 'no' }] }),
        };
      const [, zone, , id] = path.slice('/client/v4/'.length).split('/');
      if (zone === undefined)
        return ok(query.name === 'example.org' ? [{ id: 'z1', name: 'example.org' }] : []);
      if (zone !== 'z1') return gone;
      if (method === 'GET')
        return ok(records.filter((one) => one.name === query.name && one.type === query.type));
      const sent = body === '' ? {} : (JSON.parse(body) as Partial<Row>);
      if (method === 'POST') {
        const made = { id: 'new', ...sent } as Row;
        records.push(made);
        return ok(made);
      }
      const index = records.findIndex((one) => one.id === id);
      const found = records[index];
      if (!found) return gone;
      if (method === 'DELETE') {
        records.splice(index, 1);
        return ok({ id });
      }
      return ok(Object.assign(found, sent));
    };
  }
  const row = (more: Partial<Row> = {}): Row => ({
    id: 'r1',
    name: 'attic.example.org',
    type: 'A',
    content: '9.9.9.9',
    proxied: true,
    ...more,
  });
  const methods = () => server.seen.map(({ method }) => method);

  test('changes the content alone, so that proxied, ttl and comment stay', async () => {
    const records = [row()];
    server = await serve(authority, api(records));
    expect(await update('cloudflare')).toEqual({ kind: 'updated' });
    expect(records).toEqual([row({ content: v4.address })]);
    expect(JSON.parse(server.seen.at(-1)?.body ?? '')).toEqual({ content: v4.address });
  });

  test('changes nothing where the address is there already, in whatever spelling', async () => {
    server = await serve(
      authority,
      api([row({ type: 'AAAA', content: '2606:4700:0:0:0:0:0:1111' })]),
    );
    expect(await update('cloudflare', v6)).toEqual({ kind: 'unchanged' });
    expect(methods()).toEqual(['GET', 'GET']);
  });

  test('makes a record where there is none, not proxied', async () => {
    const records: Row[] = [];
    server = await serve(authority, api(records));
    expect(await update('cloudflare', v6)).toEqual({ kind: 'updated' });
    expect(records).toMatchObject([{ type: 'AAAA', content: v6.address, proxied: false }]);
  });

  test('touches none of several records, and the other family goes on', async () => {
    server = await serve(authority, api([row(), row({ id: 'r2' })]));
    expect(await update('cloudflare')).toMatchObject({ kind: 'stopped', record: true });
    expect(methods()).not.toContain('PATCH');
  });

  test('looks a zone up anew whose id is gone', async () => {
    server = await serve(authority, api([row()]));
    const memory = { zone: 'z0' };
    expect(await update('cloudflare', v4, contextFor(authority.ca, { memory }))).toEqual({
      kind: 'updated',
    });
    expect(memory.zone).toBe('z1');
  });

  test('stops at a token that may not see the zone', async () => {
    server = await serve(authority, api([]));
    const other = settings('cloudflare', {
      zone: 'example.com',
      hostnames: ['a.example.com'],
      token: secret,
      server: server.url,
    });
    expect(await providers.cloudflare.update(other, v4, contextFor(authority.ca))).toMatchObject({
      kind: 'stopped',
      reason: expect.stringContaining('example.com'),
    });
  });

  test("clears one family's record", async () => {
    const records = [row(), row({ id: 'r6', type: 'AAAA', content: v6.address })];
    server = await serve(authority, api(records));
    const cleared = await providers.cloudflare.clear?.run(
      given.cloudflare(),
      6,
      contextFor(authority.ca),
    );
    expect(cleared).toEqual({ kind: 'updated' });
    expect(records).toEqual([row()]);
  });
});

describe('the connection', () => {
  const attempt = async (options: Parameters<typeof contextFor>[1] = {}, ca = authority.ca) =>
    await update('duckdns', v4, contextFor(ca, options));

  test.each([
    ['IPv4 only', '127.0.0.1', ['127.0.0.1']],
    ['IPv6 only', '::1', ['::1']],
    ['both, and the first does not answer', '127.0.0.1', ['::1', '127.0.0.1']],
  ] as const)('is made over %s', async (_, host, addresses) => {
    server = await serve(authority, () => ({ body: 'OK' }), host);
    expect(await attempt({ lookup: lookupTo(addresses) })).toEqual({ kind: 'updated' });
  });

  test('to a server with a certificate of another authority is refused, before anything is sent', async () => {
    const other = await makeAuthority();
    server = await serve(other, () => ({ body: 'OK' }));
    await expect(attempt()).rejects.toThrow('its TLS certificate is of no authority');
    expect(server.seen).toEqual([]);
  });

  test('to a server with a certificate of another name is refused', async () => {
    server = await serve(authority, () => ({ body: 'OK' }), '127.0.0.1', 'other.test');
    await expect(attempt()).rejects.toThrow('its TLS certificate is of another name');
    expect(server.seen).toEqual([]);
  });

  test('that is refused, or whose name cannot be resolved, says so without the token', async () => {
    server = await serve(authority, () => ({ body: 'OK' }));
    await server.close();
    const error = (await attempt().catch((cause: unknown) => cause)) as Error;
    expect(error.message).toMatch(/^provider\.test:\d+: the connection was refused$/);
    expect(String(error.stack)).not.toContain(secret);
    server = await serve(authority, () => ({ body: 'OK' }), '127.0.0.1', 'provider.invalid');
    await expect(attempt()).rejects.toThrow('its name cannot be resolved');
  });

  test('that gives no answer ends in time', async () => {
    server = await serve(authority, () => undefined);
    const start = Date.now();
    await expect(attempt({ timeout: 300 })).rejects.toThrow('no answer within 0.3 s');
    expect(Date.now() - start).toBeLessThan(3000);
  });

  test('that never stops talking is cut off', async () => {
    server = await serve(authority, () => ({ body: `OK${' '.repeat(200_000)}` }));
    await expect(attempt()).rejects.toThrow('longer than any of its protocol');
  });

  test('follows no redirect', async () => {
    const other = await serve(authority, () => ({ body: 'OK' }));
    server = await serve(authority, () => ({
      status: 302,
      headers: { location: `${other.url}/` },
      body: '',
    }));
    expect(await attempt()).toMatchObject({ kind: 'retry' });
    expect(other.seen).toEqual([]);
    await other.close();
  });
});

test.each([
  ['120', 120],
  ['Fri, 02 Jan 2026 03:14:05 GMT', 600],
  ['99999999', 86_400],
  ['soon', undefined],
  ['-5', undefined],
])('Retry-After: %s', async (value, after) => {
  server = await serve(authority, () => ({
    status: 429,
    headers: { 'retry-after': value },
    body: '',
  }));
  expect(((await update('noip')) as { after?: number }).after).toBe(after);
});

describe('RFC 2136', () => {
  const own = () =>
    settings('rfc2136', {
      server: '127.0.0.1',
      port: 5353,
      zone: 'example.org',
      hostnames: ['attic.example.org'],
      key: { name: 'attic-key', secret: 'c2VjcmV0LXNlY3JldA==' },
    });

  test('replaces the records of one family in one message', () => {
    expect(nsupdateScript(own(), 6, v6.address)).toBe(
      [
        'server 127.0.0.1 5353',
        'zone example.org.',
        'update delete attic.example.org. AAAA',
        'update add attic.example.org. 300 AAAA 2606:4700::1111',
        'send',
        'quit',
        '',
      ].join('\n'),
    );
    expect(nsupdateScript(own(), 6, undefined)).not.toContain('update add');
  });

  test.each(providers.rfc2136.answers)('understands of nsupdate: $says', ({ says, outcome }) => {
    expect(parseNsupdate(2, says)).toEqual(outcome);
    // Whatever it says: with these words it is no success.
    expect(parseNsupdate(0, says).kind === 'updated' && /failed/.test(says)).toBe(false);
  });

  test('success is exit code 0 and silence; what it lacks is said', () => {
    expect(parseNsupdate(0, '\n')).toEqual({ kind: 'updated' });
    expect(parseNsupdate(1, 'weird')).toMatchObject({ kind: 'retry' });
    expect(parseNsupdate(127, '')).toMatchObject({
      kind: 'stopped',
      fix: expect.stringContaining('stages.ddns.rfc2136'),
    });
  });

  test('the key is in a file of ours alone, in no argument, and gone afterwards', async () => {
    let argsSeen: readonly string[] = [];
    const context = {
      ...contextFor(undefined),
      run: async (_: string, args: readonly string[], input: string) => {
        argsSeen = args;
        const file = args.at(-1) ?? '';
        expect(await readFile(file, 'utf8')).toBe(keyFile(own()));
        const { stdout } = await run('stat', ['-c', '%a', file, join(file, '..')]);
        expect(stdout.trim().split('\n')).toEqual(['600', '700']);
        expect(input).not.toContain('c2VjcmV0');
        return { code: 0, output: '' };
      },
    };
    expect(await providers.rfc2136.update(own(), v4, context)).toEqual({ kind: 'updated' });
    expect(argsSeen.join(' ')).not.toContain('c2VjcmV0');
    await expect(readFile(argsSeen.at(-1) ?? '')).rejects.toThrow('ENOENT');
  });
});
