import { afterEach, beforeEach, expect, test } from 'vitest';
import type { PeerState } from '../../kernel-state.ts';
import { type Sample, seriesName } from '../catalogue.ts';
import { Rates } from '../files.ts';
import { monitorSettings } from '../settings.ts';
import { netDev, Tree } from '../testing.ts';
import { Collector } from './collector.ts';
import { spaceSamples } from './disks.ts';

const settings = monitorSettings.parse({});
let tree: Tree;
let peers: PeerState[];
let asked: number;
let questions: { wireguard: number; counters: number };
let collector: Collector;
const names = new Map([['key-of-phone', 'phone']]);

beforeEach(() => {
  tree = new Tree();
  tree.furnish();
  peers = [];
  asked = 0;
  questions = { wireguard: 0, counters: 0 };
  collector = make();
});
afterEach(() => tree.remove());

const make = () =>
  new Collector(tree.files, {
    kernel: {
      wireguard: async () => {
        questions.wireguard += 1;
        return peers;
      },
      counters: async () => {
        questions.counters += 1;
        return { 'drop-wan': { packets: 40, bytes: 4000 } };
      },
    },
    peerNames: async () => {
      asked += 1;
      return names;
    },
  });

const peer = (publicKey: string, handshake: number, received = 0): PeerState => ({
  interface: 'wg0',
  publicKey,
  endpoint: '192.0.2.7:51820',
  allowedIps: [],
  handshake,
  received,
  sent: 0,
});

async function look(
  steady: number,
  time = 1_780_000_000,
  watched = false,
): Promise<Record<string, number | undefined>> {
  await collector.collect(settings, { time, steady }, watched);
  return byName(collector.samples());
}

const byName = (samples: readonly Sample[]) =>
  Object.fromEntries(samples.map((sample) => [seriesName(sample), sample.value]));

test('speeds are known from the second look on', async () => {
  const first = await look(10);
  expect(first['cpu.used']).toBeUndefined();
  expect(first['network.received{eth0}']).toBeUndefined();
  tree.processor([1100, 100, 100, 100], 1100);
  tree.put('/proc/net/dev', netDev({ lo: [9, 9], eth0: [21_000, 1500] }));
  tree.put('/sys/block/mmcblk0/stat', '1 2 1024 4 5 6 4096 8 9 10 11\n');
  const second = await look(20);
  expect(second).toMatchObject({
    'cpu.busiest': 100,
    'network.received{eth0}': 2000,
    'network.sent{eth0}': 100,
    'disk.written{mmcblk0}': (2048 * 512) / 10,
    'disk.read{mmcblk0}': 0,
  });
  expect(second['cpu.used']).toBeCloseTo(25, 5);
  expect(Object.keys(second).join()).not.toContain('{lo}');
});

test('a counter that begins anew gives no speed, rather than a wrong one', async () => {
  await look(10);
  tree.put('/proc/net/dev', netDev({ eth0: [10, 10] }));
  expect((await look(20))['network.received{eth0}']).toBeUndefined();
  tree.put('/proc/net/dev', netDev({ eth0: [110, 10] }));
  expect((await look(30))['network.received{eth0}']).toBe(10);
});

test('memory, heat, wear, connections and pressure are as the kernel has them', async () => {
  expect(await look(10)).toMatchObject({
    'memory.used': 40,
    'memory.total': 1_024_000,
    'swap.used': 20,
    'heat.temperature': 51.5,
    'heat.throttled': 0x50000,
    'power.low': 0,
    'heat.slowed': 0,
    'wear.used{mmcblk0}': 30,
    'wear.spare{mmcblk0}': 1,
    'conntrack.used': 10,
    'pressure.memory': 1.5,
    'load.1m': 0.1,
    'tasks.count': 150,
    'disk.read_only{/}': 0,
  });
  tree.put('/sys/devices/platform/soc/soc:firmware/get_throttled', '50005\n');
  expect(await look(20)).toMatchObject({ 'power.low': 1, 'heat.slowed': 1 });
});

