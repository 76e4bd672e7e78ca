/** What is measured, by name: `area.what{label}`. Pure; the charts and tiles are made of it. */

export type SeriesName = { area: string; what: string; label: string | undefined };

export function parseName(name: string): SeriesName {
  const [, area = name, what = '', label] = /^([^.{]*)\.?([^{]*)(?:\{(.*)\})?$/.exec(name) ?? [];
  return { area, what, label };
}

/** The newest values of one series, by the times that they came at; what is too old is dropped. */
export class Recent {
  readonly times: number[] = [];
  readonly values: (number | null)[] = [];
  readonly #keep: number;

  /** @param keep seconds */
  constructor(keep: number) {
    this.#keep = keep * 1000;
  }

  add(time: number, value: number | null): void {
    const last = this.times.at(-1);
    if (last !== undefined && time <= last) return;
    this.times.push(time);
    this.values.push(value);
    const first = this.times.findIndex((one) => one >= time - this.#keep);
    // Now and then, as each removal moves all the rest.
    if (first > 64) {
      this.times.splice(0, first);
      this.values.splice(0, first);
    }
  }
}

/** A line of a chart: points by time (milliseconds), null where nothing was measured. */
export type Line = { times: readonly number[]; values: readonly (number | null)[] };

/** History as the API gives it, with what came since by the stream of events. */
export function joined(
  history: { start: string; step: number; values: readonly (number | null)[] } | undefined,
  recent: Line | undefined,
): Line {
  if (!history) return recent ?? { times: [], values: [] };
  const start = Date.parse(history.start);
  const times = history.values.map((_, index) => start + index * history.step * 1000);
  const values = [...history.values];
  const last = times.at(-1) ?? 0;
  for (const [index, time] of recent?.times.entries() ?? [])
    if (time > last + history.step * 500) {
      times.push(time);
      values.push(recent?.values[index] ?? null);
    }
  return { times, values };
}

export type Summary = { lowest: number; highest: number; mean: number; last: number };

export function summarize(line: Line): Summary | undefined {
  let lowest = Number.POSITIVE_INFINITY;
  let highest = Number.NEGATIVE_INFINITY;
  let sum = 0;
  let measured = 0;
  let last = 0;
  for (const value of line.values) {
    if (value === null) continue;
    lowest = Math.min(lowest, value);
    highest = Math.max(highest, value);
    sum += value;
    measured += 1;
    last = value;
  }
  return measured === 0 ? undefined : { lowest, highest, mean: sum / measured, last };
}

/** Round steps for an axis: 1, 2 or 5 times a power of ten; of the binary kind nothing is shown. */
export function ticks(from: number, to: number, about: number): number[] {
  const span = to - from;
  if (!(span > 0)) return [from];
  const rough = span / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((one) => one * power >= rough) ?? 10) * power;
  const first = Math.ceil(from / step - 1e-9);
  const last = Math.floor(to / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
}

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const timeSteps = [
  minute,
  5 * minute,
  10 * minute,
  15 * minute,
  30 * minute,
  hour,
  2 * hour,
  3 * hour,
  6 * hour,
  12 * hour,
  day,
  2 * day,
  5 * day,
  7 * day,
];

/** Times for the axis, on round hours and days of the reader's own clock. */
export function timeTicks(
  from: number,
  to: number,
  about: number,
): { times: number[]; days: boolean } {
  const step = timeSteps.find((one) => (to - from) / one <= about) ?? 7 * day;
  const shift = new Date(to).getTimezoneOffset() * minute;
  const first = Math.ceil((from - shift) / step) * step + shift;
  const times: number[] = [];
  for (let time = first; time <= to; time += step) times.push(time);
  return { times, days: step >= day };
}

/** Rows of the table that says in words what the chart shows: at most `rows`, each the mean of its part. */
export function tabled(
  lines: readonly Line[],
  from: number,
  to: number,
  rows: number,
): { time: number; values: (number | null)[] }[] {
  const width = (to - from) / rows;
  return Array.from({ length: rows }, (_, row) => {
    const start = from + row * width;
    return {
      time: start,
      values: lines.map((line) => {
        const part = line.values.filter((_, index) => {
          const time = line.times[index] ?? 0;
          return time >= start && time < start + width;
        });
        return summarize({ times: [], values: part })?.mean ?? null;
      }),
    };
  });
}

/** Index of the point nearest to a time; -1 of none. */
export function nearest(times: readonly number[], time: number): number {
  let low = 0;
  let high = times.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((times[middle] ?? 0) < time) low = middle + 1;
    else high = middle;
  }
  const before = times[low - 1];
  const after = times[low];
  if (after === undefined) return -1;
  return before !== undefined && time - before < after - time ? low - 1 : low;
}

/** Path of a sparkline in a box of 100 by 30, without gaps: a sign of the trend, no chart. */
export function sparkPath(
  values: readonly (number | null)[],
  floor?: number,
  ceiling?: number,
): string {
  const known = values.filter((value) => value !== null);
  if (known.length < 2) return '';
  const low = Math.min(floor ?? Number.POSITIVE_INFINITY, ...known);
  const high = Math.max(ceiling ?? Number.NEGATIVE_INFINITY, ...known);
  const span = high - low || 1;
  return known
    .map((value, index) => {
      const x = (index / (known.length - 1)) * 100;
      const y = high === low ? 26 : 28 - ((value - low) / span) * 25;
      return `${index === 0 ? 'M' : 'L'}${x.toFixed(1)} ${y.toFixed(1)}`;
    })
    .join('');
}

/** The lowest of all series of one kind, and which one that is. */
export function lowestOf(
  names: readonly string[],
  kind: string,
  value: (name: string) => number | null,
): { name: string; lowest: number } | undefined {
  let best: { name: string; lowest: number } | undefined;
  for (const name of names) {
    if (name !== kind && !name.startsWith(`${kind}{`)) continue;
    const found = value(name);
    if (found !== null && (best === undefined || found < best.lowest))
      best = { name, lowest: found };
  }
  return best;
}
