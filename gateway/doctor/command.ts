import type { Command } from 'commander';
import { requireRoot } from '../errors.ts';
import { printable } from '../logs/redact.ts';
import { exitCodeOf } from '../services/health.ts';
import { type Output, type Paint, painter, print } from '../terminal.ts';
import { examine } from './doctor.ts';
import type { Diagnosis, State } from './examination.ts';
import { realWorld } from './world.ts';

/** `pi-gateway doctor`: looks at the device itself, so that it works when the rest does not. */
export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .description('looks for what is wrong: what it is, what it means, and what mends it')
    .option('--json', 'for machines')
    .addHelpText(
      'after',
      `
Exit codes:
  0  all is well
  1  something deserves a look
  2  something has failed`,
    )
    .action(async (o: Output) => {
      requireRoot();
      const found = await examine(realWorld());
      print(o, { diagnoses: found }, reportText(found, painter(process.stdout)));
      process.exitCode = exitCodeOf(found.map(({ state }) => state));
    });
}

const marks: Record<State, string> = { ok: 'ok', warning: 'WARN', failed: 'FAIL', skipped: '-' };
const colours = { ok: 'green', warning: 'yellow', failed: 'red', skipped: 'dim' } as const;

export function reportText(found: readonly Diagnosis[], paint: Paint): string {
  const width = Math.max(...found.map(({ title }) => title.length));
  const count = (state: State) => found.filter((one) => one.state === state).length;
  const [bad, doubtful] = [count('failed'), count('warning')];
  return [
    ...found.flatMap(({ state, title, found: what, why, fix }) => [
      `${paint(colours[state], marks[state].padEnd(4))}  ${title.padEnd(width)}  ${printable(what).replaceAll('\n', ' ')}`,
      ...(why === undefined ? [] : [paint('dim', `      ${why}`)]),
      ...(fix === undefined ? [] : [`      → ${fix}`]),
    ]),
    '',
    bad + doubtful === 0
      ? paint('green', 'All is well.')
      : paint(
          bad > 0 ? 'red' : 'yellow',
          [bad > 0 ? `${bad} failed` : '', doubtful > 0 ? `${doubtful} to look at` : '']
            .filter(Boolean)
            .join(', '),
        ),
  ].join('\n');
}
