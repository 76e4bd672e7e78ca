import { beforeEach, describe, expect, test } from 'vitest';
import type { Sample } from './catalogue.ts';
import { fullIn } from './forecast.ts';
import { Recorder } from './history/history.ts';
import { type MonitorSettings, monitorSettings } from './settings.ts';
import { noise } from './testing.ts';
import { thresholds, Watch } from './thresholds.ts';

const limits = { temperature: 80, memory: 90, disk: 90, wear: 80 };
const of = (settings: unknown = {}) =>
  thresholds({ limits, ports: [] }, monitorSettings.parse(settings) as MonitorSettings);

let watch: Watch;
let steady = 0;
beforeEach(() => {
  watch = new Watch();
  steady = 0;
});

/** Looks every 10 s for so long; @returns what is active at the end. */
function look(sample: Sample, seconds: number, settings: unknown = {}) {
  let conditions = watch.conditions(of(settings), [sample], steady);
  for (let passed = 10; passed <= seconds; passed += 10) {
    steady += 10;
    conditions = watch.conditions(of(settings), [sample], steady);
  }
  return conditions.map(({ source, active, severity, text }) => ({
    source,
    active,
    severity,
    text,
  }));
}

const heat = (value: number): Sample => ({ measure: 'heat.temperature', value });

test('a limit counts when it is exceeded for long enough, and is over below the margin', () => {
  expect(look(heat(60), 0)).toMatchObject([{ active: false }]);
  expect(look(heat(82), 170)).toMatchObject([{ active: false }]);
  expect(look(heat(82), 20)).toEqual([
    {
      source: 'threshold:temperature',
      active: true,
      severity: 'warning',
      text: 'The hottest sensor: 82 °C (limit 80 °C); a heat sink or a fan helps',
    },
  ]);
  // Just below the limit is no end: it would be told again soon.
  expect(look(heat(76), 3600)).toMatchObject([{ active: true }]);
  expect(look(heat(74), 50)).toMatchObject([{ active: true }]);
  expect(look(heat(74), 20)).toMatchObject([
    { active: false, text: 'The hottest sensor: 74 °C (limit 80 °C)' },
  ]);
});

test('short peaks never count, however many', () => {
  look(heat(60), 0);
  for (let peak = 0; peak < 50; peak += 1) {
    expect(look(heat(95), 170)).toMatchObject([{ active: false }]);
    expect(look(heat(79), 10)).toMatchObject([{ active: false }]);
  }
});

test('a value that swings about its limit is one alert and not a storm', () => {
  let changes = 0;
  let before = false;
  const random = noise(7);
  for (let round = 0; round < 5000; round += 1) {
    const [found] = look(heat(80 + 2 * random()), 10);
    const active = found?.active ?? false;
    if (active !== before) changes += 1;
    before = active;
  }
  expect(changes).toBeLessThanOrEqual(2);
});

test('urgency has a limit of its own', () => {
  look(heat(60), 0);
  expect(look(heat(86), 200)).toMatchObject([{ active: true, severity: 'critical' }]);
  expect(look(heat(81), 10)).toMatchObject([{ severity: 'critical' }]);
  expect(look(heat(79), 10)).toMatchObject([{ active: true, severity: 'warning' }]);
});

test('under-voltage is told at once and as urgent; its end, when it has lasted', () => {
  expect(look({ measure: 'power.low', value: 1 }, 0)).toMatchObject([
    {
      source: 'threshold:under_voltage',
      active: true,
      severity: 'critical',
      text: expect.stringContaining('a better power supply'),
    },
  ]);
  expect(look({ measure: 'power.low', value: 0 }, 50)).toMatchObject([{ active: true }]);
  expect(look({ measure: 'power.low', value: 0 }, 20)).toMatchObject([{ active: false }]);
});

test('after a start nothing is said to be over that may be not', () => {
  // It was told before the restart, and lasts.
  expect(look(heat(85), 170)).toEqual([]);
  expect(look(heat(85), 10)).toMatchObject([{ active: true }]);
  watch = new Watch();
  expect(look(heat(77), 600)).toEqual([]);
  expect(look(heat(60), 0)).toMatchObject([{ active: false }]);
});

