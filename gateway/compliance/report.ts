import type { Paint } from '../terminal.ts';
import { benchmark, chapters } from './controls/all.ts';
import { type Result, type Score, type State, score } from './score.ts';

export type Report = {
  benchmark: string;
  /** True of the running machine; false of a root file system. */
  live: boolean;
  /** What was looked at, where it is not the running machine. */
  root?: string;
  score: Score;
  controls: readonly Result[];
};

export function makeReport(
  results: readonly Result[],
  o: { live: boolean; root?: string },
): Report {
  return { benchmark, ...o, score: score(results), controls: results };
}

const word: Record<State, string> = {
  fail: 'FAIL',
  pass: 'pass',
  'not-applicable': 'n/a',
  tailored: 'tailored',
};
const order: readonly State[] = ['fail', 'pass', 'tailored', 'not-applicable'];
const colour = { fail: 'red', pass: 'green', tailored: 'yellow', 'not-applicable': 'dim' } as const;

/** For people: by chapter, what failed first, with what was seen and how to mend it. */
export function reportText(report: Report, paint: Paint, o: { failed: boolean }): string {
  const lines: string[] = [];
  for (const chapter of chapters) {
    const results = report.controls
      .filter((result) => result.id.startsWith(`${chapter.number}.`))
      .filter((result) => !o.failed || result.state === 'fail')
      .toSorted((a, b) => order.indexOf(a.state) - order.indexOf(b.state));
    if (results.length === 0) continue;
    const { passed, failed } = score(results);
    lines.push(
      paint('bold', `${chapter.number} ${chapter.title}`) +
        (o.failed ? '' : paint('dim', `  ${passed} of ${passed + failed} pass`)),
    );
    for (const result of results) lines.push(...resultLines(result, paint));
    lines.push('');
  }
  return [...lines, summary(report, paint)].join('\n');
}

function resultLines(result: Result, paint: Paint): string[] {
  const state = paint(colour[result.state], word[result.state].padEnd(8));
  const head = `  ${state}  ${result.id.padEnd(10)} ${result.title}`;
  if (result.state !== 'fail') return [head];
  return [
    head,
    paint('dim', `            ${' '.repeat(10)} ${result.evidence}`),
    `            ${' '.repeat(10)} → ${result.mend ?? ''}`,
  ];
}

function summary(report: Report, paint: Paint): string {
  const { passed, failed, notApplicable, tailored, percent } = report.score;
  const root = report.live ? '' : ` of ${report.root ?? 'a root file system'}`;
  return [
    `${paint(failed ? 'red' : 'green', `${percent} %`)}${root}: ${passed} pass, ${failed} fail; ${tailored} tailored, ${notApplicable} not applicable`,
    paint('dim', report.benchmark),
  ].join('\n');
}

/** One control with all that is known of it. */
export function detailText(result: Result, checks: string, mend: string, paint: Paint): string {
  const rows: [string, string][] = [
    ['State', paint(colour[result.state], result.state)],
    ['Level', String(result.level)],
    ['Checks', checks],
    ['Seen', result.evidence],
    ['Mend', mend],
    ...(result.tailoring ? [['Tailored', result.tailoring.reason] as [string, string]] : []),
    ...(result.tailoring?.instead
      ? [['Instead', result.tailoring.instead] as [string, string]]
      : []),
  ];
  return [
    paint('bold', `${result.id} ${result.title}`),
    ...rows.map(([name, value]) => `  ${name.padEnd(9)} ${value}`),
  ].join('\n');
}
