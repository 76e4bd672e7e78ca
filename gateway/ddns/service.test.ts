import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import type { networkInterfaces } from 'node:os';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { deviceSystem } from '../../firstboot/system.ts';
import { forgetStops, readStatus } from './command.ts';
import type { Network } from './discover/discover.ts';
import { publishError, runService, type ServiceOptions } from './service.ts';
import {
  type Authority,
  lookupTo,
  makeAuthority,
  type Reply,
  type Seen,
  serve,
  stunResponse,
  stunServer,
  type TestServer,
} from './testing.ts';

/** The whole service against servers on this machine: two that tell the address, and two providers. */
const minute = 60_000;
/** With characters that URLs write otherwise. */
const token = 's3cr3t/t0ken+!x';
const password = 'pa55+w0rd!';

let authority: Authority;
let other: Authority;
let root: string;
let places: ServiceOptions['places'];
let said: string[];
let now: number;
let online: boolean;
let interfaces: string[];
/** What the address services say, by family. */
let address: { 4: string; 6: string };
let duck: TestServer;
let noip: TestServer;
let pages: TestServer[];
const closing: TestServer[] = [];

beforeAll(async () => {
  authority = await makeAuthority();
  other = await makeAuthority();
});

async function started(...given: Parameters<typeof serve>): Promise<TestServer> {
  const server = await serve(...given);
  closing.push(server);
  return server;
}

/** Protocol of duckdns.org/spec.jsp, with `verbose`. */
const duckReply = ({ query }: Seen): Reply => ({
  body: query.token === token ? `OK\n${query.ip ?? ''}\n${query.ipv6 ?? ''}\nUPDATED` : 'KO',
});
const noipReply = ({ query }: Seen): Reply => ({ body: `good ${query.myip ?? query.myipv6}\r\n` });

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'pi-gateway-ddns-'));
  places = {
    settings: join(root, 'etc/pi-gateway/ddns.yaml'),
    state: join(root, 'var/lib/pi-gateway-ddns/state.json'),
    runtime: join(root, 'run/pi-gateway-ddns'),
  };
  for (const path of [places.settings, places.state])
    await mkdir(dirname(path), { recursive: true });
  said = [];
  now = Date.parse('2026-01-02T03:04:05Z');
  online = true;
  interfaces = ['192.168.1.7'];
  address = { 4: '1.2.3.4', 6: '2606:4700::1111' };
  const says = (family: 4 | 6) => () => ({ body: `${address[family]}\n` });
  pages = [
    await started(authority, says(4), '127.0.0.1', 'one.test'),
    await started(authority, says(4), '127.0.0.1', 'two.test'),
  ];
  duck = await started(authority, duckReply);
  noip = await started(authority, noipReply);
  await configure();
});
afterEach(async () => {
  for (const server of closing.splice(0)) await server.close();
  await rm(root, { recursive: true });
});

async function configure(more: Record<string, unknown> = {}): Promise<void> {
  const { ca } = authority;
  const settings = {
    providers: [
      { type: 'duckdns', hostnames: ['attic.duckdns.org'], token, server: duck.url, ca },
      {
        type: 'noip',
        hostnames: ['attic.ddns.net'],
        username: 'key1',
        password,
        server: noip.url,
        ca,
      },
    ],
    address: { families: [4], stun: [], dns: [], https: pages.map(({ url }) => `${url}/`), ca },
    timings: { timeout_seconds: 2 },
    ...more,
  };
  await writeFile(places.settings, stringify(settings), { mode: 0o600 });
}

const network = (): Network => ({
  lookup: (hostname, options, callback) =>
    lookupTo(['127.0.0.1', '::1'])(online ? hostname : 'gone.invalid', options, callback),
  interfaces: () =>
    ({
      eth0: (online ? interfaces : []).map((one) => ({
        address: one,
        family: one.includes(':') ? 'IPv6' : 'IPv4',
        internal: false,
      })),
    }) as unknown as ReturnType<typeof networkInterfaces>,
});

const once = (more: Partial<ServiceOptions> = {}) =>
  runService({
    places,
    say: (text) => said.push(text),
    network: network(),
    now: () => now,
    random: () => 0,
    uptime: () => 60 * minute,
    ...more,
  });

const later = (minutes: number, more?: Partial<ServiceOptions>) => {
  now += minutes * minute;
  return once(more);
};

