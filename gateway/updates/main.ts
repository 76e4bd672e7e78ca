import { deviceSystem } from '../../firstboot/system.ts';
import { judgeAfter, noteBefore, refresh, update } from './run.ts';
import type { UpdateResult } from './view.ts';

/**
 * `update.mjs refresh|security|all`: pi-gateway-update@.service. `update.mjs before|after`: around what
 * unattended-upgrades does by itself.
 */
const system = deviceSystem((text) => process.stdout.write(`${text}\n`));
const [, , task] = process.argv;

function tell(result: UpdateResult | undefined): void {
  if (!result) return;
  system.say(`${result.state}: ${result.packages.length} packages changed. ${result.detail}`);
  for (const { id, detail } of result.checks) system.say(`not well: ${id} (${detail})`);
  // The unit fails, and so whoever watches units knows.
  if (result.state === 'failed' || result.state === 'unwell') process.exitCode = 1;
}

try {
  if (task === 'refresh') await refresh(system);
  else if (task === 'before') await noteBefore(system);
  else if (task === 'after') tell(await judgeAfter(system));
  else if (task === 'security' || task === 'all') tell(await update(system, task));
  else throw new Error(`There is no task '${task}'`);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
