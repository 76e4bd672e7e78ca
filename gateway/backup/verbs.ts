import * as z from 'zod';
import type { System } from '../../firstboot/system.ts';
import { defineVerb } from '../helper/verb.ts';
import { readDeviceSettings } from '../settings/read.ts';
import { nameOf, targetName } from './settings.ts';
import { recoverySheet } from './sheet.ts';
import { findTarget, readBackups, requireInstalled, unitOf } from './status.ts';
import { backupView, type TaskKind, taskKinds } from './view.ts';

export const backupVerbs = {
  'backup.status': defineVerb({
    summary: 'How backups are, of each target',
    args: z.strictObject({}),
    result: backupView,
    changes: false,
    run: (system) => readBackups(system),
  }),
  'backup.run': defineVerb({
    summary: 'Make a backup, check the repository, or try a restore',
    args: z.strictObject({ what: z.enum(taskKinds), target: targetName.optional() }),
    result: z.object({ started: z.enum(taskKinds) }),
    changes: true,
    run: (system, { what, target }) => start(system, what, target),
  }),
  'backup.sheet': defineVerb({
    summary: 'Hand out the recovery sheet, with the password of the backups',
    args: z.strictObject({}),
    result: z.object({ text: z.string() }),
    // Nothing changes; but who has it reads every backup, and so it is on record.
    changes: true,
    run: async (system) => {
      await requireInstalled(system);
      const { settings } = await readDeviceSettings(system);
      return { text: await recoverySheet(system, settings.backup.targets) };
    },
  }),
} as const;

async function start(
  system: System,
  what: TaskKind,
  name: string | undefined,
): Promise<{ started: TaskKind }> {
  await requireInstalled(system);
  const { settings } = await readDeviceSettings(system);
  if (name !== undefined || settings.backup.targets.length === 0)
    name = nameOf(findTarget(settings.backup, name));
  await system.run('systemctl', ['start', '--no-block', '--', unitOf(what, name)]);
  return { started: what };
}