const alert = () => readFile(join(places.runtime, 'alert'), 'utf8');

describe('a run', () => {
  test('registers the address, and leaves a state that only the service reads and a status for all', async () => {
    const status = await once();
    expect(status).toMatchObject({ state: 'registered', registered: true, failed: false });
    expect(duck.seen).toMatchObject([{ query: { domains: 'attic', ip: '1.2.3.4' } }]);
    const mode = async (path: string) => (await stat(path)).mode & 0o777;
    expect(await mode(places.state)).toBe(0o600);
    expect(await mode(join(places.runtime, 'status.json'))).toBe(0o644);
    expect(await readStatus(deviceSystem(() => undefined)).catch(() => 'elsewhere')).toBe(
      'elsewhere',
    );
    expect(await readStatus({ ...deviceSystem(() => undefined), root })).toEqual(status);
    expect(await alert()).toBe('');
    expect(said).toEqual([
      'DuckDNS: attic.duckdns.org now has 1.2.3.4',
      'attic.duckdns.org is registered at DuckDNS with 1.2.3.4',
    ]);
  });

  test('after it sends nothing, writes nothing to the card and says nothing', async () => {
    await once();
    const before = await stat(places.state);
    said = [];
    for (let run = 0; run < 3; run += 1) await later(5);
    expect(duck.seen).toHaveLength(1);
    expect(said).toEqual([]);
    const after = await stat(places.state);
    expect([after.ino, after.mtimeMs]).toEqual([before.ino, before.mtimeMs]);
  });

  test('sends an address that has changed', async () => {
    await once();
    address[4] = '1.2.3.5';
    expect((await later(5)).summary).toContain('with 1.2.3.5');
    expect(duck.seen.map(({ query }) => query.ip)).toEqual(['1.2.3.4', '1.2.3.5']);
  });

  test.each([
    ['both families', [4, 6], ['1.2.3.4', '2606:4700::1111']],
    ['IPv6 alone', [6], ['2606:4700::1111']],
  ])('with %s sends each on its own', async (_, families, wanted) => {
    interfaces = ['192.168.1.7', '2606:4700::1111'];
    const six = await started(authority, () => ({ body: address[6] }), '::1', 'three.test');
    const { ca } = authority;
    const https = [...pages, six].map(({ url }) => `${url}/`);
    await configure({ address: { families, stun: [], dns: [], https, ca } });
    expect((await once()).summary).toContain(`with ${wanted.join(' and ')}`);
    expect(duck.seen.map(({ query }) => query.ip ?? query.ipv6)).toEqual(wanted);
  });

  test('that loses its record to a damaged file sends nothing for 5 minutes', async () => {
    await writeFile(places.state, '{"version":1,"provi');
    expect((await once()).state).toBe('pending');
    expect(said[0]).toMatch(/damaged/);
    expect(duck.seen).toEqual([]);
    expect((await later(5)).state).toBe('registered');
  });
});

describe('no network', () => {
  test('is waited for at boot; once it is there the name is registered in the same run', async () => {
    online = false;
    const status = await once({
      patience: 60_000,
      pause: 100,
      say: (text) => {
        said.push(text);
        if (text.startsWith('No public address yet')) online = true;
      },
    });
    expect(said[0]).toBe('No public address yet; waiting for the network');
    expect(status.state).toBe('registered');
  });

  test('for long is no failure while a name stands, and sends nothing', async () => {
    await once();
    online = false;
    const status = await later(300);
    expect(status).toMatchObject({ state: 'offline', registered: true, failed: false });
    expect(duck.seen).toHaveLength(1);
  });

  test('ever, since boot, is one after half an hour', async () => {
    online = false;
    expect(await once()).toMatchObject({ state: 'offline', registered: false, failed: false });
    const status = await later(31);
    expect(status).toMatchObject({ state: 'offline', failed: true });
    expect(await alert()).toBe(`${status.summary}\n`);
    online = true;
    expect(await later(5)).toMatchObject({ state: 'registered', failed: false });
    expect(await alert()).toBe('');
  });
});

