import { describe, expect, it } from 'vitest';
import {
  joined,
  nearest,
  parseName,
  Recent,
  sparkPath,
  summarize,
  tabled,
  ticks,
  timeTicks,
} from './series.ts';

describe('what is measured', () => {
  it('is named by area, what and label', () => {
    expect(parseName('network.received{eth0}')).toEqual({
      area: 'network',
      what: 'received',
      label: 'eth0',
    });
    expect(parseName('cpu.used')).toEqual({ area: 'cpu', what: 'used', label: undefined });
    expect(parseName('load')).toEqual({ area: 'load', what: '', label: undefined });
  });

  it('is kept as long as it is shown, however much comes', () => {
    const recent = new Recent(60);
    for (let second = 0; second < 1000; second++) recent.add(second * 1000, second);
    expect(recent.times.length).toBeLessThan(60 + 67);
    expect(recent.values.at(-1)).toBe(999);
    recent.add(5000, 1);
    expect(recent.values.at(-1)).toBe(999);
  });

  it('goes on where the history ends, without a value twice', () => {
    const start = Date.UTC(2026, 0, 1);
    const history = { start: new Date(start).toISOString(), step: 10, values: [1, null, 3] };
    const recent = { times: [start + 19_000, start + 21_000, start + 30_000], values: [9, 9, 4] };
    expect(joined(history, recent)).toEqual({
      times: [start, start + 10_000, start + 20_000, start + 30_000],
      values: [1, null, 3, 4],
    });
    expect(joined(undefined, undefined)).toEqual({ times: [], values: [] });
  });

  it('is summed up without what was not measured', () => {
    expect(summarize({ times: [], values: [null, 2, 4, null] })).toEqual({
      lowest: 2,
      highest: 4,
      mean: 3,
      last: 4,
    });
    expect(summarize({ times: [], values: [null] })).toBeUndefined();
  });
});

describe('axes', () => {
  it('have round numbers', () => {
    expect(ticks(0, 100, 4)).toEqual([0, 50, 100]);
    expect(ticks(0, 1, 5)).toEqual([0, 0.2, 0.4, 0.6000000000000001, 0.8, 1]);
    expect(ticks(5, 5, 4)).toEqual([5]);
  });

  it('have round times, of the clock on the wall', () => {
    const from = new Date(2026, 2, 5, 9, 7).getTime();
    const { times, days } = timeTicks(from, from + 3_600_000, 6);
    expect(days).toBe(false);
    expect(times.map((time) => new Date(time).getMinutes())).toEqual([10, 20, 30, 40, 50, 0]);
    const month = timeTicks(from, from + 30 * 86_400_000, 6);
    expect(month.days).toBe(true);
    expect(month.times.length).toBeLessThanOrEqual(7);
  });

  it('find the point under the pointer', () => {
    expect([-5, 0, 6, 14, 99].map((time) => nearest([0, 10, 20], time))).toEqual([0, 0, 1, 1, 2]);
    expect(nearest([], 5)).toBe(-1);
  });
});

it('a table has the mean of each part of the span', () => {
  const line = { times: [0, 1, 10, 11, 20], values: [1, 3, null, 5, 7] };
  expect(tabled([line], 0, 30, 3).map(({ values }) => values[0])).toEqual([2, 5, 7]);
});

describe('a sparkline', () => {
  it('stays in its box, also where all is the same', () => {
    for (const values of [
      [1, 1, 1],
      [0, 50, 100],
      [null, 3, null, 5],
    ]) {
      const numbers = [...sparkPath(values).matchAll(/[\d.]+/g)].map(Number);
      expect(Math.min(...numbers)).toBeGreaterThanOrEqual(0);
      expect(Math.max(...numbers)).toBeLessThanOrEqual(100);
    }
  });

  it('of one value is none', () => {
    expect(sparkPath([1, null])).toBe('');
  });
});
