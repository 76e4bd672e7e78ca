import { expect, test } from 'vitest';
import { neighbourhood, Throttle } from './throttle.ts';

test.each([
  ['192.168.1.2', '192.168.1.2'],
  ['::ffff:192.168.1.2', '192.168.1.2'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:DB8:1:2::1', '2001:db8:1:2::/64'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['cli', 'cli'],
])('%s is counted as %s', (address, key) => {
  expect(neighbourhood(address)).toBe(key);
});

test('five failures are free, then each doubles the wait up to a quarter of an hour', () => {
  let now = 0;
  const throttle = new Throttle(() => now);
  const waits: number[] = [];
  for (let i = 0; i < 20; i += 1) {
    now += throttle.wait('192.0.2.1', 'ada', false);
    throttle.failed('192.0.2.1', 'ada', false);
    waits.push(throttle.wait('192.0.2.1', 'ada', false));
  }
  expect(waits.slice(0, 8)).toEqual([0, 0, 0, 0, 1, 2, 4, 8]);
  expect(waits.at(-1)).toBe(900);
  now += 3601;
  expect(throttle.wait('192.0.2.1', 'ada', false)).toBe(0);
});

test('memory is bounded, whoever comes from wherever', () => {
  const throttle = new Throttle(() => 0);
  for (let i = 0; i < 100_000; i += 1)
    throttle.failed(
      `2001:db8:${(i >> 8).toString(16)}:${(i & 255).toString(16)}::1`,
      `name${i}`,
      false,
    );
  expect(throttle.size).toBeLessThan(6000);
});
