import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Condition } from '../alerts/condition.ts';
import { Bus } from './bus.ts';
import type { Alert, MonitorEvent } from './monitor.ts';
import { monitorOperations } from './operations.ts';
import { type MonitorSettings, monitorSettings } from './settings.ts';
import { historyFile, Monitoring } from './start.ts';
import { netDev, TestClock, Tree } from './testing.ts';

let tree: Tree;
let clock: TestClock;
let conditions: readonly Condition[];
let said: string[];
let alerts: Alert[];

/** Nothing outside of the folder is asked. */
const quiet = {
  targets: [],
  time_server: '',
  ignore: ['dns', 'router'],
};

beforeEach(() => {
  tree = new Tree();
  tree.furnish();
  tree.put('/run/systemd/timesync/synchronized', '');
  clock = new TestClock();
  conditions = [];
  said = [];
  alerts = [];
});
afterEach(() => tree.remove());

const make = (settings: unknown = {}) =>
  Monitoring.make(
    {
      system: {
        root: tree.root,
        boot: '/boot/firmware',
        run: async () => '',
        say: (text) => said.push(text),
      },
      kernel: {
        wireguard: async () =>
          Array.from({ length: 20 }, (_, index) => ({
            interface: 'wg0',
            publicKey: index === 0 ? 'key-of-phone' : `${index}-key`,
            endpoint: undefined,
            allowedIps: [],
            handshake: clock.time - 5,
            received: Math.round(clock.steady) * 100,
            sent: 0,
          })),
        counters: async () => ({}),
      },
      settings: monitorSettings.parse({ ...quiet, ...(settings as object) }) as MonitorSettings,
      peerNames: async () => new Map([['key-of-phone', 'phone']]),
      restart: async () => undefined,
      onConditions: (found) => {
        conditions = found;
      },
      alerts: () => alerts,
    },
    { clock: clock.now, bus: new Bus(`${tree.root}/no-bus`) },
  );

async function live(monitor: Monitoring, seconds: number): Promise<void> {
  for (let passed = 0; passed < seconds; passed += 10) {
    const { looks, saved } = monitor.tick();
    await Promise.all([looks, saved]);
    clock.pass(10);
  }
}

const active = () => conditions.filter((one) => one.active).map(({ source }) => source);

test('what is measured is there now, as history, as an event, and for Prometheus', async () => {
  const monitor = await make();
  const events: MonitorEvent[] = [];
  const end = monitor.subscribe((event) => events.push(event));
  await live(monitor, 60);
  tree.put('/proc/net/dev', netDev({ eth0: [11_000, 500] }));
  await live(monitor, 120);
  const value = (name: string) => monitor.series().find((one) => one.name === name)?.value;
  expect(value('memory.used')).toBe(40);
  expect(value('vpn.received{phone}')).toBe(100);
  expect(monitor.history('memory.used', 170)?.values.at(-2)).toBe(40);
  expect(monitor.history('network.received{eth0}', 170)?.values).toContain(1000);
  expect(monitor.history('memory.available', 170)).toBeUndefined();
  expect(events.some((event) => event.type === 'series')).toBe(true);
  expect(events.find((event) => event.type === 'check')).toMatchObject({ check: { health: 'ok' } });
  const text = monitor.prometheus();
  expect(text).toContain('pi_gateway_memory_used_percent 40\n');
  expect(text).toContain('pi_gateway_image_info{name="attic"} 1\n');
  expect(text).toContain('pi_gateway_check_ok{check="route"} 1\n');
  // Who has left hears nothing more.
  end();
  const before = events.length;
  await live(monitor, 20);
  expect(events).toHaveLength(before);
  await monitor.stop();
});

test('a look that goes wrong is said once, and the next is made all the same', async () => {
  const monitor = await make({ intervals: { system: 5 } });
  let looks = 0;
  monitor.subscribe(() => {
    looks += 1;
    throw new Error('a listener is broken');
  });
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  try {
    monitor.run();
    for (let round = 0; round < 5; round += 1) {
      clock.pass(5);
      vi.advanceTimersByTime(5000);
    }
    expect(looks).toBeGreaterThanOrEqual(6);
    expect(said.filter((text) => text.includes('a listener is broken'))).toHaveLength(1);
    await monitor.stop();
    vi.advanceTimersByTime(50_000);
    const ended = looks;
    vi.advanceTimersByTime(50_000);
    expect(looks).toBe(ended);
  } finally {
    vi.useRealTimers();
  }
});

test("an alert's beginning is passed on", async () => {
  const monitor = await make();
  const events: MonitorEvent[] = [];
  monitor.subscribe((event) => events.push(event));
  const alert: Alert = {
    id: '1',
    source: 'threshold:memory',
    severity: 'warning',
    text: 'x',
    firedAt: 1,
    resolvedAt: undefined,
    suppressedBy: undefined,
  };
  alerts = [alert];
  monitor.announce(alert);
  expect(events).toEqual([{ type: 'alert', alert }]);
  expect(monitor.alerts()).toEqual([alert]);
  expect(monitor.prometheus()).toContain(
    'pi_gateway_alert_firing{alert="threshold:memory",severity="warning"} 1',
  );
  await monitor.stop();
});

