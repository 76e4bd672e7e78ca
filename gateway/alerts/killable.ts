import { readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { deviceSystem } from '../../firstboot/system.ts';
import { startAlerts } from './alerts.ts';
import type { Condition } from './condition.ts';
import { alertSettings } from './settings.ts';

/**
 * Alerts as a process of its own that a test kills: `killable.ts FOLDER`. In the folder are settings.json and
 * conditions.json, which is looked at every 10 ms, as monitoring would.
 */
const [, , folder = ''] = process.argv;
const read = (name: string): unknown => JSON.parse(readFileSync(join(folder, name), 'utf8'));
const say = (line: string) => void writeSync(1, `${line}\n`);

const alerts = await startAlerts({
  system: { ...deviceSystem(say), root: folder },
  settings: alertSettings.parse(read('settings.json')),
  host: 'attic',
  journal: say,
});
setInterval(() => alerts.update(read('conditions.json') as Condition[], Date.now()), 10);
say('started');