describe('is not taken in', () => {
  const portal = () => ({
    body: '<!DOCTYPE html><html><body>Welcome! OK good 1.2.3.4 <a href="/login">Log in</a></body></html>',
  });

  test('by a captive portal that answers for everybody', async () => {
    for (const server of [...pages, duck, noip]) server.reply = portal;
    expect(await once()).toMatchObject({ state: 'offline', registered: false });
    expect(duck.seen).toEqual([]);
  });

  test('by one that answers for the provider', async () => {
    duck.reply = portal;
    const status = await once();
    expect(status).toMatchObject({ state: 'pending', registered: false });
    expect(status.providers[0]?.records[0]?.notes.join()).toContain('as a captive portal does');
  });

  test('by a provider whose certificate is of nobody: nothing is sent there', async () => {
    duck = await started(other, duckReply);
    await configure();
    const status = await once();
    expect(status).toMatchObject({ registered: false });
    expect(status.providers[0]?.records[0]?.notes.join()).toContain('of no authority');
    expect(duck.seen).toEqual([]);
  });

  test('by an address service that lies, alone', async () => {
    const [, liar] = pages;
    if (liar) liar.reply = () => ({ body: '6.6.6.6' });
    const status = await once();
    expect(status.addresses[0]?.notes.join()).toContain('Services disagree');
    expect(duck.seen).toEqual([]);
  });
});

test('the next provider takes over while the first is down, the alert says so, and it returns', async () => {
  duck.reply = () => ({ status: 502, body: '<html>Bad Gateway</html>' });
  await once();
  await later(5);
  expect(noip.seen).toEqual([]);
  const status = await later(5);
  expect(status).toMatchObject({ state: 'fallback', active: { provider: 'No-IP' } });
  expect(await alert()).toBe(`${status.summary}\n`);
  expect(status.summary).toMatch(/^DuckDNS .* is down: .*attic\.ddns\.net is registered at No-IP/);
  duck.reply = duckReply;
  expect(await later(60)).toMatchObject({ state: 'registered', active: { provider: 'DuckDNS' } });
  expect(await alert()).toBe('');
  expect(noip.seen).toHaveLength(1);
});

test('a provider that has stopped is asked no more, until the owner says that it is mended', async () => {
  const system = { ...deviceSystem(() => undefined), root };
  duck.reply = () => ({ status: 401, body: 'Unauthorized' });
  noip.reply = () => ({ body: 'abuse' });
  expect(await once()).toMatchObject({ state: 'unregistered', failed: true });
  await later(600);
  expect([duck.seen.length, noip.seen.length]).toEqual([1, 1]);
  duck.reply = duckReply;
  await forgetStops(system);
  expect((await stat(places.state)).mode & 0o777).toBe(0o600);
  expect(await later(1)).toMatchObject({ state: 'registered' });
});

test('another token in the settings is tried at once', async () => {
  duck.reply = () => ({ status: 401, body: '' });
  await once();
  duck.reply = () => ({ body: 'OK' });
  const text = await readFile(places.settings, 'utf8');
  await writeFile(places.settings, text.replace(token, 'another-token'));
  expect((await once()).active).toMatchObject({ provider: 'DuckDNS' });
  expect(duck.seen.at(-1)?.query.token).toBe('another-token');
});

async function allFiles(): Promise<string> {
  const found = await readdir(root, { recursive: true, withFileTypes: true });
  const files = found.filter((one) => one.isFile()).map((one) => join(one.parentPath, one.name));
  const texts = await Promise.all(
    files.filter((path) => path !== places.settings).map((path) => readFile(path, 'utf8')),
  );
  expect(texts.length).toBeGreaterThanOrEqual(3);
  return texts.join('\n');
}

test('no secret is in a file, a line or the status, even if the providers repeat the request', async () => {
  const echo = ({ url, headers }: Seen): Reply => ({
    body: `ERROR ${headers.authorization ?? ''} in ${url} ${new URL(url, 'https://x').searchParams}`,
  });
  duck.reply = echo;
  noip.reply = echo;
  let last = await once();
  for (let run = 0; run < 4; run += 1) last = await later(15);
  expect(duck.seen.length).toBeGreaterThan(1);
  expect(noip.seen.length).toBeGreaterThan(1);
  expect(last.providers[1]?.records[0]?.notes.join()).toContain('ERROR Basic ***');
  const everything = [await allFiles(), ...said, JSON.stringify(last)].join('\n');
  for (const secret of [token, password])
    for (const form of [
      secret,
      encodeURIComponent(secret),
      new URLSearchParams({ x: secret }).toString().slice(2),
      Buffer.from(secret).toString('base64'),
      Buffer.from(`key1:${secret}`).toString('base64'),
    ])
      expect(everything).not.toContain(form);
});

