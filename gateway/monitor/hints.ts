import { type Entry, entryOf, parseSeriesName, titleOf } from './catalogue.ts';
import { type Recorder, tiers } from './history/history.ts';
import { quantity } from './words.ts';

/**
 * What is unusual for the hour of the week. For each of its 168 hours the mean and the spread of the 15-minute
 * values are kept; a value is unusual that is far outside the spread, twice in a row. Plain statistics, so that
 * each hint can say what is usual. Nothing is kept on the card: it follows from the history's 30 days.
 */

const hours = 168;

/** Values of an hour that must be there: of two weeks, four each. */
const leastValues = 8;

/** Each value counts at least so much, so that a new habit is learnt in weeks. */
const leastWeight = 1 / 16;

/**
 * Standard deviations from the mean. Of normal noise one value in 300,000 is further above it; of one whose
 * spread is known by 8 values alone, more, so the spread of all hours counts as well.
 */
const far = 4.5;
const near = 3;

/** A ratio below this is no news, however even it usually is. */
const leastRatio = 2;

/** Series that are learnt, at most. */
const mostSeries = 40;

type Usual = {
  mean: Float32Array;
  variance: Float32Array;
  count: Uint8Array;
  /** Spread around the means of all hours. */
  spread: { variance: number; count: number };
  /** Values in a row that were far off. */
  off: number;
  /** undefined: nothing can be said yet; empty: it is as usual. */
  hint: string | undefined;
};

/** `text` is empty where all is as usual. */
export type Hint = { series: string; text: string };

export class Hints {
  readonly #usual = new Map<string, Usual>();
  #learnt = -1;

  /** Learns what the history has, e.g. after a restart. Nothing is said about it. */
  learn(recorder: Recorder): void {
    const to = recorder.wholeQuarter;
    const from = Math.max(0, to - tiers[2].size + 1);
    for (const series of recorder.names()) {
      const entry = usualEntry(series);
      if (!entry) continue;
      for (const [index, value] of recorder.values(series, 2, from, to).entries())
        if (!Number.isNaN(value)) this.#see(series, entry, from + index, value, false);
    }
    this.#learnt = to;
  }

  /** Takes the 15 minutes that are just over. */
  take(recorder: Recorder, slot: number): void {
    // The clock was set back: these were learnt.
    if (slot <= this.#learnt) return;
    this.#learnt = slot;
    const names = new Set(recorder.names());
    for (const series of names) {
      const entry = usualEntry(series);
      const value = entry && recorder.values(series, 2, slot, slot)[0];
      if (entry && value !== undefined && !Number.isNaN(value))
        this.#see(series, entry, slot, value, true);
    }
    for (const series of this.#usual.keys()) if (!names.has(series)) this.#usual.delete(series);
  }

  /** Of each series that something can be said of. */
  hints(): Hint[] {
    return [...this.#usual].flatMap(([series, { hint }]) =>
      hint === undefined ? [] : [{ series, text: hint }],
    );
  }

  #see(series: string, entry: UsualEntry, slot: number, value: number, judge: boolean): void {
    const known = this.#usual.get(series);
    if (!known && this.#usual.size >= mostSeries) return;
    const usual = known ?? fresh();
    this.#usual.set(series, usual);
    const hour = hourOfWeek(slot * tiers[2].step);
    const x = scaled(value, entry.usual);
    const deviation = deviationOf(usual, hour, entry.usual);
    if (judge) this.#judge(series, entry, usual, hour, value, (x - mean(usual, hour)) / deviation);
    learn(usual, hour, x, deviation);
  }

  #judge(
    series: string,
    entry: UsualEntry,
    usual: Usual,
    hour: number,
    value: number,
    distance: number,
  ): void {
    if ((usual.count[hour] ?? 0) < leastValues) {
      usual.off = 0;
      usual.hint = undefined;
      return;
    }
    const expected = unscaled(mean(usual, hour), entry.usual);
    const news =
      entry.usual.by === 'ratio'
        ? value >= leastRatio * expected && value - expected >= entry.usual.least
        : value - expected >= entry.usual.least;
    if (distance >= far && news) usual.off += 1;
    else if (distance < near || !news) usual.off = 0;
    usual.hint = usual.off >= 2 ? hint(series, entry, hour, value, expected) : '';
  }
}

type UsualEntry = Entry & { usual: NonNullable<Entry['usual']> };

function usualEntry(series: string): UsualEntry | undefined {
  const parsed = parseSeriesName(series);
  const entry = parsed && entryOf(parsed.measure);
  return entry?.usual ? { ...entry, usual: entry.usual } : undefined;
}

const fresh = (): Usual => ({
  mean: new Float32Array(hours),
  variance: new Float32Array(hours),
  count: new Uint8Array(hours),
  spread: { variance: 0, count: 0 },
  off: 0,
  hint: undefined,
});

const mean = (usual: Usual, hour: number) => usual.mean[hour] ?? 0;

/** Of what is very even a tenth of what is no news: it must be possible to learn something else. */
function deviationOf(usual: Usual, hour: number, { by, least }: UsualEntry['usual']): number {
  const variance = Math.max(usual.variance[hour] ?? 0, usual.spread.variance);
  return Math.max(Math.sqrt(variance), by === 'ratio' ? 0.1 : least / 10);
}

/**
 * Welford's mean and variance; after 16 values the older ones fade. What is far off counts as if it were less
 * so: else the first unusual value would make the second a usual one.
 */
function learn(usual: Usual, hour: number, x: number, deviation: number): void {
  const count = Math.min((usual.count[hour] ?? 0) + 1, 255);
  usual.count[hour] = count;
  const weight = Math.max(1 / count, leastWeight);
  const bound = count > leastValues ? near * deviation : Number.POSITIVE_INFINITY;
  const delta = Math.max(-bound, Math.min(bound, x - mean(usual, hour)));
  usual.mean[hour] = mean(usual, hour) + weight * delta;
  const variance = (1 - weight) * ((usual.variance[hour] ?? 0) + weight * delta * delta);
  usual.variance[hour] = variance;
  // The first values of an hour say nothing of a spread.
  if (count < 4) return;
  usual.spread.count = Math.min(usual.spread.count + 1, hours * 4);
  usual.spread.variance += (delta * delta - usual.spread.variance) / usual.spread.count;
}

/** Ratios become differences of logarithms; what is no news in any case is added, so that 0 has one. */
const scaled = (value: number, { by, least }: UsualEntry['usual']) =>
  by === 'ratio' ? Math.log(Math.max(0, value) + least / 4) : value;

const unscaled = (x: number, { by, least }: UsualEntry['usual']) =>
  by === 'ratio' ? Math.max(0, Math.exp(x) - least / 4) : x;

function hint(
  series: string,
  { unit, usual }: UsualEntry,
  hour: number,
  value: number,
  expected: number,
): string {
  const when = `${days[Math.floor(hour / 24)]} at ${String(hour % 24).padStart(2, '0')} h`;
  const much =
    usual.by === 'ratio' && expected > usual.least / 10
      ? `${Math.round(value / expected)} times the usual`
      : 'more than usual';
  return `${titleOf(series)}: ${quantity(value, unit)}, ${much} on ${when} (about ${quantity(expected, unit)})`;
}

const days = ['Sundays', 'Mondays', 'Tuesdays', 'Wednesdays', 'Thursdays', 'Fridays', 'Saturdays'];

/** By the device's own time: habits go by it. */
function hourOfWeek(time: number): number {
  const date = new Date(time * 1000);
  return date.getDay() * 24 + date.getHours();
}
