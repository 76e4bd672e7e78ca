import { utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { localClient } from '../api/client.ts';
import { TestApi } from '../api/testing.ts';
import { GatewayError } from '../errors.ts';
import type { KernelState } from '../kernel-state.ts';
import type { Alert, Check } from '../monitor/monitor.ts';
import { FakeSystemd } from '../services/testing.ts';
import { readDeviceFacts, zoneOf } from './facts.ts';
import { screen } from './screen.ts';
import { dashboards, healthOf, type Status } from './status.ts';

let api: TestApi;

const check = (o: Partial<Check>): Check => ({
  id: 'dns',
  title: 'Name resolution',
  health: 'ok',
  detail: 'fine',
  since: 0,
  needs: [],
  ...o,
});

const alert = (o: Partial<Alert>): Alert => ({
  id: 'a',
  source: 'threshold:memory',
  severity: 'warning',
  text: 'Memory: 95 % in use',
  firedAt: 0,
  resolvedAt: undefined,
  suppressedBy: undefined,
  ...o,
});

const kernel = (o: Partial<KernelState>): KernelState => ({
  wireguard: async () => [],
  counters: async () => ({ input: { packets: 1, bytes: 1 } }),
  ...o,
});

beforeEach(async () => {
  api = await TestApi.start();
  await api.put('etc/hostname', 'attic\n');
  await api.put('etc/machine-id', 'e81db6f119ae44528c4e8c299e23f174\n');
  await api.put('sys/firmware/devicetree/base/model', 'Raspberry Pi 4 Model B Rev 1.5\0');
  await api.put('sys/devices/system/cpu/online', '0-3\n');
  await api.put('proc/uptime', '90061.5 1\n');
  await api.put('proc/loadavg', '0.10 0.20 0.30 1/100 999\n');
  await api.put(
    'proc/meminfo',
    'MemTotal:        1000 kB\nMemFree: 1 kB\nMemAvailable:     250 kB\n',
  );
  await api.put('sys/class/thermal/thermal_zone0/temp', '48312\n');
  await api.put(
    'usr/share/pi-gateway/image.json',
    '{"name":"pi-gateway","base":{"description":"Debian 13"},"stages":[]}',
  );
  await api.put('usr/lib/clock-epoch', '');
  await utimes(join(api.folder, 'usr/lib/clock-epoch'), 1767312000, 1767312000);
});
afterEach(() => api.stop());

const status = (): Promise<Status> => localClient(api.socket).call('statusGet');

/** Starts the API again with another kernel behind it. */
async function withKernel(o: Partial<KernelState>): Promise<void> {
  await api.api?.close();
  await api.begin({ kernel: kernel(o) });
}

describe('GET /status over the socket of the command line', () => {
  test("has the device's facts, by its files", async () => {
    expect(await status()).toMatchObject({
      name: 'attic',
      device_id: expect.stringMatching(/^[0-9a-f]{12}$/),
      model: 'Raspberry Pi 4 Model B Rev 1.5',
      image: { name: 'pi-gateway', base: 'Debian 13', built: '2026-01-02T00:00:00.000Z' },
      uptime_seconds: 90062,
      cpus: 4,
      load: [0.1, 0.2, 0.3],
      memory: { total_bytes: 1_024_000, available_bytes: 256_000 },
      temperature_celsius: 48.312,
      claimed: false,
      ddns: null,
      updates: { reboot_required: false },
    });
  });

  test('answers on a device on which most of it is missing', async () => {
    await api.stop();
    api = await TestApi.start();
    expect(await status()).toMatchObject({
      name: 'pi-gateway',
      device_id: null,
      model: null,
      image: null,
      temperature_celsius: null,
      synchronized: null,
    });
  });

  test.each([
    ['active', { counters: async () => ({ input: { packets: 0, bytes: 0 } }) }],
    ['closed', { counters: async () => ({ closed: { packets: 0, bytes: 0 } }) }],
    ['none', { counters: () => Promise.reject(new Error('no table')) }],
    [
      'unknown',
      {
        counters: () => Promise.reject(new Error('no socket')),
        wireguard: () => Promise.reject(new Error('no socket')),
      },
    ],
  ])('the firewall is %s', async (state, o) => {
    await withKernel(o);
    expect((await status()).firewall).toBe(state);
  });

  test('rules on trial are told, and are a warning', async () => {
    await withKernel({});
    await api.put('run/pi-gateway/firewall/pending.json', '{}');
    const { firewall, health } = await status();
    expect(firewall).toBe('pending');
    expect(health).toMatchObject({ state: 'warning' });
  });

  test('updates are counted in the background: nobody waits for apt', async () => {
    let count: (value: unknown) => void = () => undefined;
    api.answer = ({ verb }) => {
      if (verb !== 'updates.list') throw new GatewayError('no', 'no');
      return new Promise((resolve) => {
        count = resolve;
      });
    };
    expect((await status()).updates.pending).toBeNull();
    count({ packages: [{ name: 'openssl' }, { name: 'tzdata' }] });
    await expect.poll(async () => (await status()).updates.pending).toBe(2);
    expect(api.asked.filter(({ verb }) => verb === 'updates.list')).toHaveLength(1);
  });
});

describe('health in words', () => {
  const health = (checks: Check[], alerts: Alert[] = [], firewall: Status['firewall'] = 'active') =>
    healthOf({ checks: () => checks, alerts: () => alerts }, firewall);

  test('is one sentence when all is well', () => {
    expect(health([check({})])).toEqual({ state: 'ok', summary: 'All is well.', findings: [] });
  });

  test('names the worst first, and counts the rest', () => {
    const found = health(
      [
        check({ id: 'ddns', title: 'Dynamic DNS', health: 'warning', detail: 'It is late.' }),
        check({ id: 'disk', title: 'Disk', health: 'failed', detail: '99 % in use' }),
      ],
      [alert({})],
    );
    expect(found.state).toBe('failed');
    expect(found.summary).toBe('Disk: 99 % in use; and 2 more.');
    expect(found.findings.map(({ source }) => source)).toEqual([
      'disk',
      'ddns',
      'threshold:memory',
    ]);
  });

  test('leaves out what something else explains, and alerts of checks, which are told already', () => {
    const found = health(
      [
        check({ id: 'uplink', title: 'Uplink', health: 'failed', detail: 'down' }),
        check({ id: 'dns', health: 'failed', detail: 'no answer', needs: ['uplink'] }),
      ],
      [
        alert({ source: 'check:uplink', severity: 'critical' }),
        alert({ source: 'threshold:cpu', suppressedBy: 'check:uplink' }),
        alert({ source: 'threshold:heat', resolvedAt: 5 }),
      ],
    );
    expect(found.findings.map(({ source }) => source)).toEqual(['uplink']);
  });

  test('an open device comes before all else', () => {
    const found = health([check({ health: 'warning' })], [], 'none');
    expect(found.findings[0]?.source).toBe('firewall');
    expect(found.state).toBe('failed');
  });
});

test('an interface is in the zone that names it or a pattern for it; any other is wan', () => {
  const zones = [
    { name: 'wan', interfaces: [] },
    { name: 'lan', interfaces: ['eth1'] },
    { name: 'containers', interfaces: ['podman*'] },
  ];
  expect(zoneOf('eth1', zones)).toBe('lan');
  expect(zoneOf('eth10', zones)).toBe('wan');
  expect(zoneOf('podman3', zones)).toBe('containers');
});

test('addresses are told by zone, without loopback and link-local ones', async () => {
  await api.put(
    'usr/share/pi-gateway/firewall.json',
    '{"zones":[{"name":"vpn","interfaces":["wg0"],"networks":[],"gateway":[]}]}',
  );
  const of = (address: string, internal = false) => ({
    address,
    internal,
    family: 'IPv4' as const,
    netmask: '',
    mac: '',
    cidr: null,
  });
  const { addresses } = await readDeviceFacts(new FakeSystemd(api.folder, {}).system, {
    lo: [of('127.0.0.1', true)],
    wg0: [of('10.66.0.1')],
    eth0: [of('192.168.1.20'), of('169.254.1.1'), of('fe80::1')],
  });
  expect(addresses).toEqual([
    { zone: 'wan', interface: 'eth0', addresses: ['192.168.1.20'] },
    { zone: 'vpn', interface: 'wg0', addresses: ['10.66.0.1'] },
  ]);
});

test('the dashboard is where the API listens: by name in the VPN, by address in other zones', async () => {
  const { system } = api;
  const addresses = [
    { zone: 'wan', interface: 'eth0', addresses: ['192.168.1.20'] },
    { zone: 'lan', interface: 'eth1', addresses: ['192.168.10.1', 'fd10:1::1'] },
    { zone: 'vpn', interface: 'wg0', addresses: ['10.66.0.1', 'fd66:6761:7465::1'] },
  ];
  expect(await dashboards(system, { name: 'attic', addresses })).toEqual([]);
  const listens = ['127.0.0.1', '192.168.10.1', '10.66.0.1'];
  const facts = { port: 8443, dashboard: true, addresses: listens };
  await api.put('usr/share/pi-gateway/daemon.json', JSON.stringify(facts));
  const env = (dns: string) =>
    `port=51820\nmtu=1420\ndns='${dns}'\nnetwork4=10.66.0.0/24\nnetwork6=fd66:6761:7465::/64\n`;
  for (const [dns, host] of [
    ['10.66.0.1, fd66:6761:7465::1', 'attic.home.arpa'],
    ['9.9.9.9', '10.66.0.1'],
  ] as const) {
    await api.put('usr/share/pi-gateway/wireguard.env', env(dns));
    expect(await dashboards(system, { name: 'attic', addresses })).toEqual([
      { zone: 'lan', url: 'https://192.168.10.1:8443/' },
      { zone: 'vpn', url: `https://${host}:8443/` },
    ]);
  }
});

test('the screen fits a terminal of 80 by 24, in words alone', async () => {
  await withKernel({});
  api.monitor.checksNow = [
    check({ id: 'clock', title: 'Clock', health: 'ok' }),
    check({ health: 'failed', detail: 'the name server does not run' }),
  ];
  const text = screen(
    {
      ...(await status()),
      addresses: [{ zone: 'wan', interface: 'eth0', addresses: ['192.168.1.20'] }],
    },
    (_, words) => words,
  );
  expect(text).toContain('attic  FAILED');
  expect(text).toContain('FAIL  Name resolution: the name server does not run');
  expect(text).toContain('Net wan');
  expect(text).not.toContain('\u001b');
  const lines = text.split('\n');
  expect(lines.length).toBeLessThanOrEqual(24);
  expect(lines.filter((line) => line.length > 80)).toEqual([]);
});
