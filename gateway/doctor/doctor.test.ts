import { createSocket } from 'node:dgram';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { GatewayError } from '../errors.ts';
import { FakeSystemd } from '../services/testing.ts';
import { reportText } from './command.ts';
import { examinations, examine } from './doctor.ts';
import type { Diagnosis, World } from './examination.ts';
import { kindOf } from './route.ts';
import { askNatPmp } from './world.ts';

let root = '';
let systemd: FakeSystemd;
let world: World;

const now = Date.UTC(2026, 0, 10);

/** proc_pid_net(5), of a real machine; the router is 192.168.1.1. */
const routes = `Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0101A8C0\t0003\t0\t0\t1024\t00000000\t0\t0\t0
eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
`;

const ipv4 = (address: string) => ({
  address,
  netmask: '255.255.255.0',
  family: 'IPv4' as const,
  mac: 'dc:a6:32:00:00:01',
  internal: false,
  cidr: `${address}/24`,
});

async function put(path: string, content: string): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), content);
}

async function look(id: string): Promise<Diagnosis> {
  const [found] = await examine(
    world,
    examinations.filter((one) => one.id === id),
  );
  if (!found) throw new Error(`there is no examination ${id}`);
  return found;
}

const ddnsStatus = (o: { address?: string | null; registered?: boolean } = {}) =>
  JSON.stringify({
    checked_at: '2026-01-10T00:00:00Z',
    state: o.registered === false ? 'unregistered' : 'registered',
    registered: o.registered ?? true,
    failed: false,
    summary:
      o.registered === false ? 'No name is registered at any provider' : 'attic is registered',
    active: { provider: 'DuckDNS', hostnames: ['attic.example.org'] },
    addresses: [
      {
        family: 4,
        address: o.address === undefined ? '203.0.113.7' : o.address,
        agreed: [],
        notes: [],
      },
    ],
    providers: [],
  });

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'pi-gateway-doctor-'));
  systemd = new FakeSystemd(root, {
    'pi-gatewayd.service': {},
    'pi-gateway-helper.socket': { SubState: 'listening' },
    'pi-gateway-state.socket': { SubState: 'listening' },
    'wg-quick@wg0.service': { SubState: 'exited' },
  });
  const { programs } = systemd;
  programs.set('journalctl', () => '');
  programs.set('timedatectl', () => 'yes\n');
  programs.set('sshd', () => '');
  programs.set('apt-get', () => '');
  programs.set('wg', () => 'cHJpdg==\tcHVi\t51820\toff\n');
  world = {
    system: systemd.system,
    interfaces: { eth0: [ipv4('192.168.1.20')] },
    lookup: async () => ['203.0.113.7'],
    get: async () => 200,
    outside: async () => undefined,
    now: () => now,
  };
  await put('proc/net/route', routes);
  await put('etc/resolv.conf', 'nameserver 127.0.0.53\n');
  await put('sys/class/net/eth0/mtu', '1500\n');
  await put('sys/class/net/wg0/mtu', '1420\n');
  await put(
    'usr/share/pi-gateway/ports.json',
    JSON.stringify([
      { name: 'ssh', port: 22, protocol: 'tcp', zones: ['lan', 'vpn'] },
      { name: 'wireguard', port: 51820, protocol: 'udp', zones: ['wan', 'lan'] },
    ]),
  );
});
afterEach(() => rm(root, { recursive: true }));

test.each([
  ['203.0.113.7', 'public'],
  ['100.63.255.255', 'public'],
  ['100.64.0.1', 'shared'],
  ['100.127.255.255', 'shared'],
  ['100.128.0.1', 'public'],
  ['192.0.0.2', 'ds-lite'],
  ['192.0.2.1', 'public'],
  ['10.0.0.1', 'private'],
  ['172.15.0.1', 'public'],
  ['172.31.255.1', 'private'],
  ['192.168.0.1', 'private'],
  ['169.254.3.4', 'link-local'],
])('%s is %s', (address, kind) => {
  expect(kindOf(address)).toBe(kind);
});

