import { type ChildProcess, spawn } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run } from '../../../builder/exec.ts';
import { freePort } from '../../../builder/qemu/free-port.ts';
import { type DdnsSettings, ddnsSettings } from '../../ddns/settings.ts';
import { type AcmeOptions, proveName, runAcme } from './client.ts';
import { providerFor } from './dns.ts';
import type { AcmePlan } from './plan.ts';

const token = 'v1.0-secret-token-of-the-test';
const main = fileURLToPath(new URL('./main.ts', import.meta.url));

/**
 * Let's Encrypt's own test server, Pebble, and its name server; uacme as on the device; and a stand-in for the
 * DNS provider's API, which lets that name server have the records.
 */
let folder: string;
let plan: AcmePlan;
let ddns: DdnsSettings;
let authority: string;
const children: ChildProcess[] = [];
const records: string[] = [];
let isOpen = true;

function start(command: string, args: readonly string[], env: Record<string, string> = {}): void {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', command, ...args], {
    stdio: 'ignore',
    env: { PATH: process.env.PATH ?? '', ...env },
  });
  children.push(child);
}

const cloudflare = (management: number) => {
  const known = new Map<string, { id: string; name: string; content: string }>();
  const tell = (path: string, body: object) =>
    fetch(`http://127.0.0.1:${management}${path}`, { method: 'POST', body: JSON.stringify(body) });
  return async (method: string, url: URL, body: Record<string, string>): Promise<object> => {
    if (url.pathname.endsWith('/zones')) return [{ id: 'z1', name: 'example.org' }];
    const host = (name: string) => `${name}.`;
    if (method === 'POST') {
      const id = `r${known.size + 1}`;
      const { name = '', content = '' } = body;
      known.set(id, { id, name, content });
      records.push(`${body.type} ${name}`);
      await tell('/set-txt', { host: host(name), value: content.replaceAll('"', '') });
      return { id, name, type: 'TXT', content };
    }
    if (method === 'GET')
      return [...known.values()].filter(({ name }) => name === url.searchParams.get('name'));
    const id = url.pathname.split('/').at(-1) ?? '';
    const one = known.get(id);
    known.delete(id);
    records.push(`gone ${one?.name}`);
    await tell('/clear-txt', { host: host(one?.name ?? '') });
    return { id };
  };
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-acme-'));
  authority = join(folder, 'ca.pem');
  await run('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
    ...['-subj', '/CN=test', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'],
    ...['-keyout', join(folder, 'key.pem'), '-out', authority, '-days', '2'],
  ]);
  const [dns, management, directory, pebbleManagement] = await Promise.all(
    Array.from({ length: 4 }, freePort),
  );
  start('pebble-challtestsrv', [
    ...['-dns01', `127.0.0.1:${dns}`, '-management', `127.0.0.1:${management}`],
    ...['-http01', '', '-https01', '', '-tlsalpn01', ''],
  ]);
  const config = join(folder, 'pebble.json');
  await writeFile(
    config,
    JSON.stringify({
      pebble: {
        listenAddress: `127.0.0.1:${directory}`,
        managementListenAddress: `127.0.0.1:${pebbleManagement}`,
        certificate: authority,
        privateKey: join(folder, 'key.pem'),
        httpPort: 1,
        tlsPort: 1,
      },
    }),
  );
  start('pebble', ['-config', config, '-dnsserver', `127.0.0.1:${dns}`], {
    PEBBLE_VA_NOSLEEP: '1',
    // It refuses a part of all nonces, so that clients learn to ask again.
    PEBBLE_WFE_NONCEREJECT: '20',
    PEBBLE_AUTHZREUSE: '0',
  });
  const api = cloudflare(management ?? 0);
  const server = createServer(
    { key: await readFile(join(folder, 'key.pem')), cert: await readFile(authority) },
    (request, response) => {
      let text = '';
      request.on('data', (data: Buffer) => {
        text += data.toString();
      });
      request.on('end', async () => {
        const mayIt = isOpen && request.headers.authorization === `Bearer ${token}`;
        const url = new URL(request.url ?? '', 'https://localhost');
        const result = mayIt
          ? await api(request.method ?? '', url, text === '' ? {} : JSON.parse(text))
          : null;
        response.statusCode = mayIt ? 200 : 403;
        response.end(
          JSON.stringify({
            success: mayIt,
            errors: mayIt ? [] : [{ code: 10000, message: 'Authentication error' }],
            result,
          }),
        );
      });
    },
  ).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  closers.push(() => server.close());
  const settings = {
    providers: [
      {
        type: 'cloudflare',
        zone: 'example.org',
        hostnames: ['attic.example.org'],
        token,
        server: `https://localhost:${(server.address() as AddressInfo).port}`,
        ca: await readFile(authority, 'utf8'),
      },
    ],
  };
  ddns = ddnsSettings.parse(settings);
  plan = {
    directory: `https://localhost:${directory}/dir`,
    email: null,
    wait: 0,
    sites: [{ name: 'photos', dns: ['photos.example.org', 'pictures.example.org'] }],
  };
  // As the unit's credentials.
  await writeFile(join(folder, 'ddns.yaml'), JSON.stringify(settings));
  await writeFile(join(folder, 'acme.json'), JSON.stringify(plan));
  await writeFile(join(folder, 'hook'), `#!/bin/sh\nexec ${process.execPath} ${main} hook "$@"\n`, {
    mode: 0o755,
  });
  await mkdir(join(folder, 'state'));
  await answers(plan.directory);
}, 60_000);