describe('conditions', () => {
  test('come from limits, checks and disks', async () => {
    const monitor = await make();
    await live(monitor, 60);
    expect(active()).toEqual([]);
    expect(conditions.map(({ source }) => source)).toEqual(
      expect.arrayContaining([
        'threshold:memory',
        'threshold:temperature',
        'check:route',
        'threshold:read_only{/}',
      ]),
    );
    tree.memory(95);
    tree.put('/proc/net/route', 'Iface\n');
    tree.put('/proc/self/mountinfo', '22 1 179:2 / / rw - ext4 /dev/root ro\n');
    await live(monitor, 100);
    expect(active()).toEqual(expect.arrayContaining(['check:route', 'threshold:read_only{/}']));
    expect(active()).not.toContain('threshold:memory');
    await live(monitor, 120);
    expect(active()).toContain('threshold:memory');
    tree.furnish();
    await live(monitor, 120);
    expect(active()).toEqual([]);
    await monitor.stop();
  });

  test('of services wait until the device has started', async () => {
    tree.put('/proc/uptime', '20.00 20.00\n');
    tree.put('/proc/net/route', 'Iface\n');
    const monitor = await make();
    await live(monitor, 60);
    expect(monitor.checks().every(({ health }) => health === 'unknown')).toBe(true);
    tree.put('/proc/uptime', '121.00 20.00\n');
    await live(monitor, 60);
    expect(active()).toEqual(['check:route']);
    await monitor.stop();
  });

  test('follow other settings at once', async () => {
    const monitor = await make();
    tree.memory(70);
    await live(monitor, 200);
    expect(active()).toEqual([]);
    monitor.configure(
      monitorSettings.parse({
        ...quiet,
        thresholds: { memory: { limit: 60, for: 0 } },
        ignore: ['dns', 'route', 'router'],
      }),
    );
    await live(monitor, 20);
    expect(active()).toEqual(['threshold:memory']);
    expect(monitor.checks().map(({ id }) => id)).not.toContain('route');
    await monitor.stop();
  });
});

describe('the history on the card', () => {
  test('is written every ten minutes and at the end, and is there after a restart', async () => {
    const monitor = await make();
    await live(monitor, 3600);
    await monitor.stop();
    // Every 10 minutes, and at the end.
    expect(monitor.written.times).toBeGreaterThanOrEqual(6);
    expect(monitor.written.times).toBeLessThanOrEqual(7);
    clock.pass(30);
    const next = await make();
    await next.tick().looks;
    expect(
      next.history('memory.used', 3600)?.values.filter((value) => value === 40).length,
    ).toBeGreaterThan(55);
    expect(said).toEqual([]);
    await next.stop();
  });

  test('that is damaged begins anew, and that is said', async () => {
    tree.put(historyFile, 'no history');
    const monitor = await make();
    expect(said).toEqual([expect.stringContaining('begins anew')]);
    await live(monitor, 1300);
    await monitor.stop();
    said = [];
    await (await make()).stop();
    expect(said).toEqual([]);
  });

  test('that cannot be written is said once, and nothing else stops', async () => {
    tree.put('/var/lib/pi-gatewayd', 'a file where the folder should be');
    const monitor = await make();
    said = [];
    await live(monitor, 3600);
    expect(said).toEqual([expect.stringContaining('cannot be saved')]);
    expect(monitor.series().length).toBeGreaterThan(20);
    await monitor.stop();
  });
});

describe('the API', () => {
  const [current, history] = monitorOperations;
  const context = (monitor: Monitoring) =>
    ({ monitor }) as unknown as Parameters<typeof current.run>[0];

  const queryOf = (query: object) => {
    if (!history.query) throw new Error('the history has no query');
    return history.query.parse(query);
  };

  test('answers by its own schemas', async () => {
    const monitor = await make();
    await live(monitor, 600);
    const now = await current.run(context(monitor), {
      params: undefined,
      query: undefined,
      body: undefined,
    });
    expect(current.response?.parse(now).series).toContainEqual({
      name: 'memory.used',
      unit: '%',
      value: 40,
    });
    const query = queryOf({
      series: 'memory.used,nothing,memory.used,vpn.received{phone}',
      span: '580',
      points: '10',
    });
    const then = await history.run(context(monitor), { params: undefined, query, body: undefined });
    const series = history.response?.parse(then).series ?? [];
    expect(series.map(({ name }) => name)).toEqual(['memory.used', 'vpn.received{phone}']);
    expect(series[0]).toMatchObject({ unit: '%', step: 60 });
    expect(series[0]?.values.length).toBeLessThanOrEqual(10);
    await monitor.stop();
  });

  test.each([
    {},
    { series: '' },
    { series: 'x', span: '59' },
    { series: 'x', span: '9e9' },
    { series: 'x', points: '1' },
  ])('refuses %j', (query) => {
    expect(() => queryOf(query)).toThrow();
  });
});

test('a look at 20 clients costs a few milliseconds at most', async () => {
  const monitor = await make();
  await live(monitor, 120);
  const before = process.cpuUsage();
  const looks = 200;
  await live(monitor, looks * 10);
  const { user, system } = process.cpuUsage(before);
  const each = (user + system) / 1000 / looks;
  console.log(`monitor: ${each.toFixed(2)} ms of processor for each look (with the compiler)`);
  expect(each).toBeLessThan(20);
  await monitor.stop();
});
