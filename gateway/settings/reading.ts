import { stat, writeFile } from 'node:fs/promises';
import { at, type System } from '../../firstboot/system.ts';
import { readDeviceSettings, settingsFile } from './read.ts';
import type { Settings } from './schema.ts';
import type { SettingsProblem } from './view.ts';

/** Which writing of the settings the daemon lives by: who changes them waits for it. */
export const readingFile = '/run/pi-gatewayd/settings.json';

/** What tells one writing of the file from another without its content, which has secrets. */
export async function settingsMark(system: System): Promise<string> {
  const there = await stat(at(system, settingsFile)).catch(() => undefined);
  return there ? `${there.ino} ${there.mtimeMs} ${there.size}` : 'none';
}

/**
 * The settings for the daemon, at its start and on SIGHUP: `use` takes them, and then it is on record that
 * they are in use.
 */
export async function followSettings(
  system: System,
  use: (settings: Settings, problems: readonly SettingsProblem[]) => void | Promise<void>,
): Promise<void> {
  // Before they are read: of a file that is replaced meanwhile it is the older mark.
  const file = await settingsMark(system);
  const { settings, problems } = await readDeviceSettings(system);
  await use(settings, problems);
  const found = { file, problems: problems.length, at: new Date().toISOString() };
  await writeFile(at(system, readingFile), `${JSON.stringify(found)}\n`, { mode: 0o644 });
}
