import type { Recorder } from './history/history.ts';

/** 15-minute slots of the week that is looked at, and of the day that there must be at least. */
const week = 7 * 96;
const day = 96;

/** Percent of the file system that must have been added in the time looked at: less is noise. */
const leastGrowth = 2;

/**
 * When a file system will be full: a straight line (least squares) through the last week's use, from where it
 * is now. Cleaning up makes a saw of it; the line goes through its middle.
 * @returns seconds, or undefined if it does not grow.
 */
export function fullIn(recorder: Recorder, series: string): number | undefined {
  const to = recorder.wholeQuarter;
  if (to < 0) return undefined;
  const values = recorder.values(series, 2, to - week + 1, to);
  let count = 0;
  let sumX = 0;
  let sumY = 0;
  let sumXX = 0;
  let sumXY = 0;
  let first: number | undefined;
  let last = 0;
  let now = 0;
  for (const [x, y] of values.entries()) {
    if (Number.isNaN(y)) continue;
    first ??= x;
    last = x;
    now = y;
    count += 1;
    sumX += x;
    sumY += y;
    sumXX += x * x;
    sumXY += x * y;
  }
  if (first === undefined || count < day / 2 || last - first < day) return undefined;
  const slope = (count * sumXY - sumX * sumY) / (count * sumXX - sumX * sumX);
  if (slope * (last - first) < leastGrowth) return undefined;
  return (Math.max(0, 100 - now) / slope) * 900;
}