describe('the line', () => {
  test('a public address of its own is well, and nothing need be forwarded', async () => {
    world.interfaces = { eth0: [ipv4('203.0.113.7')] };
    expect((await look('public-address')).state).toBe('ok');
    expect((await look('router-forwards')).found).toContain('nothing to forward');
  });

  test('an address of carrier-grade NAT on the uplink is told, and what helps', async () => {
    world.interfaces = { eth0: [ipv4('100.72.3.4')] };
    const found = await look('public-address');
    expect(found.state).toBe('failed');
    expect(found.found).toContain('100.72.3.4');
    expect(found.found).toContain('carrier-grade NAT');
    expect(found.fix).toContain('Ask the provider for a public IPv4 address');
  });

  test('where there is global IPv6 it is named as the way out', async () => {
    world.interfaces = {
      eth0: [
        ipv4('192.0.0.2'),
        { ...ipv4(''), address: '2001:db8::5', family: 'IPv6', scopeid: 0, cidr: null },
      ],
    };
    const found = await look('public-address');
    expect(found.found).toContain('DS-Lite');
    expect(found.fix).toContain('2001:db8::5');
  });

  test.each([
    ['100.70.1.1', 'failed', 'carrier-grade NAT'],
    ['192.0.0.2', 'failed', 'DS-Lite'],
    ['192.168.178.20', 'warning', 'second router'],
    ['203.0.113.7', 'ok', 'as others see it'],
    ['198.51.100.1', 'failed', 'but others see 203.0.113.7'],
  ])('behind a router that has %s outside it is %s: %s', async (outside, state, words) => {
    world.outside = async (router) => (router === '192.168.1.1' ? outside : undefined);
    await put('run/pi-gateway-ddns/status.json', ddnsStatus());
    const found = await look('public-address');
    expect(found.state).toBe(state);
    expect(found.found).toContain(words);
  });

  test('behind a router the port to forward is named, with protocol and address', async () => {
    expect((await look('router-forwards')).found).toContain(
      'UDP port 51820 to 192.168.1.20 port 51820',
    );
  });

  test('without a default route it says to look at the cable', async () => {
    await put('proc/net/route', routes.split('\n')[0] ?? '');
    expect(await look('uplink')).toMatchObject({ state: 'failed' });
    expect((await look('public-address')).state).toBe('skipped');
  });

  test('a VPN whose packets do not fit the uplink is told, with the size that does', async () => {
    await put('sys/class/net/eth0/mtu', '1492\n');
    const found = await look('mtu');
    expect(found.state).toBe('warning');
    expect(found.fix).toContain('MTU = 1412');
  });
});

describe('a router over UDP (NAT-PMP, RFC 6886)', () => {
  const answering = async (reply: Buffer | undefined): Promise<[number, () => void]> => {
    const router = createSocket('udp4');
    router.on('message', (message, from) => {
      if (reply && message.equals(Buffer.from([0, 0]))) router.send(reply, from.port, from.address);
    });
    await new Promise<void>((resolve) => router.bind(0, '127.0.0.1', resolve));
    return [(router.address() as AddressInfo).port, () => router.close()];
  };

  test.each([
    ['its address', Buffer.from([0, 128, 0, 0, 0, 0, 0, 9, 203, 0, 113, 7]), '203.0.113.7'],
    ['that it has none', Buffer.from([0, 128, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0]), undefined],
    ['an error', Buffer.from([0, 128, 0, 3, 0, 0, 0, 9, 203, 0, 113, 7]), undefined],
    ['something else', Buffer.from('HTTP/1.1 200 OK\r\n'), undefined],
    ['half an answer', Buffer.from([0, 128, 0]), undefined],
    ['nothing', undefined, undefined],
  ])('that says %s', async (_, reply, address) => {
    const [port, close] = await answering(reply);
    try {
      expect(await askNatPmp('127.0.0.1', port)).toBe(address);
    } finally {
      close();
    }
  });
});

