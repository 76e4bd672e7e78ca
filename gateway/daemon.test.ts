import { type ChildProcess, spawn } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, chown, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { freePort } from '../builder/qemu/free-port.ts';
import { project } from '../builder/testing/build.ts';
import { ca, caPath } from '../firstboot/steps/ca.ts';
import { claim, claimCode } from '../firstboot/steps/claim.ts';
import { TestDevice } from '../firstboot/testing.ts';
import { connectHelper } from './helper/client.ts';
import type { Actor } from './helper/verb.ts';
import { renewCertificate, serverPem } from './tls/certificate.ts';
import { namesOf } from './tls/names.ts';
import { version } from './version.ts';

/**
 * The programs as they lie on the device, bundled, under its node and without privileges, with sockets from
 * systemd-socket-activate(1) as from systemd: nothing in them is a stand-in but the device's own root.
 */
const flags = ['--jitless', '--no-expose-wasm', '--max-semi-space-size=1'];
/** Debian's, where there is one: it is older than the one that runs the tests. */
const node = existsSync('/usr/bin/node') ? '/usr/bin/node' : process.execPath;
const isRoot = process.getuid?.() === 0;
/** nobody and nogroup, as root; else whoever runs the tests. */
const user = isRoot ? 65_534 : (process.getuid?.() ?? 0);
const group = isRoot ? 65_534 : (process.getgid?.() ?? 0);
const me: Actor = { via: 'device', name: 'test' };

let device: TestDevice;
let port: number;
/** What the daemon's bundle is made of. */
let parts: string[];
let helper: Started | undefined;
let daemon: Started;

type Started = { child: ChildProcess; output: () => string; ended: Promise<number | null> };

const path = (name: string) => join(device.root, name);

/** @returns the files that it is made of. */
async function bundle(entry: string, to: string): Promise<string[]> {
  const { metafile } = await build({
    entryPoints: [join(project, entry)],
    outfile: path(to),
    bundle: true,
    minify: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    logLevel: 'silent',
    metafile: true,
    absWorkingDir: project,
    banner: {
      js: "import{createRequire as __cr}from'node:module';const require=__cr(import.meta.url);",
    },
  });
  const [output] = Object.values(metafile.outputs);
  return Object.entries(output?.inputs ?? {}).flatMap(([file, { bytesInOutput }]) =>
    bytesInOutput > 0 ? [file] : [],
  );
}

/** @param sockets by name. */
function start(
  sockets: Record<string, string>,
  program: string,
  { env = {}, asNobody = false }: { env?: Record<string, string>; asNobody?: boolean } = {},
): Started {
  const variables = { PI_GATEWAY_ROOT: device.root, ...env };
  const drop =
    asNobody && isRoot
      ? ['setpriv', `--reuid=${user}`, `--regid=${group}`, '--clear-groups', '--no-new-privs']
      : [];
  const child = spawn(
    'systemd-socket-activate',
    [
      ...Object.values(sockets).flatMap((one) => ['-l', one]),
      `--fdname=${Object.keys(sockets).join(':')}`,
      ...Object.entries(variables).map(([name, value]) => `--setenv=${name}=${value}`),
      ...[...drop, node, ...flags, path(program)],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      text += chunk.toString();
    });
  return {
    child,
    output: () => text,
    ended: new Promise((resolve) => child.on('exit', resolve)),
  };
}

type Answer = { status: number; body: string };

function answerOf(
  text: string,
  send: (take: (response: IncomingMessage) => void) => ClientRequest,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = send((response) => {
      let body = '';
      response.on('data', (chunk) => {
        body += chunk.toString();
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    });
    sent.on('error', reject);
    sent.end(text);
  });
}

