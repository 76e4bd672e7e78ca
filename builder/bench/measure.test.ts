import { expect, test } from 'vitest';
import { judge, type Measure, median } from './measure.ts';

const measure = (more: Partial<Measure>): Measure => ({
  what: 'a build',
  unit: 's',
  ours: [9, 1, 2],
  baseline: { what: 'the same by hand', values: [8, 4, 3, 5] },
  ...more,
});

test('the ratio is that of the medians, so one slow run changes little', () => {
  expect(median([9, 1, 2])).toBe(2);
  expect(median([8, 4, 3, 5])).toBe(4.5);
  expect(judge(measure({}))).toMatchObject({ median: 2, baseline: { median: 4.5 }, ratio: 0.444 });
});

test('a limit is met only if the ratio and our own value are within it', () => {
  const met = (limit: NonNullable<Measure['limit']>) => judge(measure({ limit })).met;
  expect(met({ ofRatio: 0.45 })).toBe(true);
  expect(met({ ofRatio: 0.44 })).toBe(false);
  expect(met({ ofValue: 1.9 })).toBe(false);
  expect(met({ ofRatio: 0.45, ofValue: 1.9 })).toBe(false);
  expect(judge(measure({}))).not.toHaveProperty('met');
});

test('nothing measured is no zero', () => {
  expect(() => judge(measure({ ours: [] }))).toThrow('no values');
});