const closers: (() => void)[] = [];
afterAll(async () => {
  for (const close of closers) close();
  for (const child of children) child.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true });
});

async function answers(url: string): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const { exitCode } = await run('curl', ['-s', '--cacert', authority, '-o', '/dev/null', url], {
      okCodes: [7, 35, 56],
    });
    if (exitCode === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('Pebble does not answer');
}

/** In a mount namespace where the system trusts the test's authority alone. */
const uacme: AcmeOptions['run'] = (command, args) =>
  run(
    'unshare',
    [
      ...['--mount', 'sh', '-c'],
      `mount --bind ${authority} /etc/ssl/certs/ca-certificates.crt && exec "$@"`,
      ...['sh', command, ...args],
    ],
    {
      env: {
        PATH: process.env.PATH ?? '',
        CREDENTIALS_DIRECTORY: folder,
        STATE_DIRECTORY: join(folder, 'state'),
      },
    },
  ).then(
    ({ stdout }) => stdout,
    (error: { cause?: { stderr?: string } }) => {
      throw new Error(error.cause?.stderr ?? String(error));
    },
  );

const said: string[] = [];
const go = (more: Partial<AcmeOptions> = {}) =>
  runAcme({
    plan,
    ddns,
    folder: join(folder, 'state'),
    hook: join(folder, 'hook'),
    run: uacme,
    say: (text) => said.push(text),
    ...more,
  });

const live = () => readFile(join(folder, 'state/live/photos.pem'), 'utf8');