test('what a machine has not, as in QEMU, is left out', async () => {
  for (const path of ['/sys', '/proc/pressure', '/proc/sys']) tree.take(path);
  collector = make();
  const found = await look(10);
  expect(found['memory.used']).toBe(40);
  expect(Object.keys(found).join()).not.toMatch(/heat|power|wear|conntrack|pressure|disk\.written/);
  for (const path of ['/proc']) tree.take(path);
  expect((await look(20))['daemon.memory']).toBeGreaterThan(1_000_000);
});

test('nonsense in a file is no measurement', async () => {
  tree.put('/sys/devices/platform/soc/soc:firmware/get_throttled', 'oops\n');
  tree.put('/sys/block/mmcblk0/device/life_time', '0x00 0x00\n');
  tree.put('/sys/block/mmcblk0/device/pre_eol_info', '\n');
  tree.put('/proc/meminfo', 'MemTotal: lots\n');
  tree.put('/proc/stat', '');
  const found = await look(10);
  expect(Object.keys(found).join()).not.toMatch(/throttled|wear|memory\.(used|total)/);
  expect(Object.values(found).filter((value) => Number.isNaN(value))).toEqual([]);
});

test('a file system that has turned read-only is told apart from a read-only view of it', () => {
  expect(byName(spaceSamples(tree.files))['disk.read_only{/}']).toBe(0);
  tree.put(
    '/proc/self/mountinfo',
    '22 1 179:2 / / rw,relatime - ext4 /dev/root ro,errors=remount-ro\n',
  );
  expect(byName(spaceSamples(tree.files))['disk.read_only{/}']).toBe(1);
  // Not mounted here.
  expect(Object.keys(byName(spaceSamples(tree.files))).join()).not.toContain('/boot');
});

test('clients of the VPN have their names, and who never came has no series', async () => {
  peers = [
    peer('key-of-phone', 1_779_999_900, 1000),
    peer('strange-key', 1_779_000_000),
    peer('never', 0),
  ];
  await look(10);
  peers = [
    peer('key-of-phone', 1_779_999_990, 31_000),
    peer('strange-key', 1_779_000_000),
    peer('never', 0),
  ];
  const found = await look(40);
  expect(found).toMatchObject({
    'vpn.clients': 3,
    'vpn.connected': 1,
    'vpn.received{phone}': 1000,
    'vpn.handshake{phone}': 10,
    'vpn.received{strange-}': 0,
  });
  expect(Object.keys(found).join()).not.toContain('never');
  expect((await look(70))['firewall.packets{drop-wan}']).toBe(0);
});

test('clients are asked for every 30 s, counters every minute, and each time while somebody looks', async () => {
  for (let steady = 0; steady < 600; steady += 10) await look(steady);
  expect(questions).toEqual({ wireguard: 20, counters: 10 });
  for (let steady = 600; steady < 660; steady += 10) await look(steady, undefined, true);
  expect(questions).toEqual({ wireguard: 26, counters: 11 });
});

test('names are asked for once, again for a new client, and hourly: asking starts a process', async () => {
  peers = [peer('a', 1), peer('b', 1)];
  for (let steady = 0; steady < 600; steady += 30) await look(steady);
  expect(asked).toBe(1);
  peers = [...peers, peer('c', 1)];
  await look(600);
  await look(630);
  expect(asked).toBe(2);
  await look(600 + 3600);
  expect(asked).toBe(3);
});

test('a thousand clients have as many series as a hundred: those that were there last', async () => {
  peers = Array.from({ length: 1000 }, (_, index) => peer(`key-${index}`, index));
  const found = Object.keys(await look(10)).filter((name) => name.startsWith('vpn.received'));
  expect(found).toHaveLength(100);
  expect(found).toContain('vpn.received{key-999}');
});

test('the speed of what is gone for an hour is forgotten', () => {
  const rates = new Rates();
  rates.per('x', 10, 0);
  rates.forget(1);
  expect(rates.per('x', 20, 10)).toBeUndefined();
});