test('what cannot be measured for a while stays as it was', () => {
  look(heat(60), 0);
  look(heat(85), 200);
  expect(look({ measure: 'heat.temperature', value: undefined }, 600)).toMatchObject([
    { active: true },
  ]);
});

test('each file system has its own; one that is gone is over', () => {
  const full: Sample[] = [
    { measure: 'disk.used', label: '/', value: 98 },
    { measure: 'disk.used', label: '/boot/firmware', value: 50 },
    { measure: 'disk.inodes', label: '/', value: 95 },
  ];
  for (let now = 0; now <= 120; now += 10) watch.conditions(of(), full, now);
  expect(watch.conditions(of(), full, 130)).toMatchObject([
    { source: 'threshold:disk', active: true, severity: 'critical' },
    { source: 'threshold:boot_disk', active: false },
    { source: 'threshold:inodes{/}', active: true },
  ]);
  expect(watch.conditions(of(), full.slice(0, 1), 140)).toMatchObject([
    { source: 'threshold:disk', active: true },
    { source: 'threshold:inodes{/}', active: false },
  ]);
});

test("settings move the image's limits, turn them off, and 0 is none", () => {
  expect(look(heat(94), 300, { thresholds: { temperature: { limit: 100 } } })).toMatchObject([
    { active: false },
  ]);
  expect(look(heat(105), 0, { thresholds: { temperature: { limit: 100, for: 0 } } })).toMatchObject(
    [{ active: true, severity: 'critical' }],
  );
  expect(of({ thresholds: { temperature: 'off' } }).map(({ name }) => name)).not.toContain(
    'temperature',
  );
  expect(
    thresholds({ limits: { ...limits, wear: 0 }, ports: [] }, monitorSettings.parse({})).map(
      ({ name }) => name,
    ),
  ).not.toContain('wear');
});

test('what is measured over the uplink is explained by it', () => {
  const loss: Sample = { measure: 'uplink.loss', label: '9.9.9.9', value: 100 };
  look(loss, 400);
  expect(watch.conditions(of(), [loss], steady)).toMatchObject([
    {
      source: 'threshold:loss{9.9.9.9}',
      active: true,
      needs: expect.arrayContaining(['check:uplink']),
    },
  ]);
});

describe('when a disk will be full', () => {
  const start = Date.UTC(2026, 5, 1) / 1000;
  function filled(days: number, used: (day: number) => number): number | undefined {
    const recorder = new Recorder();
    for (let minute = 0; minute <= days * 1440; minute += 5)
      recorder.record(start + minute * 60, new Map([['disk.used{/}', used(minute / 1440)]]), true);
    return fullIn(recorder, 'disk.used{/}');
  }
  const days = (seconds: number | undefined) => (seconds ?? Number.NaN) / 86_400;

  test('is a straight line from where it is', () => {
    expect(days(filled(10, (day) => 50 + day * 2))).toBeCloseTo(15, 1);
    // Of the last week alone.
    expect(days(filled(20, (day) => (day < 13 ? 40 : 40 + (day - 13) * 5)))).toBeCloseTo(5, 0);
  });

  test('goes through the middle of a saw, and of noise', () => {
    const random = noise(3);
    expect(days(filled(10, (day) => 50 + day * 2 + 3 * (day % 1) + random()))).toBeCloseTo(
      14,
      -0.5,
    );
  });

  test('is not said of what does not grow, shrinks, or is new', () => {
    const random = noise(4);
    expect(filled(10, () => 95 + 0.2 * random())).toBeUndefined();
    expect(filled(10, (day) => 95 - day)).toBeUndefined();
    expect(filled(0.9, (day) => 50 + day * 40)).toBeUndefined();
    expect(fullIn(new Recorder(), 'disk.used{/}')).toBeUndefined();
  });
});
