import { imagerCustomisation } from './imager/customisation.ts';
import { plan } from './plan.ts';
import { report } from './report.ts';
import { isComplete, runFirstBoot } from './run.ts';
import { deviceSystem } from './system.ts';

// 0: all is done, or was. 1: something is undone; the unit fails, and the next boot tries again.
const system = deviceSystem((text) => process.stdout.write(`${text}\n`));
// Before the wipe. What is damaged there, the step that reads it tells.
const { notes } = await imagerCustomisation(system).catch(() => ({ notes: [] }));
const outcome = await runFirstBoot(system, {
  ...plan,
  report: (on, result) => report(on, result, notes),
});
// Not by itself at the end: what a step that took too long still waits for would hold the boot up.
process.exit(isComplete(outcome) ? 0 : 1);
