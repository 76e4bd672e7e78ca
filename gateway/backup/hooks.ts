import { rm } from 'node:fs/promises';
import { at, readIfThere, type System, writeDurably } from '../../firstboot/system.ts';
import type { Declaration } from './declared.ts';
import { runtimeFolder } from './target.ts';

/** Commands that bring data to rest before a backup, and let it go on: of those who declare what is backed up. */

/** What must be resumed, whatever becomes of this process. */
const pausedFile = `${runtimeFolder}/paused.json`;

/** Milliseconds that one command may take. */
const patience = 600_000;

/** In a unit of its own, with nothing of this process's sandbox: systemd-run(1). */
export async function runHook(
  system: System,
  command: readonly string[],
): Promise<string | undefined> {
  try {
    await system.run('systemd-run', ['--quiet', '--collect', '--wait', '--', ...command], {
      timeout: patience,
    });
    return undefined;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return `${command.join(' ')}: ${why.slice(0, 300)}`;
  }
}

/** @returns what did not work. */
export async function quiesce(system: System, declared: readonly Declaration[]): Promise<string[]> {
  const resume = declared.flatMap((one) => one.resume);
  // Before the first is paused: a kill between the two would leave it so for good.
  if (resume.length > 0) await writeDurably(at(system, pausedFile), JSON.stringify(resume), 0o600);
  const problems: string[] = [];
  for (const one of declared)
    for (const command of one.quiesce) {
      const problem = await runHook(system, command);
      if (problem) problems.push(`${one.name} was not brought to rest: ${problem}`);
    }
  return problems;
}

/** Also after a backup that was killed: ExecStopPost= of the unit. @returns what did not work. */
export async function resume(system: System): Promise<string[]> {
  const text = await readIfThere(at(system, pausedFile));
  if (text === undefined) return [];
  const problems: string[] = [];
  for (const command of JSON.parse(text) as string[][]) {
    const problem = await runHook(system, command);
    if (problem) problems.push(`was not resumed: ${problem}`);
  }
  await rm(at(system, pausedFile), { force: true });
  return problems;
}
