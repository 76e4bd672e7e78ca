import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { statusFile } from '../../../firstboot/report.ts';
import {
  at,
  readIfThere,
  type System,
  syncDirectory,
  writeDurably,
} from '../../../firstboot/system.ts';
import { GatewayError } from '../../errors.ts';
import { runHook } from '../hooks.ts';
import { runProgram } from '../run-program.ts';
import { readRestored, writeRestored } from '../state.ts';
import { applyRestore } from './apply.ts';
import { fetchRestore, nameMachine } from './fetch.ts';
import { finishFile, readyFile, restoreFolder } from './request.ts';

/**
 * The three parts of a restore, each in a unit of its own. Fetch: with the network; ends with a restart. Apply: at the
 * next boot, before anything reads what it puts in place. Finish: once all runs. @returns false: not done.
 */
export const steps = { fetch, apply, finish } as const;

async function fetch(system: System): Promise<boolean> {
  try {
    system.say('Pi Gateway: fetching the backup that this gateway is to be made from');
    const ready = await fetchRestore(system, runProgram);
    if (!ready) return true;
  } catch (error) {
    await failed(system, error);
    return false;
  }
  await nameMachine(system);
  system.say('Pi Gateway: the backup is here and whole; it restarts and puts it in place');
  await system.run('systemctl', ['--no-block', 'reboot']);
  return true;
}

/** Told where the owner looks, once for each reason: it is tried again every few minutes. */
async function failed(system: System, error: unknown): Promise<void> {
  const message = error instanceof Error ? error.message : String(error);
  const fix = error instanceof GatewayError ? ` → ${error.fix}` : '';
  system.say(`${message}${fix}`);
  const text = `${message}${fix}`;
  if ((await readRestored(system))?.message === text) return;
  await writeRestored(system, { at: new Date().toISOString(), ok: false, message: text });
  const path = join(system.root, system.boot, statusFile);
  const before = (await readIfThere(path).catch(() => undefined)) ?? '';
  const rest = before.split('\n').filter((line) => !line.startsWith('Restore: '));
  await writeDurably(
    path,
    [`Restore: not done yet, tried again by itself: ${text}`, ...rest].join('\n'),
  ).catch((cause: unknown) => system.say(`${statusFile} cannot be written: ${String(cause)}`));
}

async function apply(system: System): Promise<boolean> {
  try {
    await applyRestore(system);
    return true;
  } catch (error) {
    // The gateway starts all the same, with part of it in place, and tries again at its next start.
    await failed(system, error);
    return false;
  }
}

async function finish(system: System): Promise<boolean> {
  const isLeft = await stat(at(system, readyFile)).catch(() => undefined);
  // Not put in place yet: that is for the next boot.
  if (isLeft) return true;
  const text = await readIfThere(at(system, finishFile));
  for (const command of JSON.parse(text ?? '[]') as string[][]) {
    const problem = await runHook(system, command);
    if (problem) system.say(`After the restore: ${problem}`);
  }
  await rm(at(system, finishFile), { force: true });
  await syncDirectory(at(system, restoreFolder));
  return true;
}