/** As a browser that trusts the device's root and nothing else. */
const overTls = async (
  where: string,
  headers: Record<string, string> = {},
  servername = 'attic.local',
  body?: object,
) => {
  const root = await device.read(caPath);
  const text = body === undefined ? '' : JSON.stringify(body);
  const ofBody = { 'content-type': 'application/json', 'content-length': `${text.length}` };
  const sent = { host: servername, ...headers, ...(body === undefined ? {} : ofBody) };
  const method = body === undefined ? 'GET' : 'POST';
  return await answerOf(text, (take) =>
    httpsRequest(
      {
        host: '127.0.0.1',
        port,
        path: where,
        ca: root,
        servername,
        agent: false,
        method,
        headers: sent,
      },
      take,
    ),
  );
};

const asRoot = (where: string) =>
  answerOf('', (take) =>
    httpRequest({ socketPath: path('run/pi-gatewayd/api.sock'), path: where, agent: false }, take),
  );

beforeAll(async () => {
  device = await TestDevice.make();
  port = await freePort();
  await device.put('etc/hostname', 'attic\n');
  await ca.apply(device.system);
  await claim.apply(device.system);
  const addresses = ['127.0.0.1', '::1', '10.66.0.1'];
  await device.put(
    'usr/share/pi-gateway/daemon.json',
    JSON.stringify({ port, addresses, dashboard: true }),
  );
  await renewCertificate(device.system, namesOf('attic', addresses));
  for (const folder of ['run/pi-gatewayd', 'var/lib/pi-gatewayd', 'credentials']) {
    await mkdir(path(folder), { recursive: true });
    await chown(path(folder), user, group);
  }
  await mkdir(path('run/pi-gateway'), { recursive: true });
  // systemd gives the daemon what it may not read itself.
  await writeFile(path('credentials/server.pem'), await readFile(path(serverPem)));
  await chown(path('credentials/server.pem'), user, group);
  await chmod(path('credentials/server.pem'), 0o400);
  await chmod(device.root, 0o755);
  [parts] = await Promise.all([
    bundle('gateway/daemon.ts', 'daemon.mjs'),
    bundle('gateway/helper/main.ts', 'helper.mjs'),
  ]);
  helper = start({ helper: path('run/pi-gateway/helper.sock') }, 'helper.mjs');
  await vi.waitUntil(() => existsSync(path('run/pi-gateway/helper.sock')));
  // Its group is one that only the device has.
  await chmod(path('run/pi-gateway/helper.sock'), 0o666);
  daemon = start(
    { https: `127.0.0.1:${port}`, local: path('run/pi-gatewayd/api.sock') },
    'daemon.mjs',
    { env: { CREDENTIALS_DIRECTORY: path('credentials') }, asNobody: true },
  );
  await vi.waitUntil(() => existsSync(path('run/pi-gatewayd/api.sock')));
});

afterAll(async () => {
  for (const one of [helper, daemon]) one?.child.kill('SIGKILL');
  await device.remove();
});

describe('the helper as it lies on the device', () => {
  test('does its verbs, and has them in the audit log', async () => {
    const client = connectHelper(path('run/pi-gateway/helper.sock'), { idle: 100 });
    expect(await client.call('claim.status', {}, me)).toEqual({ open: true });
    await expect(client.call('claim.use', { code: '0000' }, me)).rejects.toMatchObject({
      kind: 'refused',
    });
    const { entries } = await client.call('audit.list', {}, me);
    expect(entries[0]).toMatchObject({ verb: 'claim.use', outcome: 'refused', actor: me });
    expect(await claimCode(device.system)).toBeDefined();
    expect(helper?.output()).not.toMatch(/Error/);
  });
});

