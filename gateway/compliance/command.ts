import { type Command, InvalidArgumentError, Option } from 'commander';
import { GatewayError, requireRoot } from '../errors.ts';
import { forTerminal, painter } from '../terminal.ts';
import type { Control } from './control.ts';
import { controls, unitsAsked } from './controls/all.ts';
import { askMachine, type Facts, factsOfDirectory } from './facts.ts';
import { detailText, makeReport, reportText } from './report.ts';
import { assess, assessWhileAsking, type Result } from './score.ts';
import { tailoring } from './tailoring.ts';

export type ComplianceFlags = {
  json?: boolean;
  failed?: boolean;
  control?: string;
  level?: string;
  minScore?: number;
};

function percent(value: string): number {
  const number = Number(value);
  if (!/^\d+(\.\d+)?$/.test(value) || number > 100)
    throw new InvalidArgumentError('It must be a number from 0 to 100, e.g. 95.');
  return number;
}

function known(id: string): string {
  if (!controls.some((control) => control.id === id))
    throw new InvalidArgumentError('There is no such control; docs/compliance.md has all.');
  return id;
}

/** The options that say what is shown of a report and what its exit code is. */
export function complianceOptions(command: Command): Command {
  return command
    .option('--json', 'print JSON for machines')
    .option('--failed', 'only what fails')
    .option('--control <id>', 'one control with all that is known of it, e.g. 5.1.12', known)
    .addOption(
      new Option('--level <level>', 'only the controls of CIS level 1')
        .choices(['1', '2'])
        .default('2'),
    )
    .option('--min-score <percent>', 'succeed from this score on, instead of only at 100', percent)
    .addHelpText(
      'after',
      `
The score is what passes of what passes or fails; tailored and not applicable controls do not count.
What cannot be read fails. docs/compliance.md has all controls and the tailoring.

Exit codes:
  0  everything passes, or the score is at least --min-score
  1  something fails, or the score is lower
  2  wrong command line`,
    );
}

/** Judges a root file system and prints. @returns the exit code. */
export function reportCompliance(facts: Facts, o: ComplianceFlags, root: string): number {
  return print(assess(facts, chosenControls(o), tailoring), o, { live: facts.live, root });
}

function chosenControls(o: ComplianceFlags): Control[] {
  return controls.filter((control) =>
    o.control === undefined ? control.level <= Number(o.level ?? 2) : control.id === o.control,
  );
}

function print(
  results: readonly Result[],
  o: ComplianceFlags,
  about: { live: boolean; root?: string },
): number {
  const report = makeReport(results, about);
  const paint = painter(process.stdout);
  const shown = o.failed
    ? { ...report, controls: report.controls.filter((result) => result.state === 'fail') }
    : report;
  const [first] = results;
  const [control] = chosenControls(o);
  const text = o.json
    ? JSON.stringify(shown, null, 2)
    : o.control && first && control
      ? detailText(first, control.checks, control.mend, paint)
      : reportText(report, paint, { failed: o.failed ?? false });
  process.stdout.write(`${forTerminal(text)}\n`);
  return passes(report.score, o.minScore) ? 0 : 1;
}

function passes(score: { failed: number; percent: number }, least: number | undefined): boolean {
  return least === undefined ? score.failed === 0 : score.percent >= least;
}

/** `pi-gateway compliance`. */
export function addCompliance(program: Command): void {
  complianceOptions(
    program
      .command('compliance')
      .description(
        'judge this machine by the CIS benchmark for Debian: what passes, fails, and how to mend it',
      )
      .option(
        '--root <directory>',
        'judge a root file system that is not running, e.g. of an image',
      ),
  ).action(async (o: ComplianceFlags & { root?: string }) => {
    requireRoot();
    if (o.root !== undefined) {
      process.exitCode = reportCompliance(directory(o.root), o, o.root);
      return;
    }
    const results = await assessWhileAsking(askMachine(unitsAsked), chosenControls(o), tailoring);
    process.exitCode = print(results, o, { live: true });
  });
}

function directory(root: string): Facts {
  try {
    return factsOfDirectory(root);
  } catch {
    throw new GatewayError(
      `There is no directory ${root}`,
      'Give the place of a root file system, e.g. --root /mnt',
    );
  }
}
