import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connect, type LabHost, makeHost, removeHosts } from '../../builder/lab/namespace.ts';
import type { System } from '../../firstboot/system.ts';
import { measure } from './measure.ts';
import { pathMtu, probeMtu } from './mtu.ts';
import { requestFile } from './request.ts';
import { tuningSettings } from './settings.ts';
import { statusFile, type TuningStatus } from './view.ts';

/**
 * Shaping and the path's MTU on a real line: gateway, modem and a server of the internet, each in a network
 * namespace of its own. The modem sends 10 Mbit/s in each direction, and has a buffer for more than a second.
 */
const main = fileURLToPath(new URL('./main.ts', import.meta.url));
const server = '10.9.1.2';
let gateway: LabHost;
let modem: LabHost;
let internet: LabHost;
let root: string;
/** The gateway's own programs. */
let system: System;

beforeAll(async () => {
  const made = await Promise.all(
    ['tg', 'tm', 'ti'].map((name) => makeHost(`${name}${Math.floor(Math.random() * 1e6)}`)),
  );
  [gateway, modem, internet] = made as [LabHost, LabHost, LabHost];
  await connect(
    { host: gateway, link: 'eth0', addresses: ['10.9.0.2/24', 'fd09::2/64'] },
    { host: modem, link: 'home', addresses: ['10.9.0.1/24', 'fd09::1/64'] },
  );
  await connect(
    { host: modem, link: 'line', addresses: ['10.9.1.1/24'] },
    { host: internet, link: 'eth0', addresses: [`${server}/24`] },
  );
  await modem.run('sysctl', ['-qw', 'net.ipv4.ip_forward=1']);
  await gateway.run('ip', ['route', 'add', 'default', 'via', '10.9.0.1']);
  await internet.run('ip', ['route', 'add', 'default', 'via', '10.9.1.1']);
  for (const host of [gateway, internet]) await reno(host);
  for (const [host, device] of [
    [gateway, 'eth0'],
    [internet, 'eth0'],
    [modem, 'home'],
    [modem, 'line'],
  ] as const)
    await host.run('ip', ['link', 'set', 'dev', device, 'gso_max_segs', '1']);
  for (const device of ['home', 'line'])
    await modem.run('tc', [
      ...['qdisc', 'add', 'dev', device, 'root', 'tbf'],
      ...['rate', '10mbit', 'burst', '16kb', 'limit', '1500kb'],
    ]);
  root = await mkdtemp(join(tmpdir(), 'pi-gateway-tuning-'));
  await symlink('/proc', join(root, 'proc'));
  await symlink('/sys', join(root, 'sys'));
  await mkdir(join(root, 'etc/pi-gateway'), { recursive: true });
  system = {
    root,
    boot: root,
    say: () => undefined,
    run: async (command, args, { timeout = 60_000 } = {}) => {
      const okCodes = Array.from({ length: 255 }, (_, i) => i + 1);
      const { exitCode, stdout, stderr } = await gateway.run(command, args, { timeout, okCodes });
      if (exitCode !== 0) throw new Error(`${command} failed: ${stderr}`);
      return stdout;
    },
  };
});

afterAll(async () => {
  await removeHosts([gateway, modem, internet].filter(Boolean));
  await rm(root, { recursive: true, force: true });
});

const tuning = (task: string) =>
  gateway.run(process.execPath, [main, task], { env: { PI_GATEWAY_ROOT: root }, timeout: 60_000 });

async function set(settings: object): Promise<void> {
  const whole = tuningSettings.parse({
    buffers: false,
    spread: false,
    ...settings,
  });
  await writeFile(join(root, requestFile), JSON.stringify(whole));
}

/** Of all that a namespace may have, the one that fills queues. */
const reno = (host: LabHost) => host.run('sysctl', ['-qw', 'net.ipv4.tcp_congestion_control=reno']);

const queues = async () => (await gateway.run('tc', ['qdisc', 'show'])).stdout;

test('shaping takes four fifths of the latency that load adds, in both directions, and leaves 85 % of the rate', async () => {
  await set({ uplinks: [{ interface: 'eth0', upload: 9, download: 9 }] });
  const iperf = internet.start('iperf3', ['--server', '--forceflush']);
  await iperf.said('Server listening', 10);
  const result = await measure(system, {
    server,
    port: 5201,
    seconds: 2,
    shaping: {
      off: async () => void (await tuning('undo')),
      on: async () => {
        await tuning('apply');
        // BBR would keep the modem's queue short by itself, which is not what is tried here.
        await reno(gateway);
      },
    },
  });
  await iperf.stop();
  const { before, after, idle_ms: idle } = result;
  expect(before.upload_ms, JSON.stringify(result)).toBeGreaterThan(idle + 200);
  expect(before.download_ms).toBeGreaterThan(idle + 200);
  expect(result.ratio, JSON.stringify(result)).toBeLessThanOrEqual(0.2);
  expect(after?.upload_mbit).toBeGreaterThan(0.85 * 9);
  expect(after?.download_mbit).toBeGreaterThan(0.75 * 9);
});

