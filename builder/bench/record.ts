import { readFile } from 'node:fs/promises';
import { isErrno } from '../errors.ts';
import { replaceFile } from '../state.ts';
import { megabytes, table } from '../ui/present.ts';
import type { Category } from './categories.ts';
import type { Judged } from './measure.ts';

/** One run of the benchmark; files of docs/benchmarks are these, named so that they sort by date. */
export type BenchmarkRecord = {
  /** ISO time of its start. */
  date: string;
  /** Of the machine: figures in seconds mean nothing on another, ratios do. */
  machine: { architecture: string; cores: number; load: number };
  measures: Record<string, Judged>;
  image?: { name: string; packages: number; categories: readonly Category[] };
};

/** Name of a record's file: ISO time to the minute, without what file systems do not take. */
export function recordName(date: string): string {
  return `${date.slice(0, 16).replaceAll(':', '')}Z.json`;
}

/** Adds measures to a record that may lie there already: the items of one benchmark, run one by one. */
export async function addToRecord(path: string, fresh: BenchmarkRecord): Promise<BenchmarkRecord> {
  const before = await readRecord(path);
  const record = before
    ? {
        ...before,
        ...fresh,
        date: before.date,
        measures: { ...before.measures, ...fresh.measures },
      }
    : fresh;
  await replaceFile(path, `${JSON.stringify(record, null, 2)}\n`);
  return record;
}

async function readRecord(path: string): Promise<BenchmarkRecord | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as BenchmarkRecord;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** A record for people. */
export function recordText(record: BenchmarkRecord): string {
  const { measures, image, machine } = record;
  const rows = Object.entries(measures).map(([name, one]) => [
    name,
    valueText(one.median, one.unit),
    valueText(one.baseline.median, one.unit),
    one.ratio.toFixed(2),
    limitText(one),
    one.baseline.what,
  ]);
  const runs = [...new Set(Object.values(measures).map((one) => one.runs.length))].sort();
  return [
    table([['MEASURE', 'OURS', 'BASELINE', 'RATIO', 'LIMIT', 'BASELINE IS'], ...rows]),
    ...(image
      ? [
          '',
          `What the image ${image.name} holds (${image.packages} packages)`,
          table([
            ['CATEGORY', 'SIZE', 'FILES'],
            ...image.categories.map(({ category, bytes, files }) => [
              category,
              megabytes(bytes),
              files === undefined ? '' : String(files),
            ]),
          ]),
        ]
      : []),
    '',
    `Medians of ${runs.join(' or ')} run(s) on ${machine.cores} cores (${machine.architecture}), load ${machine.load.toFixed(1)} at the start`,
  ].join('\n');
}

function valueText(value: number, unit: Judged['unit']): string {
  return unit === 's' ? `${value.toFixed(value < 10 ? 2 : 1)} s` : megabytes(value);
}

function limitText({ limit, met, unit }: Judged): string {
  if (!limit) return '';
  const bounds = [
    ...(limit.ofRatio === undefined ? [] : [`ratio ${limit.ofRatio}`]),
    ...(limit.ofValue === undefined ? [] : [valueText(limit.ofValue, unit)]),
  ];
  return `${bounds.join(', ')}: ${met ? 'met' : 'NOT MET'}`;
}
