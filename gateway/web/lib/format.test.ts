import { describe, expect, it } from 'vitest';
import { bitRate, bytes, digits, duration, quantity, relative } from './format.ts';

describe('amounts are read with their unit', () => {
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [999.6, '1 kB'],
    [1500, '1.5 kB'],
    [52_428_800, '52.4 MB'],
    [52_000_000, '52 MB'],
    [999_950_000, '1 GB'],
    [31_900_000_000, '31.9 GB'],
  ])('%d bytes are %s', (value, text) => {
    expect(bytes(value)).toBe(text);
  });

  it('speeds are in bits', () => {
    expect(bitRate(125_000)).toBe('1 Mbit/s');
    expect(bitRate(0)).toBe('0 bit/s');
  });

  it('never shows NaN, whatever was not measured', () => {
    for (const value of [undefined, null, Number.NaN, Number.POSITIVE_INFINITY])
      expect(quantity(value, '%')).toBe('–');
  });

  it('units of the monitor', () => {
    expect(quantity(52.34, 'Cel')).toBe('52.3 °C');
    expect(quantity(0.0123, 's')).toBe('12.3 ms');
    expect(quantity(90_061, 's')).toBe('1 d 1 h');
    expect(quantity(1234, '1')).toBe('1,234');
    expect(quantity(7.256, '%')).toBe('7.3 %');
  });

  it('small numbers keep what matters', () => {
    expect([0.042, 0.42, 4.2, 42.04, 420.4].map(digits)).toEqual([
      '0.04',
      '0.4',
      '4.2',
      '42',
      '420',
    ]);
  });
});

describe('times are read at a glance', () => {
  it.each([
    [5, '5 s'],
    [65, '1 min 5 s'],
    [3600, '1 h'],
    [5000, '1 h 23 min'],
    [100_000, '1 d 3 h'],
    [5_000_000, '57 d'],
  ])('%d seconds are %s', (seconds, text) => {
    expect(duration(seconds)).toBe(text);
  });

  it('says ago and in', () => {
    const now = 1_800_000_000_000;
    expect(relative(now - 2000, now)).toBe('just now');
    expect(relative(now - 59_000, now)).toBe('59 s ago');
    expect(relative(now - 3_600_000, now)).toBe('1 h ago');
    expect(relative(now + 3 * 86_400_000, now)).toBe('in 3 days');
    expect(relative(now - 400 * 86_400_000, now)).toBe('13 months ago');
  });
});