describe('the program as it lies on the device', () => {
  /** Those of its unit. */
  const flags = ['--jitless', '--no-expose-wasm'];
  /** Debian's, where there is one: it is older than the one that runs the tests. */
  const node = existsSync('/usr/bin/node') ? '/usr/bin/node' : process.execPath;

  test('registers the name, and shows no secret in its arguments and environment', async () => {
    const program = join(root, 'ddns.mjs');
    const require =
      "import{createRequire}from'node:module';const require=createRequire(import.meta.url);";
    await build({
      entryPoints: [join(import.meta.dirname, 'main.ts')],
      outfile: program,
      bundle: true,
      platform: 'node',
      target: 'node20',
      format: 'esm',
      banner: { js: require },
    });
    const { ca } = authority;
    const here = (server: TestServer) => `https://127.0.0.1:${server.port}`;
    const stun = await stunServer(4, (request) => stunResponse(request, [1, 2, 3, 4]));
    const settings = {
      providers: [
        { type: 'duckdns', hostnames: ['attic.duckdns.org'], token, server: here(duck), ca },
      ],
      address: {
        families: [4],
        interface: false,
        stun: [`127.0.0.1:${stun.port}`, 'nobody.invalid:3478'],
        dns: [],
        https: [],
        quorum: 1,
      },
    };
    await writeFile(join(root, 'ddns.yaml'), stringify(settings), { mode: 0o600 });
    let shown = '';
    duck.reply = (seen) => {
      for (const file of ['cmdline', 'environ'])
        shown += readFileSync(`/proc/${running.child.pid}/${file}`, 'utf8');
      return duckReply(seen);
    };
    const running = promisify(execFile)(node, [...flags, program], {
      env: {
        CREDENTIALS_DIRECTORY: root,
        STATE_DIRECTORY: dirname(places.state),
        RUNTIME_DIRECTORY: places.runtime,
      },
    });
    const { stdout } = await running;
    await stun.close();
    expect(stdout).toBe(
      'DuckDNS: attic.duckdns.org now has 1.2.3.4\nattic.duckdns.org is registered at DuckDNS with 1.2.3.4\n',
    );
    expect(shown).toContain('ddns.mjs');
    expect(shown).not.toContain(token);
  });
});

describe('settings that are wrong', () => {
  test.each([
    ['an unknown key', (text: string) => text.replace('token: ', 'tokn: ')],
    ['a token as a key', (text: string) => text.replace('token: ', '? token:')],
    ['no YAML', (text: string) => text.replace('token: ', 'token: "')],
    ['nothing', () => ''],
  ])('(%s) end the run with a message that tells no secret', async (_, spoil) => {
    await writeFile(places.settings, spoil(await readFile(places.settings, 'utf8')));
    const error = (await once().catch((cause: unknown) => cause)) as Error;
    expect(error.message).toMatch(/^ddns settings: /);
    expect(error.message).not.toContain(token);
    await publishError(places, error.message);
    expect(await readStatus({ ...deviceSystem(() => undefined), root })).toMatchObject({
      state: 'error',
      failed: true,
      summary: error.message,
    });
    expect(await alert()).toBe(`${error.message}\n`);
  });

  test.each([
    ['a token as a key', `providers:\n  - {type: duckdns, token:${token}}\n`],
    ['a mapping as a key', `providers:\n  - {type: duckdns, {token: ${token}}: 1}\n`],
  ])(
    '(%s) make the program fail, with the reason in the journal and for the CLI',
    async (_, text) => {
      await writeFile(join(root, 'ddns.yaml'), text);
      const program = promisify(execFile)(
        process.execPath,
        [join(import.meta.dirname, 'main.ts')],
        {
          env: {
            CREDENTIALS_DIRECTORY: root,
            STATE_DIRECTORY: dirname(places.state),
            RUNTIME_DIRECTORY: places.runtime,
          },
        },
      );
      const failure = (await program.catch((cause: unknown) => cause)) as {
        code: number;
        stderr: string;
        stdout: string;
      };
      expect(failure.code).toBe(1);
      expect(failure.stderr).toMatch(/^ddns settings: providers\.0/);
      expect(failure.stderr + failure.stdout + (await alert())).not.toContain(token);
    },
  );
});