describe('the daemon as it lies on the device', () => {
  const status = () => readFileSync(`/proc/${daemon.child.pid}/status`, 'utf8');

  test('answers with the certificate that the root vouches for', async () => {
    const { status: code, body } = await overTls('/api/v1/openapi.json');
    expect(code, daemon.output()).toBe(200);
    expect(JSON.parse(body)).toMatchObject({
      openapi: expect.stringMatching(/^3\.1/),
      info: { version },
    });
    await expect(overTls('/', {}, 'bank.example')).rejects.toThrow(/bank\.example/);
  });

  test('lets nobody in without credentials, and root by its socket', async () => {
    expect((await overTls('/api/v1/status')).status).toBe(401);
    const answer = await asRoot('/api/v1/status');
    expect(answer.status, answer.body + daemon.output()).toBe(200);
    expect(JSON.parse(answer.body)).toMatchObject({ name: 'attic' });
  });

  test('runs without privileges, in the memory that it may have', async () => {
    expect(/^Uid:\s+(\d+)/m.exec(status())?.[1]).toBe(String(user));
    if (isRoot) expect(/^CapEff:\s+(\w+)/m.exec(status())?.[1]).toBe('0'.repeat(16));
    // The unit's aim is 60 MB.
    expect(Number(/^VmRSS:\s+(\d+) kB/m.exec(status())?.[1]) / 1024).toBeLessThan(90);
  });

  test('has no code that only root uses', () => {
    expect(parts).toContain('gateway/runtime.ts');
    expect(
      parts.filter((file) => /verbs\.ts$|^gateway\/(helper\/server|.*\/change\.ts)/.test(file)),
    ).toEqual([]);
  });

  test('makes who has the claim code its owner, and nobody after', async () => {
    const code = (await claimCode(device.system)) ?? '';
    const claimAs = (name: string, given: string) =>
      overTls('/api/v1/claim', {}, 'attic.local', {
        code: given,
        name,
        password: 'correct horse battery staple',
      });
    expect((await claimAs('eve', '0000-0000-0000-0000')).status).toBe(400);
    const answer = await claimAs('ada', code);
    expect(answer.status, answer.body + daemon.output()).toBe(201);
    expect(await claimCode(device.system)).toBeUndefined();
    expect((await claimAs('eve', code)).status).toBeGreaterThanOrEqual(400);
    const { body } = await asRoot('/api/v1/audit');
    const entries = (JSON.parse(body) as { entries: { action: string; outcome: string }[] })
      .entries;
    expect(entries.map(({ action, outcome }) => `${action} ${outcome}`)).toEqual(
      expect.arrayContaining(['claim.use refused', 'claim.use done', 'account.add done']),
    );
    expect(body).not.toContain(code);
  });

  test('takes the settings on SIGHUP, and goes on by the last good ones after a mistake', async () => {
    const mark = () => readFile(path('run/pi-gatewayd/settings.json'), 'utf8');
    const before = await mark();
    const write = async (text: string) => {
      const last = await mark();
      await device.put('etc/pi-gateway/gateway.yaml', text);
      daemon.child.kill('SIGHUP');
      await expect.poll(mark).not.toBe(last);
    };
    const withName = () => overTls('/api/v1/openapi.json', { host: 'vault.example' });
    expect((await withName()).status).toBe(421);
    await write('api: { names: [vault.example] }\n');
    expect(await mark()).not.toBe(before);
    expect((await withName()).status).toBe(200);
    await write('api: { nmes: [other.example] }\n');
    expect((await withName()).status).toBe(200);
    expect(daemon.output()).toMatch(/settings have mistakes.*\n.*gateway\.yaml:1:/);
  });

  test('ends within 5 s of SIGTERM, with its state saved', async () => {
    const started = performance.now();
    daemon.child.kill('SIGTERM');
    expect(await daemon.ended).toBe(0);
    expect(performance.now() - started).toBeLessThan(5000);
    expect(daemon.output()).not.toMatch(/Error|At the end/);
    expect((await stat(path('var/lib/pi-gatewayd'))).isDirectory()).toBe(true);
  });
});

test('the certificate of the test is in time', async () => {
  const { validFrom, validTo } = new X509Certificate(await device.read(serverPem));
  expect(Date.parse(validFrom)).toBeLessThan(Date.now());
  expect(Date.parse(validTo)).toBeGreaterThan(Date.now());
});

test("the runtime's version is the package's", async () => {
  const text = await readFile(join(project, 'package.json'), 'utf8');
  expect((JSON.parse(text) as { version: string }).version).toBe(version);
});
