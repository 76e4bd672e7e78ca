/** One thing measured beside its baseline, in the same run and on the same inputs. */
export type Measure = {
  /** What was done, for people. */
  what: string;
  unit: 's' | 'bytes';
  /** One value for each run. */
  ours: readonly number[];
  /** The same from standard parts. */
  baseline: { what: string; values: readonly number[] };
  /** What must hold of the ratio of the medians, or of our own median. */
  limit?: { ofRatio?: number; ofValue?: number };
};

/** A measure as it is kept; ci/performance.ts compares the `ratio` of each. */
export type Judged = {
  what: string;
  unit: 's' | 'bytes';
  median: number;
  runs: readonly number[];
  baseline: { what: string; median: number; runs: readonly number[] };
  /** Of the medians; below 1 is better than the baseline. */
  ratio: number;
  limit?: { ofRatio?: number; ofValue?: number };
  /** Absent where there is no limit. */
  met?: boolean;
};

/** The middle value; of an even number of them the mean of the middle two. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  if (low === undefined || high === undefined) throw new Error('no values to take a median of');
  return (low + high) / 2;
}

export function judge({ what, unit, ours, baseline, limit }: Measure): Judged {
  const [own, theirs] = [median(ours), median(baseline.values)];
  const ratio = own / theirs;
  return {
    what,
    unit,
    median: rounded(own, unit),
    runs: ours.map((value) => rounded(value, unit)),
    baseline: {
      what: baseline.what,
      median: rounded(theirs, unit),
      runs: baseline.values.map((value) => rounded(value, unit)),
    },
    ratio: Math.round(ratio * 1000) / 1000,
    ...(limit
      ? { limit, met: ratio <= (limit.ofRatio ?? Infinity) && own <= (limit.ofValue ?? Infinity) }
      : {}),
  };
}

/** To the millisecond, or the byte. */
function rounded(value: number, unit: Measure['unit']): number {
  return unit === 's' ? Math.round(value * 1000) / 1000 : Math.round(value);
}
