import { deviceSystem } from '../../firstboot/system.ts';
import { readDeviceSettings } from '../settings/read.ts';
import { resume } from './hooks.ts';
import { runProgram } from './run-program.ts';
import { dueTasks } from './schedule.ts';
import { nameOf } from './settings.ts';
import { readState } from './state.ts';
import { findTarget } from './status.ts';
import { backUp, checkTarget, type Job, testTarget } from './tasks.ts';

/**
 * `backup.mjs due|backup|check|test[:TARGET]`: pi-gateway-backup@.service. `backup.mjs resume`: after it, in any case.
 * `backup.mjs fetch|apply|finish`: the units of a restore.
 */
const system = deviceSystem((text) => process.stdout.write(`${text}\n`));
const [, , instance = ''] = process.argv;
const [task, name] = instance.split(':');

async function tasks(): Promise<boolean> {
  const { settings } = await readDeviceSettings(system);
  const job: Job = { system, run: runProgram, settings: settings.backup };
  const targets =
    name === undefined ? settings.backup.targets : [findTarget(settings.backup, name)];
  if (task === 'due') {
    await due(job);
    // Who is told, and what of, the status says: a disk that is away fails no unit every hour.
    return true;
  }
  if (task === 'backup') return (await backUp(job, targets)).every((state) => state === 'ok');
  const work = task === 'check' ? checkTarget : testTarget;
  let isWell = true;
  for (const target of targets) isWell = (await work(job, target)) && isWell;
  return isWell;
}

async function due(job: Job): Promise<void> {
  const { targets } = await readState(system);
  const now = Date.now();
  const wanted = job.settings.targets.map((target) => ({
    target,
    kinds: dueTasks(job.settings, targets[nameOf(target)], now),
  }));
  const late = wanted.filter(({ kinds }) => kinds.includes('backup')).map(({ target }) => target);
  if (late.length > 0) await backUp(job, late);
  for (const { target, kinds } of wanted) {
    if (kinds.includes('check')) await checkTarget(job, target);
    if (kinds.includes('test')) await testTarget(job, target);
  }
}

try {
  if (task === 'resume') for (const problem of await resume(system)) system.say(problem);
  else if (task === 'fetch' || task === 'apply' || task === 'finish') {
    const restore = await import('./restore/steps.ts');
    if (!(await restore.steps[task](system))) process.exitCode = 1;
  } else if (task === 'due' || task === 'backup' || task === 'check' || task === 'test') {
    if (!(await tasks())) process.exitCode = 1;
  } else throw new Error(`There is no task '${instance}'`);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
