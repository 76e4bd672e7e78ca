import { deviceSystem } from '../../firstboot/system.ts';
import { recoverSettings, rollBackDue } from './apply.ts';

/**
 * `settings.mjs recover`: at boot, before anything reads the settings. `settings.mjs rollback`: when the time
 * of a change is over.
 */
const system = deviceSystem((text) => process.stdout.write(`${text}\n`));
const [, , task] = process.argv;

try {
  const undone = task === 'recover' ? await recoverSettings(system) : await rollBackDue(system);
  if (undone)
    system.say('A change of the settings was not confirmed, or cut off: those of before are back');
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
