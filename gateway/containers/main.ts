import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deviceSystem } from '../../firstboot/system.ts';
import { updateAll } from './automatic.ts';
import { pushMetrics } from './metrics.ts';
import { appName } from './template.ts';
import { resumeAll, reviveAll, workOn } from './work.ts';

/**
 * `container.mjs app NAME`: pi-gateway-container@NAME.service; `resume`: what a power cut came between; `update`:
 * each night; `metrics NAME`: each minute, if the app takes them; `restored`: after a restore, by /usr/lib/pi-gateway/containers-rest.
 */
const system = deviceSystem((text) => process.stdout.write(`${text}\n`));
const [, , task, name] = process.argv;

try {
  if (task === 'app') {
    const job = await workOn(system, appName.parse(name));
    // The unit fails, and so whoever watches units knows.
    if (job?.state === 'failed' || job?.state === 'undone') process.exitCode = 1;
  } else if (task === 'metrics') {
    const { CREDENTIALS_DIRECTORY: folder = '' } = process.env;
    await pushMetrics(system, appName.parse(name), (one) => readFile(join(folder, one), 'utf8'));
  } else if (task === 'resume') await resumeAll(system);
  else if (task === 'update') await updateAll(system);
  else if (task === 'restored') await reviveAll(system);
  else throw new Error(`There is no task '${task}'`);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