test('says what it did, and takes all of it back', async () => {
  await set({ uplinks: [{ interface: 'eth0', upload: 9, download: 9 }] });
  await tuning('apply');
  const status = JSON.parse(await readFile(join(root, statusFile), 'utf8')) as TuningStatus;
  expect(status.uplinks).toMatchObject([{ interface: 'eth0', upload: 9, download: 9 }]);
  expect(status.uplinks[0]?.shaper).not.toBeNull();
  expect(status.sysctls).toEqual([
    { key: 'net.ipv4.tcp_congestion_control', value: 'bbr', before: 'reno' },
  ]);
  const control = async () =>
    (await gateway.run('sysctl', ['-n', 'net.ipv4.tcp_congestion_control'])).stdout.trim();
  expect(await control()).toBe('bbr');
  expect(await queues()).toMatch(/dev ifb4eth0/);
  // Again, and then with less: what is not asked for any more goes.
  await tuning('apply');
  await set({ uplinks: [{ interface: 'eth0', upload: 9 }] });
  await tuning('apply');
  expect(await queues()).not.toMatch(/ifb4eth0|ingress/);
  await tuning('undo');
  expect(await control()).toBe('reno');
  expect(await queues()).not.toMatch(/htb|cake|ingress/);
  expect((await gateway.run('ip', ['-o', 'link'])).stdout).not.toContain('ifb4eth0');
});

test('an uplink that is not there is told, and the others are shaped all the same', async () => {
  await set({
    uplinks: [
      { interface: 'eth7', upload: 5 },
      { interface: 'eth0', upload: 9 },
    ],
  });
  await tuning('apply');
  const status = JSON.parse(await readFile(join(root, statusFile), 'utf8')) as TuningStatus;
  expect(status.notes).toEqual(['eth7 is not there; it is shaped when it comes']);
  expect(status.uplinks.map(({ shaper }) => shaper !== null)).toEqual([false, true]);
  await tuning('undo');
});

test('classes are codepoints on what leaves by the uplink, and on nothing else', async () => {
  await modem.run('nft', ['-f', '-'], {
    input: `table inet seen {
  counter voice { }
  chain in {
    type filter hook prerouting priority 0; policy accept;
    ip dscp ef udp dport 5060 counter name voice
  }
}
`,
  });
  const voice = async () =>
    Number(
      /packets (\d+)/.exec((await modem.run('nft', ['list', 'table', 'inet', 'seen'])).stdout)?.[1],
    );
  const call = () =>
    gateway.run(process.execPath, [
      '-e',
      `const s = require('node:dgram').createSocket('udp4'); let n = 0; const t = setInterval(() => { s.send('x', 5060, '${server}'); if (++n === 5) { clearInterval(t); setTimeout(() => s.close(), 100); } }, 20)`,
    ]);
  await call();
  expect(await voice()).toBe(0);
  await set({
    uplinks: [{ interface: 'eth0', upload: 9, download: 9 }],
    classes: [
      { class: 'voice', udp: [5060] },
      { class: 'bulk', tcp: [873], address: '10.9.0.0/24' },
    ],
  });
  await tuning('apply');
  await call();
  expect(await voice()).toBe(5);
  await tuning('undo');
  await call();
  expect(await voice()).toBe(5);
});

test('the MTU of a path is found by echo requests, and what is left of it inside the VPN', async () => {
  await modem.run('ip', ['link', 'set', 'dev', 'line', 'mtu', '1412']);
  expect(await pathMtu(system, server)).toEqual({ by: 'ping', mtu: 1412 });
  expect(await pathMtu(system, 'fd09::1')).toEqual({ by: 'ping', mtu: 1500 });
  const report = await probeMtu(system, [server, 'fd09::1'], 1420);
  // 1412 less 20 + 8 + 32 of WireGuard over IPv4; 1500 less 40 + 8 + 32 over IPv6.
  expect(report.paths.map((one) => one.vpn_mtu)).toEqual([1352, 1420]);
  expect(report.suggestion).toBe(1352);
});

test('a far end that answers no pings is found by what routers on the way tell', async () => {
  await gateway.run('ip', ['route', 'flush', 'cache']);
  await internet.run('sysctl', ['-qw', 'net.ipv4.icmp_echo_ignore_all=1']);
  expect(await pathMtu(system, server)).toEqual({ by: 'routers', mtu: 1412 });
});

test('where nobody answers nothing is claimed', async () => {
  const { paths, suggestion } = await probeMtu(system, ['10.9.0.99'], 1420);
  expect(paths).toEqual([{ address: '10.9.0.99', by: null, mtu: null, vpn_mtu: null }]);
  expect(suggestion).toBeNull();
});
