import { deviceSystem } from '../../../firstboot/system.ts';
import { GatewayError } from '../../errors.ts';
import { readDeviceSettings } from '../../settings/read.ts';
import { version } from '../../version.ts';
import { apply, check, recover, restartPrograms, rollback } from './run.ts';

/**
 * `runtime-update.mjs check|apply|again|rollback`: pi-gateway-runtime@.service. `recover`: at boot, before anything
 * else of the runtime starts. `after`: whatever has ended the service.
 */
const system = deviceSystem((text) => process.stdout.write(`${text}\n`));
const [, , task] = process.argv;

async function options() {
  const { settings } = await readDeviceSettings(system);
  return { current: version, ...settings.updates.runtime, url: settings.updates.runtime.url };
}

try {
  if (task === 'recover') await recover(system);
  else if (task === 'after') {
    if (await recover(system)) await restartPrograms(system);
  } else if (task === 'check') {
    const found = await check(system, await options());
    system.say(found ? `Version ${found.version} is to be had` : 'There is none newer');
  } else if (task === 'apply' || task === 'again') {
    const result = await apply(system, { ...(await options()), again: task === 'again' });
    system.say(result ? `${result.state}: ${result.version}. ${result.detail}` : 'None is newer');
    if (result && result.state !== 'ok') process.exitCode = 1;
  } else if (task === 'rollback') {
    const result = await rollback(system, await options());
    system.say(`${result.state}: ${result.version ?? 'of the image'}. ${result.detail}`);
    if (result.state !== 'ok') process.exitCode = 1;
  } else throw new Error(`There is no task '${task}'`);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  if (error instanceof GatewayError) process.stderr.write(`${error.fix}\n`);
  process.exitCode = 1;
}
