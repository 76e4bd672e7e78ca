import { stat } from 'node:fs/promises';
import { exists } from '../../firstboot/image.ts';
import { at, type System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { readDeviceSettings, settingsFile } from '../settings/read.ts';
import { isLate } from './conditions.ts';
import { nextAt } from './schedule.ts';
import { type BackupSettings, nameOf, type Target } from './settings.ts';
import { readRestored, readState } from './state.ts';
import { locationOf } from './target.ts';
import { type BackupView, type TaskKind, targetState, taskKinds } from './view.ts';

export const unitFile = '/usr/lib/systemd/system/pi-gateway-backup@.service';

/** @throws GatewayError on an image without the stage. */
export async function requireInstalled(system: System): Promise<void> {
  if (!(await exists(system, unitFile)))
    throw new GatewayError(
      'This image was built without backups',
      'Build it with `stages: {backup: {}}` in gateway.yaml of the project (docs/backups.md)',
      'missing',
    );
}

/** One of the targets. @throws GatewayError if there is none of that name; without a name, unless there is one alone. */
export function findTarget(settings: BackupSettings, name: string | undefined): Target {
  const names = settings.targets.map(nameOf);
  const found =
    name === undefined && settings.targets.length === 1
      ? settings.targets[0]
      : settings.targets.find((one) => nameOf(one) === name);
  if (found) return found;
  throw new GatewayError(
    settings.targets.length === 0
      ? 'There is no target for backups yet'
      : name === undefined
        ? `There are several targets: ${names.join(', ')}`
        : `There is no target '${name}'`,
    settings.targets.length === 0
      ? 'Set one: sudo pi-gateway config edit; docs/backups.md has an example of each kind'
      : `Name one of: ${names.join(', ')}`,
    'missing',
  );
}

/** The unit that does a task for one target, or for all that there are. */
export const unitOf = (task: TaskKind | 'due', target?: string) =>
  `pi-gateway-backup@${task}${target === undefined ? '' : `:${target}`}.service`;

/** What is under way or waits its turn; a unit of type oneshot is activating as long as it works. */
export async function runningTasks(system: System): Promise<TaskKind[]> {
  const text = await system
    .run('systemctl', [
      ...['list-units', '--all', '--plain', '--no-legend', '--state=activating'],
      'pi-gateway-backup@*.service',
    ])
    .catch(() => '');
  const tasks = text.matchAll(/pi-gateway-backup@([a-z]+)/g);
  const found = new Set([...tasks].map(([, task = '']) => (task === 'due' ? 'backup' : task)));
  return taskKinds.filter((kind) => found.has(kind));
}

export async function readBackups(system: System, now = Date.now()): Promise<BackupView> {
  const [{ settings }, state, running, restored, isInstalled] = await Promise.all([
    readDeviceSettings(system),
    readState(system),
    runningTasks(system),
    readRestored(system),
    exists(system, unitFile),
  ]);
  const { backup } = settings;
  const since = await stat(at(system, settingsFile)).then(
    (facts) => facts.mtimeMs,
    () => now,
  );
  return {
    installed: isInstalled,
    running,
    every: backup.schedule.every,
    targets: backup.targets.map((target) => {
      const name = nameOf(target);
      const { repository_id, ...one } = state.targets[name] ?? targetState.parse({});
      return {
        ...one,
        name,
        type: target.type,
        location: locationOf(target),
        next_at: new Date(nextAt(backup.schedule, one, now)).toISOString(),
        late: isLate(one, backup, since, now),
      };
    }),
    restore: restored,
  };
}
