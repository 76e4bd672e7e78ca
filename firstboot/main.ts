import { factsPath } from './image.ts';
import { imagerCustomisation } from './imager/customisation.ts';
import { plan } from './plan.ts';
import { report } from './report.ts';
import { isComplete, runFirstBoot } from './run.ts';
import { deviceSystem, readIfThere } from './system.ts';

// 0: all is done, or was. 1: something is undone; the unit fails, and the next boot tries again.
const system = {
  ...deviceSystem((text) => process.stdout.write(`${text}\n`)),
  read: new Map(),
};
// It makes keys and accounts: a builder's own machine must not be taken for a card that was flashed.
if ((await readIfThere(factsPath)) === undefined)
  throw new Error(`This is no device of a Pi Gateway image: there is no ${factsPath}`);
// Before the wipe. What is damaged there, the step that reads it tells.
const { notes } = await imagerCustomisation(system).catch(() => ({ notes: [] }));
const outcome = await runFirstBoot(system, {
  ...plan,
  report: (on, result) => report(on, result, notes),
});
// Not by itself at the end: what a step that took too long still waits for would hold the boot up.
process.exit(isComplete(outcome) ? 0 : 1);
