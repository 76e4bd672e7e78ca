import type { System } from '../../firstboot/system.ts';
import { readDeviceSettings } from '../settings/read.ts';
import { appNames, readState, readWanted, writeWanted } from './app.ts';
import { type Owner, ownerOf } from './owner.ts';
import { workOn } from './work.ts';

/**
 * Looks for newer images under the names that apps have, one app after the other; one that does not become well
 * with its new image gets the old one back, and is not tried with it again until somebody asks.
 */
export async function updateAll(system: System, owner: Owner = ownerOf(system)): Promise<void> {
  const { settings } = await readDeviceSettings(system);
  if (!settings.containers.automatic_updates) return;
  for (const app of await appNames(system)) {
    const wanted = await readWanted(system, app);
    const state = await readState(system, app);
    // What its owner has taken back stays so.
    if (!wanted || !state.installed || state.job?.action === 'rollback') continue;
    if (state.job?.action === 'update' && state.job.state === 'undone') continue;
    await writeWanted(system, {
      ...wanted,
      action: 'update',
      revision: wanted.revision + 1,
      asked_at: new Date().toISOString(),
    });
    await workOn(system, app, owner);
  }
}
