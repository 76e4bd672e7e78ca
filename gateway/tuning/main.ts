import { deviceSystem } from '../../firstboot/system.ts';
import { applyTuning, undoTuning } from './apply.ts';
import { followRates } from './follow.ts';

/** `tuning.mjs apply|undo|autorate`. Another root: for tests, in networks of their own. */
const { PI_GATEWAY_ROOT: root = '/' } = process.env;
const system = { ...deviceSystem((text) => process.stdout.write(`${text}\n`)), root };
const [, , task] = process.argv;

try {
  if (task === 'apply') await applyTuning(system);
  else if (task === 'undo') await undoTuning(system);
  else if (task === 'autorate') {
    const stop = new AbortController();
    process.on('SIGTERM', () => stop.abort());
    await followRates(system, stop.signal);
  } else throw new Error(`There is no task '${task}'`);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