describe('dynamic DNS', () => {
  test('a name that leads here is well, one that leads elsewhere is told with both', async () => {
    await put('etc/pi-gateway/ddns.yaml', '');
    await put('run/pi-gateway-ddns/status.json', ddnsStatus());
    expect((await look('ddns')).state).toBe('ok');
    world.lookup = async () => ['198.51.100.9'];
    const found = await look('ddns');
    expect(found.state).toBe('warning');
    expect(found.found).toBe('attic.example.org is 198.51.100.9, but this gateway is 203.0.113.7');
  });

  test('a name that is registered nowhere has failed; one that is not wanted is skipped', async () => {
    expect((await look('ddns')).state).toBe('skipped');
    await put('etc/pi-gateway/ddns.yaml', '');
    expect((await look('ddns')).state).toBe('warning');
    await put('run/pi-gateway-ddns/status.json', ddnsStatus({ registered: false }));
    expect((await look('ddns')).state).toBe('failed');
  });
});

describe('the VPN', () => {
  const peer = (handshake: number) =>
    `cHVi\t(none)\t198.51.100.2:4711\t10.66.0.2/32\t${handshake}\t1\t1\toff\n`;
  test.each([
    ['', 'ok', 'without clients'],
    [peer(now / 1000 - 60), 'ok', '1 of 1 clients connected'],
    [peer(now / 1000 - 7200) + peer(0), 'ok', 'the last was heard 2 h ago'],
    [peer(0), 'warning', 'none of 1 clients has ever been heard'],
  ])('%j is %s: %s', async (peers, state, words) => {
    systemd.programs.set('wg', () => `cHJpdg==\tcHVi\t51820\toff\n${peers}`);
    const found = await look('vpn');
    expect(found.state).toBe(state);
    expect(found.found).toContain(words);
    expect(JSON.stringify(found)).not.toContain('cHJpdg');
  });

  test('that is not up has failed', async () => {
    systemd.programs.set('wg', () => {
      throw new Error('wg failed: Unable to access interface: No such device');
    });
    expect((await look('vpn')).fix).toContain('service restart vpn');
  });
});

describe('the device', () => {
  test.each([
    ['0', 'ok', ''],
    ['1', 'failed', 'Under-voltage now'],
    ['50000', 'warning', 'under-voltage since the start'],
    ['80000', 'warning', 'too hot'],
    ['4', 'failed', 'too hot'],
    ['0x50005', 'failed', 'Under-voltage now'],
  ])('throttled=%s is %s %s', async (bits, state, words) => {
    await put('sys/devices/platform/soc/soc:firmware/get_throttled', `${bits}\n`);
    const found = await look('power');
    expect(found.state).toBe(state);
    expect(found.found).toContain(words);
  });

  test('a root file system that the kernel has made read-only is a failing card', async () => {
    await put('proc/mounts', '/dev/mmcblk0p2 / ext4 ro,relatime 0 0\n');
    expect((await look('card')).state).toBe('failed');
  });

  test('errors of the card in the journal are told, with the last', async () => {
    const entry = (message: string) =>
      `${JSON.stringify({ __CURSOR: 's=0', __REALTIME_TIMESTAMP: String(Date.now() * 1000), MESSAGE: message, PRIORITY: '3' })}\n`;
    systemd.programs.set(
      'journalctl',
      () => entry('mmc0: error -110 whilst initialising SD card') + entry('usb 1-1: some error'),
    );
    expect((await look('card')).found).toContain('1 errors in a week, the last: mmc0: error -110');
  });

  test('security updates that wait are counted, and a restart that is due is told', async () => {
    await put('var/lib/apt/periodic/update-success-stamp', '');
    world.now = Date.now;
    systemd.programs.set(
      'apt-get',
      () =>
        'Inst openssl [3.5.1-1] (3.5.1-1+deb13u1 Debian-Security:13/stable-security [arm64])\nInst tzdata [1] (2 Debian:13.1/stable [all])\nConf openssl (3)\n',
    );
    expect((await look('updates')).found).toBe('2 wait, 1 of them for security');
    await put('run/reboot-required', '');
    expect((await look('updates')).found).toContain('A restart is due');
  });
});