describe('a certificate of a public CA', () => {
  test('is issued for all names of a service, proven in DNS through the provider of dynamic DNS', async () => {
    const { certificates } = await go();
    expect(certificates).toMatchObject([
      { name: 'photos', problem: null, not_after: expect.any(String) },
    ]);
    expect(records.toSorted()).toEqual([
      'TXT _acme-challenge.photos.example.org',
      'TXT _acme-challenge.pictures.example.org',
      'gone _acme-challenge.photos.example.org',
      'gone _acme-challenge.pictures.example.org',
    ]);
    const pem = await live();
    const certificate = new X509Certificate(pem.slice(pem.indexOf('-----BEGIN CERT')));
    expect(certificate.issuer).toMatch(/Pebble/);
    expect(certificate.subjectAltName).toBe('DNS:photos.example.org, DNS:pictures.example.org');
    expect(pem.match(/BEGIN CERTIFICATE/g)?.length).toBeGreaterThan(1);
    expect(pem).toMatch(/BEGIN (EC )?PRIVATE KEY/);
    expect((await stat(join(folder, 'state/live/photos.pem'))).mode & 0o777).toBe(0o600);
  });

  test('stays while it is good, and is renewed before its end', async () => {
    const before = await live();
    await go();
    expect(await live()).toBe(before);
    const end = Date.parse((await go()).certificates[0]?.not_after ?? '');
    await go({ now: () => end - 29 * 86_400_000 });
    expect(await live()).not.toBe(before);
    expect(said.at(-1)).toMatch(/nearly over/);
  });

  test('is kept, and the owner told why without any secret, when the provider refuses', async () => {
    const before = await live();
    isOpen = false;
    const other = { ...plan, sites: [{ name: 'photos', dns: ['new.example.org'] }] };
    const { certificates } = await go({ plan: other });
    isOpen = true;
    expect(certificates[0]?.problem).toMatch(/Cloudflare refuses the token/);
    expect(await live()).toBe(before);
    expect(JSON.stringify([certificates, said])).not.toContain(token);
  });

  test('is not asked for when no provider has the name', async () => {
    const other = { ...plan, sites: [{ name: 'photos', dns: ['photos.example.net'] }] };
    const { certificates } = await go({ plan: other });
    expect(certificates[0]?.problem).toMatch(/no provider of dynamic DNS .* photos\.example\.net/);
  });
});

describe('the proof', () => {
  const value = 'x'.repeat(43);
  const asked: { url: string; body: string | undefined }[] = [];
  const programs: string[] = [];
  const world = {
    timeout: 1000,
    exchange: async ({ url, body }: { url: string; body?: string }) => {
      asked.push({ url, body });
      return { status: 200, headers: {}, body: 'OK' };
    },
    run: async (_: string, __: readonly string[], input: string) => {
      programs.push(input);
      return { code: 0, output: '' };
    },
  };
  const others = ddnsSettings.parse({
    providers: [
      {
        type: 'dyndns2',
        server: 'https://x.example',
        hostnames: ['a.example.com'],
        username: 'a',
        password: 'secret',
      },
      { type: 'duckdns', hostnames: ['attic.duckdns.org'], token: 'secret-token' },
      {
        type: 'rfc2136',
        server: '192.0.2.1',
        zone: 'example.net',
        hostnames: ['attic.example.net'],
        key: { name: 'k', secret: 'c2VjcmV0c2VjcmV0' },
      },
    ],
  });

  test('of DuckDNS is the one record that it has for a name and all below it', async () => {
    const ask = ['dns-01', 'photos.attic.duckdns.org', 'token', value];
    expect(await proveName(['begin', ...ask], others, 0, world)).toBe(0);
    expect(await proveName(['done', ...ask], others, 0, world)).toBe(0);
    expect(asked.map(({ url }) => new URL(url).search)).toEqual([
      `?domains=attic&token=secret-token&txt=${value}`,
      `?domains=attic&token=secret-token&txt=${value}&clear=true`,
    ]);
  });

  test('of a name server of the owner is an update by nsupdate', async () => {
    const ask = ['dns-01', 'photos.example.net', 'token', value];
    await proveName(['begin', ...ask], others, 0, world);
    await proveName(['failed', ...ask], others, 0, world);
    expect(programs).toEqual([
      expect.stringContaining(
        `zone example.net.\nupdate add _acme-challenge.photos.example.net. 60 TXT "${value}"\nsend`,
      ),
      expect.stringContaining(
        `update delete _acme-challenge.photos.example.net. TXT "${value}"\nsend`,
      ),
    ]);
  });

  test('is declined in another way than DNS, for names of others, and for what is no value', async () => {
    const sent = asked.length;
    expect(
      await proveName(['begin', 'http-01', 'attic.duckdns.org', 't', value], others, 0, world),
    ).toBe(1);
    expect(
      await proveName(['begin', 'dns-01', 'a.example.com', 't', value], others, 0, world),
    ).toBe(1);
    expect(
      await proveName(
        ['begin', 'dns-01', 'photos.example.net', 't', '"\nupdate delete x'],
        others,
        0,
        world,
      ),
    ).toBe(1);
    expect(asked).toHaveLength(sent);
    expect(providerFor(others.providers, 'notexample.net')).toBeUndefined();
  });
});
