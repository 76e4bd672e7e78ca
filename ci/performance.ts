/**
 * Compares the newest benchmark with those before it: `node ci/performance.ts [FOLDER]`. Exit code 1 for a
 * regression. A benchmark is a JSON file whose name sorts by date; each object in it that has a number
 * `ratio` is a measure beside its baseline in the same run, so that machines of other speeds compare.
 */

import { readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { median } from '../builder/bench/measure.ts';
import { BuildError, exitCode } from '../builder/errors.ts';
import { presentError, table } from '../builder/ui/present.ts';

/** A ratio so many times its median before is a regression: busy machines vary by less than that. */
export const bound = 1.25;

/** So many runs before the newest are its history. */
const memory = 10;

/** Ratios of a benchmark, by the path of the object that holds each. */
export function ratiosOf(value: unknown, path = ''): Record<string, number> {
  if (typeof value !== 'object' || value === null) return {};
  const own = 'ratio' in value && typeof value.ratio === 'number' ? { [path]: value.ratio } : {};
  return Object.entries(value).reduce(
    (all, [key, inner]) =>
      Object.assign(all, ratiosOf(inner, path === '' ? key : `${path}.${key}`)),
    own as Record<string, number>,
  );
}

export type Comparison = {
  measure: string;
  /** Median of the runs before; absent for a new measure. */
  before: number | undefined;
  /** Absent where the newest run no longer has the measure. */
  now: number | undefined;
  regressed: boolean;
};

/** Each measure of the newest run beside its history. A measure that the last run had and this has not counts as a regression. */
export function compareRuns(
  newest: Record<string, number>,
  history: readonly Record<string, number>[],
): Comparison[] {
  const last = history.at(-1) ?? {};
  const measures = [...new Set([...Object.keys(newest), ...Object.keys(last)])].sort();
  return measures.map((measure) => {
    const earlier = history.slice(-memory).flatMap((run) => run[measure] ?? []);
    const before = earlier.length === 0 ? undefined : median(earlier);
    const now = newest[measure];
    const regressed = now === undefined || (before !== undefined && now > before * bound);
    return { measure, before, now, regressed };
  });
}

async function compare(folder: string): Promise<void> {
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith('.json'));
  const runs = await Promise.all(
    names
      .sort()
      .map(async (name) => ratiosOf(JSON.parse(await readFile(join(folder, name), 'utf8')))),
  );
  const newest = runs.pop();
  if (!newest || Object.keys(newest).length === 0)
    throw new BuildError({
      what: 'There is no benchmark with ratios to compare',
      where: folder,
      fix: 'Run: npm run bench',
      code: exitCode.usage,
    });
  const rows = compareRuns(newest, runs);
  const show = (value: number | undefined) => value?.toFixed(3) ?? '-';
  process.stdout.write(
    `${table([
      ['MEASURE', 'BEFORE', 'NOW', ''],
      ...rows.map(({ measure, before, now, regressed }) => [
        measure,
        show(before),
        show(now),
        regressed ? 'REGRESSED' : before === undefined ? 'new' : '',
      ]),
    ])}\n${runs.length} runs before it; bound: ${bound} times their median\n`,
  );
  if (rows.some(({ regressed }) => regressed)) process.exitCode = exitCode.failed;
}

if (import.meta.main)
  try {
    await compare(resolve(process.argv[2] ?? 'docs/benchmarks'));
  } catch (error) {
    process.exitCode = presentError(error, { json: false });
  }