describe('the runtime', () => {
  test('a daemon that does not answer has failed, with what systemd says', async () => {
    world.get = async () => {
      throw new Error('connect ECONNREFUSED');
    };
    systemd.set('pi-gatewayd.service', { ActiveState: 'failed', Result: 'oom-kill' });
    const found = await look('daemon');
    expect(found.state).toBe('failed');
    expect(found.found).toContain('ECONNREFUSED');
    expect(found.found).toContain('oom-kill');
  });

  test('the certificate is read from the file that has its key, too', async () => {
    const path = join(root, 'etc/pi-gateway/tls/server.pem');
    await put('etc/pi-gateway/tls/server.pem', '');
    const { stdout } = await run('openssl', [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
      ...['-subj', '/CN=pi-gateway', '-days', '30', '-keyout', '-', '-out', '-'],
    ]);
    await writeFile(path, stdout);
    world.now = Date.now;
    expect((await look('certificate')).state).toBe('ok');
    world.now = () => Date.now() + 26 * 86_400_000;
    expect((await look('certificate')).state).toBe('warning');
    world.now = () => Date.now() + 31 * 86_400_000;
    expect((await look('certificate')).state).toBe('failed');
    await rm(path);
    expect((await look('certificate')).fix).toContain('pi-gateway-tls');
  });

  test('units that have failed are named', async () => {
    systemd.programs.set('systemctl', () => 'backup.service loaded failed failed Backup\n');
    expect((await look('units')).found).toBe('Failed: backup.service');
  });

  test('first boot that is not complete is told', async () => {
    expect((await look('first-boot')).state).toBe('failed');
    await put('var/lib/pi-gateway/firstboot/done', '');
    expect((await look('first-boot')).state).toBe('ok');
  });
});

test('an examination that breaks is a finding of its own, and the others go on', async () => {
  const found = await examine(world, [
    { id: 'a', title: 'A', run: () => Promise.reject(new Error('boom')) },
    { id: 'b', title: 'B', run: () => Promise.reject(new GatewayError('no', 'do this')) },
    { id: 'c', title: 'C', run: async () => ({ state: 'ok', found: 'fine' }) },
  ]);
  expect(found.map(({ state }) => state)).toEqual(['failed', 'failed', 'ok']);
  expect(found[0]?.found).toContain('boom');
  expect(found[1]?.fix).toBe('do this');
});

test('every finding that is not well says what it means and what to do', async () => {
  // A machine on which hardly anything is as it should be.
  await rm(join(root, 'etc'), { recursive: true });
  await chmod(root, 0o755);
  systemd.programs.clear();
  systemd.fail('show', 'Failed to connect to bus');
  world.lookup = () => Promise.reject(Object.assign(new Error('no'), { code: 'EAI_AGAIN' }));
  const found = await examine(world);
  expect(found).toHaveLength(examinations.length);
  for (const one of found)
    if (one.state === 'failed' || one.state === 'warning') {
      expect(one.why, one.id).toBeTruthy();
      expect(one.fix, one.id).toBeTruthy();
    }
});

test('the report has no colours and no control characters of its own for a file', () => {
  const text = reportText(
    [{ id: 'a', title: 'A', state: 'failed', found: 'bad\u001b[2J', why: 'w', fix: 'f' }],
    (_, text) => text,
  );
  expect(text).not.toContain('\u001b');
  expect(text).toContain('FAIL  A  bad');
  expect(text).toContain('→ f');
});
