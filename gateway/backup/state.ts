import { at, readIfThere, type System, writeDurably } from '../../firstboot/system.ts';
import { type BackupState, backupState, type TargetState, targetState } from './view.ts';

export const stateFolder = '/var/lib/pi-gateway-backup';
/** How each target's last backup, check and test went. Everybody may read it, as the daemon tells of it. */
const stateFile = `${stateFolder}/status.json`;
/** How the last restore of the whole gateway went. */
export const restoredFile = `${stateFolder}/restored.json`;

/** Empty also for what another version has written in another form. */
export async function readState(system: System): Promise<BackupState> {
  const text = await readIfThere(at(system, stateFile)).catch(() => undefined);
  try {
    return backupState.parse(JSON.parse(text ?? '{}'));
  } catch {
    return backupState.parse({});
  }
}

export async function readTarget(system: System, name: string): Promise<TargetState> {
  return (await readState(system)).targets[name] ?? targetState.parse({});
}

/** Changes what is known of one target. One process at a time does: flock(1) in the unit. */
export async function updateTarget(
  system: System,
  name: string,
  change: Partial<TargetState>,
): Promise<void> {
  const state = await readState(system);
  const before = state.targets[name] ?? targetState.parse({});
  const next: BackupState = { targets: { ...state.targets, [name]: { ...before, ...change } } };
  await writeDurably(at(system, stateFile), `${JSON.stringify(next)}\n`, 0o644);
}

export type Restored = { at: string; ok: boolean; message: string };

export async function readRestored(system: System): Promise<Restored | null> {
  const text = await readIfThere(at(system, restoredFile)).catch(() => undefined);
  try {
    return text === undefined ? null : (JSON.parse(text) as Restored);
  } catch {
    return null;
  }
}

export async function writeRestored(system: System, restored: Restored): Promise<void> {
  await writeDurably(at(system, restoredFile), `${JSON.stringify(restored)}\n`, 0o644);
}
