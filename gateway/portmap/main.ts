import { join } from 'node:path';
import { deviceSystem } from '../../firstboot/system.ts';
import { publish, runPortmap } from './run.ts';

/** systemd.exec(5): the unit's StateDirectory= and RuntimeDirectory=. Another root: for tests. */
const { STATE_DIRECTORY, RUNTIME_DIRECTORY, PI_GATEWAY_ROOT: root = '/' } = process.env;
if (!STATE_DIRECTORY || !RUNTIME_DIRECTORY)
  throw new Error('Start it with: systemctl start pi-gateway-portmap.service');

const system = { ...deviceSystem((text) => process.stdout.write(`${text}\n`)), root };
const places = { state: join(STATE_DIRECTORY, 'state.json'), runtime: RUNTIME_DIRECTORY };

try {
  const { summary } = await runPortmap(system, places);
  system.say(summary);
} catch (error) {
  const summary = error instanceof Error ? error.message : String(error);
  process.stderr.write(`${summary}\n`);
  await publish(places, {
    checked_at: new Date().toISOString(),
    state: 'error',
    summary,
    families: [],
  });
  process.exitCode = 1;
}
