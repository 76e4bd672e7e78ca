import { createSocket } from 'node:dgram';
import { chmodSync } from 'node:fs';
import { createServer as createHttp, type Server as HttpServer } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { createServer as createTls } from 'node:tls';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { run } from '../../../builder/exec.ts';
import { type CheckSettings, checkSettings, monitorSettings } from '../settings.ts';
import { closedPort, route, Tree } from '../testing.ts';
import { lookHttp, lookTcp, lookTls } from './answers.ts';
import { askTime, Clock } from './clock.ts';
import { lookCommand } from './command.ts';
import { defaultRoutes, dnsCheck, gatewayCheck, routeCheck, Uplink } from './network.ts';
import { portCheck } from './ports.ts';
import { ddnsCheck, updatesCheck } from './state.ts';

let tree: Tree;
const ends: (() => void)[] = [];
const now = () => Date.now() / 1000;

beforeEach(() => {
  tree = new Tree();
});
afterEach(() => {
  for (const end of ends.splice(0)) end();
  tree.remove();
});

type Of<T extends CheckSettings['type']> = Extract<CheckSettings, { type: T }>;
const settings = <T extends CheckSettings['type']>(type: T, rest: object) =>
  checkSettings.parse({ type, ...rest }) as Of<T>;

async function listening(server: Server | HttpServer): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ends.push(() => {
    server.close();
    if ('closeAllConnections' in server) server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

describe('a TCP port', () => {
  test('takes connections, or says why not', async () => {
    const port = await listening(createServer((socket) => socket.end()));
    expect(await lookTcp(settings('tcp', { name: 'x', port }))).toMatchObject({
      health: 'ok',
      samples: [{ measure: 'check.time', label: 'tcp:x' }],
    });
    const closed = await closedPort();
    expect(await lookTcp(settings('tcp', { name: 'x', port: closed }))).toEqual({
      health: 'failed',
      detail: `127.0.0.1:${closed}: the connection was refused`,
      samples: [],
    });
  });
});

describe('TLS', () => {
  let pem: { key: string; cert: string };

  beforeAll(async () => {
    const folder = new Tree();
    folder.put('/x', '');
    await run('openssl', [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
      ...['-subj', '/CN=localhost', '-days', '60'],
      ...['-keyout', join(folder.root, 'key.pem'), '-out', join(folder.root, 'cert.pem')],
    ]);
    pem = {
      key: folder.files.text('/key.pem') ?? '',
      cert: folder.files.text('/cert.pem') ?? '',
    };
    folder.remove();
  });

  /** The day on which the certificate has so many days left. */
  const day = (left: number) => now() + (60 - left) * 86_400;

  const look = async (left: number, rest: object = {}) => {
    const port = await listening(createTls(pem, (socket) => socket.end()));
    return await lookTls(
      settings('tls', { name: 'x', host: '127.0.0.1', port, verify: false, ...rest }),
      day(left),
    );
  };

  test.each([
    { days: 60, health: 'ok', says: 'lasts until' },
    { days: 10, health: 'warning', says: 'in 9 days' },
    { days: -1, health: 'failed', says: 'has ended on' },
  ])('with a certificate of $days days is $health', async ({ days, health, says }) => {
    const found = await look(days);
    expect(found).toMatchObject({ health, detail: expect.stringContaining(says) });
    const left = found.samples?.find(({ measure }) => measure === 'certificate.left')?.value ?? 0;
    expect(left / 86_400).toBeCloseTo(days, 0);
  });

  test('of nobody who is trusted fails, and so does what is no TLS', async () => {
    expect((await look(60, { verify: true })).detail).toContain('of no authority that is trusted');
    const port = await listening(createServer((socket) => socket.end('220 hello\r\n')));
    const check = settings('tls', { name: 'x', host: '127.0.0.1', port, verify: false });
    expect(await lookTls(check, now())).toMatchObject({ health: 'failed' });
  });

  test('that is never spoken ends in time', async () => {
    const port = await listening(createServer(() => undefined));
    const check = settings('tls', { name: 'x', host: '127.0.0.1', port, timeout: 1 });
    expect((await lookTls(check, now())).detail).toContain('no answer within 1 s');
  });

  test('below HTTP is looked at as well', async () => {
    const port = await listening(createHttps(pem, (_, answer) => answer.end('ok')));
    const check = settings('http', { name: 'x', url: `https://127.0.0.1:${port}/`, verify: false });
    const found = await lookHttp(check, day(10));
    expect(found).toMatchObject({
      health: 'warning',
      detail: expect.stringContaining('in 9 days'),
    });
    expect(found.samples?.map(({ measure }) => measure)).toEqual([
      'check.time',
      'certificate.left',
    ]);
  });
});

describe('HTTP', () => {
  let port = 0;
  beforeEach(async () => {
    port = await listening(
      createHttp((request, answer) => {
        if (request.url === '/hang') return;
        if (request.url === '/huge') {
          answer.write('x'.repeat(300_000));
          return;
        }
        answer.statusCode = Number(request.url?.slice(1)) || 200;
        if (answer.statusCode === 302) answer.setHeader('location', '/500');
        answer.end('all is well here');
      }),
    );
  });
  const look = (path: string, rest: object = {}) =>
    lookHttp(
      settings('http', { name: 'x', url: `http://127.0.0.1:${port}${path}`, ...rest }),
      now(),
    );

  test('is judged by its status, and by its text if asked for', async () => {
    expect(await look('/')).toMatchObject({ health: 'ok' });
    // Where it leads is not followed: that it answers is what counts.
    expect(await look('/302')).toMatchObject({ health: 'ok' });
    expect(await look('/500')).toMatchObject({
      health: 'failed',
      detail: `127.0.0.1:${port} answers with 500`,
    });
    expect(await look('/401')).toMatchObject({ health: 'failed' });
    expect(await look('/401', { status: [401] })).toMatchObject({ health: 'ok' });
    expect(await look('/', { contains: 'well' })).toMatchObject({ health: 'ok' });
    expect(await look('/', { contains: 'ill' })).toMatchObject({ health: 'failed' });
  });

  test('that hangs ends in time, and a huge answer is not read to its end', async () => {
    expect((await look('/hang', { timeout: 1 })).detail).toContain('no answer within 1 s');
    expect(await look('/huge', { timeout: 5 })).toMatchObject({ health: 'ok' });
  });
});

describe('a command', () => {
  const look = async (script: string, rest: object = {}) => {
    tree.put('/etc/pi-gateway/checks.d/mine', `#!/bin/sh\n${script}\n`);
    chmodSync(join(tree.root, 'etc/pi-gateway/checks.d/mine'), 0o755);
    return await lookCommand(
      tree.root,
      settings('command', { name: 'x', program: 'mine', timeout: 1, ...rest }),
    );
  };

  test('is judged by its exit code, and its first line is what was found', async () => {
    expect(
      await look('echo; echo "backup of $1"; echo more', { args: ['today; rm -rf /'] }),
    ).toMatchObject({
      health: 'ok',
      detail: 'backup of today; rm -rf /',
    });
    expect(await look('echo late >&2; exit 1')).toMatchObject({
      health: 'warning',
      detail: 'late',
    });
    expect(await look('exit 2')).toMatchObject({ health: 'failed', detail: 'It failed (code 2)' });
    expect(await look('exit 3')).toMatchObject({ health: 'unknown' });
    expect(await look('kill -9 $$')).toMatchObject({
      health: 'failed',
      detail: 'It failed (SIGKILL)',
    });
  });

  test('that takes too long is killed with all that it has started', async () => {
    const mark = join(tree.root, 'mark');
    expect((await look(`(sleep 2; touch ${mark}) & sleep 60`)).detail).toContain('longer than 1 s');
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(tree.files.text('/mark')).toBeUndefined();
  });

  test('that leaves something behind, or writes without end, holds nothing up', async () => {
    expect(await look('sleep 60 & echo done')).toMatchObject({ health: 'ok', detail: 'done' });
    expect(await look('setsid sleep 5 & echo done')).toMatchObject({
      health: 'ok',
      detail: 'done',
    });
    const found = await look('yes');
    expect(found.detail).toContain('longer than 1 s');
    // No environment of the daemon's, and nothing that a terminal would obey.
    expect((await look(`printf '\\033[31m%s' "\${HOME:-none}"`)).detail).toBe('[31mnone');
  });

  test('that is not there, or is no program, fails', async () => {
    expect(
      (await lookCommand(tree.root, settings('command', { name: 'x', program: 'none' }))).detail,
    ).toContain('/etc/pi-gateway/checks.d/none cannot be run');
    for (const program of ['../../../bin/sh', '/bin/sh', '.hidden', 'a b', ''])
      expect(checkSettings.safeParse({ type: 'command', name: 'x', program }).success).toBe(false);
  });
});

describe('a port of the gateway', () => {
  const tcp = (port: string, state: string) =>
    `  sl  local_address rem_address   st\n   0: 00000000:${port} 00000000:0000 ${state} 00000000\n`;

  test('is open when something listens on it, in either family', async () => {
    const check = portCheck(tree.files, { name: 'ssh', port: 22, protocol: 'tcp' }, [], 30);
    expect(await check.look()).toMatchObject({ health: 'failed' });
    // A connection from there is no listener.
    tree.put('/proc/net/tcp', tcp('0016', '01'));
    expect(await check.look()).toMatchObject({
      health: 'failed',
      detail: 'Nothing listens on TCP port 22',
    });
    tree.put('/proc/net/tcp6', tcp('0016', '0A').replaceAll('00000000:', `${'0'.repeat(32)}:`));
    expect(await check.look()).toMatchObject({ health: 'ok' });
    tree.put('/proc/net/udp', tcp('CA6C', '07'));
    const wireguard = portCheck(
      tree.files,
      { name: 'wireguard', port: 51820, protocol: 'udp' },
      [],
      30,
    );
    expect(await wireguard.look()).toMatchObject({ health: 'ok' });
  });

  test("is found in this machine's own tables", async () => {
    const { Files } = await import('../files.ts');
    const port = await listening(createServer());
    const here = new Files('/');
    const look = (one: number) =>
      portCheck(here, { name: 'x', port: one, protocol: 'tcp' }, [], 30).look();
    expect(await look(port)).toMatchObject({ health: 'ok' });
    expect(await look(await closedPort())).toMatchObject({ health: 'failed' });
  });
});

describe('the way out', () => {
  test('is a default route with a signal', async () => {
    const check = routeCheck(tree.files, 30);
    expect(await check.look()).toMatchObject({ health: 'failed' });
    tree.put('/proc/net/route', route('eth0', 'C0A80101'));
    expect(await check.look()).toMatchObject({ health: 'ok', detail: 'By 192.168.1.1 on eth0' });
    tree.put('/sys/class/net/eth0/carrier', '0\n');
    expect(await check.look()).toMatchObject({
      health: 'failed',
      detail: 'No signal on eth0: is the cable in?',
    });
  });

  test("is read in both families, without the kernel's own refusals", () => {
    tree.put(
      '/proc/net/route',
      `${route('eth0', 'C0A80101')}eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n`,
    );
    const zeros = '0'.repeat(32);
    tree.put(
      '/proc/net/ipv6_route',
      [
        `${zeros} 00 ${zeros} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0`,
        `${zeros} 00 ${zeros} 00 ${zeros} ffffffff 00000001 00000000 00200200       lo`,
        '',
      ].join('\n'),
    );
    expect(defaultRoutes(tree.files)).toEqual([
      { device: 'eth0', gateway: '192.168.1.1' },
      { device: 'eth0', gateway: 'fe80::1' },
    ]);
    // PPP: no gateway.
    tree.put('/proc/net/route', route('ppp0', '00000000').replace('\t0003\t', '\t0001\t'));
    tree.put('/proc/net/ipv6_route', '');
    expect(defaultRoutes(tree.files)).toEqual([{ device: 'ppp0', gateway: '' }]);
  });

  test('leads to a router that is there as soon as it refuses us', async () => {
    tree.put('/proc/net/route', route('lo', '7F000001'));
    expect(await gatewayCheck(tree.files, 30).look()).toMatchObject({
      health: 'ok',
      detail: '127.0.0.1 is there',
    });
    // RFC 5737's addresses are nobody's; a refused route says so at once.
    tree.put('/proc/net/route', route('ppp0', '00000000').replace('\t0003\t', '\t0001\t'));
    expect(await gatewayCheck(tree.files, 30).look()).toMatchObject({ health: 'unknown' });
  });

  test('is there while any target answers; loss is counted for each', async () => {
    const port = await listening(createServer((socket) => socket.end()));
    const uplink = new Uplink();
    const both = monitorSettings.parse({
      targets: [
        { host: '127.0.0.1', port },
        // A broadcast address takes no connections: unreachable at once.
        { host: '255.255.255.255', port: 9 },
      ],
    });
    const check = uplink.check(both);
    const found = await check.look();
    expect(found).toMatchObject({ health: 'ok', detail: '127.0.0.1 answers' });
    expect(found.samples).toMatchObject([
      { measure: 'uplink.loss', label: '127.0.0.1', value: 0 },
      { measure: 'uplink.latency', label: '127.0.0.1', value: expect.any(Number) },
      { measure: 'uplink.loss', label: '255.255.255.255', value: 100 },
      { measure: 'uplink.latency', label: '255.255.255.255', value: undefined },
    ]);
    const none = uplink.check(
      monitorSettings.parse({ targets: [{ host: '255.255.255.255', port: 9 }] }),
    );
    expect(await none.look()).toMatchObject({
      health: 'failed',
      detail: 'None of 255.255.255.255 answers',
    });
  });
});

describe('name resolution', () => {
  /** A name server that answers everything with this code (RFC 1035 §4.1.1). */
  async function nameServer(code: number): Promise<string> {
    const server = createSocket('udp4', (query, from) => {
      const answer = Buffer.from(query);
      answer.writeUInt16BE(0x8180 | code, 2);
      answer.writeUInt16BE(0, 10);
      server.send(answer.subarray(0, 12 + question(query)), from.port, from.address);
    });
    await new Promise<void>((resolve) => server.bind(0, '127.0.0.1', resolve));
    ends.push(() => server.close());
    return `127.0.0.1:${server.address().port}`;
  }
  const question = (query: Buffer) => query.indexOf(0, 12) - 12 + 5;

  test.each([
    { code: 0, health: 'ok' },
    { code: 3, health: 'ok' },
    { code: 2, health: 'failed' },
    { code: 5, health: 'failed' },
  ])('with the answer $code is $health', async ({ code, health }) => {
    const check = dnsCheck(monitorSettings.parse({}), [await nameServer(code)]);
    expect(await check.look()).toMatchObject({ health });
  });

  test('without a name server fails, in words', async () => {
    const check = dnsCheck(monitorSettings.parse({}), [`127.0.0.1:${await closedPort()}`]);
    expect((await check.look()).detail).toMatch(/the name server does not (run|answer)/);
    expect(check.restart).toBe('dns');
  });
});

describe('the clock', () => {
  /** A time server that is so many seconds ahead, of a stratum. */
  async function timeServer(ahead: number, stratum = 2): Promise<number> {
    const server = createSocket('udp4', (query, from) => {
      const answer = Buffer.alloc(48);
      answer[0] = 0b00_100_100;
      answer[1] = stratum;
      query.copy(answer, 24, 40, 48);
      const time = Date.now() / 1000 + ahead;
      for (const at of [32, 40]) {
        answer.writeUInt32BE((Math.floor(time) + 2_208_988_800) % 2 ** 32, at);
        answer.writeUInt32BE(Math.floor((time % 1) * 2 ** 32), at + 4);
      }
      // What somebody else sends us is not taken.
      server.send(Buffer.alloc(48, 1), from.port, from.address);
      server.send(answer, from.port, from.address);
    });
    await new Promise<void>((resolve) => server.bind(0, '127.0.0.1', resolve));
    ends.push(() => server.close());
    return server.address().port;
  }

  test('is compared with a server, to some milliseconds', async () => {
    expect(await askTime('127.0.0.1', await timeServer(0))).toBeCloseTo(0, 1);
    expect(await askTime('127.0.0.1', await timeServer(100))).toBeCloseTo(100, 1);
    await expect(askTime('127.0.0.1', await timeServer(0, 0))).rejects.toThrow('does not know');
    await expect(askTime('127.0.0.1', await timeServer(0, 16))).rejects.toThrow('does not know');
  });

  test('that is wrong is told, and is not trusted until it is right', async () => {
    const clock = new Clock(tree.files);
    const look = async (ahead: number) =>
      await clock.check('127.0.0.1', 60, await timeServer(ahead)).look();
    expect(await look(-3600)).toMatchObject({
      health: 'failed',
      detail: expect.stringContaining('It is 3600 s ahead of 127.0.0.1'),
    });
    expect(clock.known).toBe(false);
    expect(await look(10)).toMatchObject({ health: 'warning' });
    expect(await look(0)).toMatchObject({ health: 'ok', samples: [{ measure: 'clock.offset' }] });
    expect(clock.known).toBe(true);
    // Nobody is asked again for half an hour.
    expect(await clock.check('127.0.0.1', 60, await closedPort()).look()).toMatchObject({
      health: 'ok',
    });
  });

  test('is not known to be wrong where there is nobody to ask', async () => {
    const clock = new Clock(tree.files);
    expect(await clock.check('127.0.0.1', 60, await closedPort()).look()).toMatchObject({
      health: 'unknown',
    });
    expect(await clock.check('', 60).look()).toMatchObject({ health: 'unknown' });
    tree.put('/run/systemd/timesync/synchronized', '');
    expect(clock.known).toBe(true);
  });
});

describe('what other parts say of themselves', () => {
  const status = (rest: object) =>
    tree.put(
      '/run/pi-gateway-ddns/status.json',
      JSON.stringify({
        checked_at: new Date().toISOString(),
        state: 'registered',
        failed: false,
        summary: 'attic.example.org is registered',
        ...rest,
      }),
    );
  const ddns = () => ddnsCheck(tree.files, 60, now).look();

  test('dynamic DNS', async () => {
    expect(await ddns()).toMatchObject({ health: 'unknown', detail: 'It is not set up' });
    status({});
    expect(await ddns()).toMatchObject({ health: 'ok', detail: 'attic.example.org is registered' });
    status({ state: 'fallback' });
    expect(await ddns()).toMatchObject({ health: 'warning' });
    status({ failed: true });
    expect(await ddns()).toMatchObject({ health: 'failed' });
    status({ checked_at: new Date(Date.now() - 2 * 3_600_000).toISOString() });
    expect(await ddns()).toMatchObject({
      health: 'warning',
      detail: expect.stringContaining('2 hours'),
    });
    tree.put('/run/pi-gateway-ddns/status.json', '{"state":');
    expect(await ddns()).toMatchObject({ health: 'warning' });
  });

  test('updates', async () => {
    const look = () => updatesCheck(tree.files, 300, now).look();
    expect(await look()).toMatchObject({ health: 'unknown' });
    tree.stamp('/var/lib/apt/periodic/update-stamp', now() - 3600);
    expect(await look()).toMatchObject({ health: 'ok' });
    tree.stamp('/run/reboot-required', now() - 3600);
    expect(await look()).toMatchObject({ health: 'ok', detail: 'Installed; a restart is due' });
    tree.stamp('/run/reboot-required', now() - 8 * 86_400);
    expect(await look()).toMatchObject({
      health: 'warning',
      detail: expect.stringContaining('8 days'),
    });
    tree.take('/run/reboot-required');
    tree.stamp('/var/lib/apt/periodic/update-stamp', now() - 6 * 86_400);
    expect(await look()).toMatchObject({
      health: 'warning',
      detail: expect.stringContaining('6 days'),
    });
  });
});
