import { stat } from 'node:fs/promises';
import { at, type System } from '../../firstboot/system.ts';
import type { Condition } from '../alerts/condition.ts';
import { settingsFile } from '../settings/read.ts';
import { type BackupSettings, lateHours, nameOf, type Target } from './settings.ts';
import { readRestored, readState } from './state.ts';
import type { TargetState } from './view.ts';

/** What the owner should know of backups; for monitoring, which looks again and again. */
export async function backupConditions(
  system: System,
  settings: BackupSettings,
  now = Date.now(),
): Promise<Condition[]> {
  const [state, restored] = await Promise.all([readState(system), readRestored(system)]);
  // Backups were asked for then, at the latest: what has never worked is late some time, too.
  const since = await stat(at(system, settingsFile)).then(
    (facts) => facts.mtimeMs,
    () => now,
  );
  const restore: Condition = {
    source: 'backup:restore',
    active: restored?.ok === false,
    severity: 'critical',
    text: restored?.ok === false ? `The restore from a backup has failed: ${restored.message}` : '',
    needs: ['uplink'],
  };
  return [
    ...settings.targets.flatMap((target) =>
      conditionsOf(target, state.targets[nameOf(target)], settings, since, now),
    ),
    ...(restored === null ? [] : [restore]),
  ];
}

/** Whether the last good backup of a target is too long ago. @param since when it was set up, at the latest. */
export function isLate(
  state: Pick<TargetState, 'last_success'> | undefined,
  settings: BackupSettings,
  since: number,
  now: number,
): boolean {
  const last = state?.last_success ? Date.parse(state.last_success.at) : since;
  return now - last > lateHours(settings) * 3_600_000;
}

function conditionsOf(
  target: Target,
  state: TargetState | undefined,
  settings: BackupSettings,
  since: number,
  now: number,
): Condition[] {
  const name = nameOf(target);
  const last = state?.last_success;
  const attempt = state?.last_attempt;
  const late = isLate(state, settings, since, now);
  const why = attempt && attempt.state !== 'ok' ? ` (${attempt.message} → ${attempt.fix})` : '';
  const condition = (
    kind: string,
    problem: string | undefined,
    needs: string[] = [],
  ): Condition => ({
    source: `backup:${name}:${kind}`,
    active: problem !== undefined,
    severity: 'warning',
    text: problem ?? `Backups to ${name} are well again`,
    needs,
  });
  const failing = attempt?.state === 'failed' || attempt?.state === 'partial';
  const { check, test } = state ?? {};
  return [
    condition(
      'late',
      late
        ? `${last ? `The last good backup to ${name} is of ${last.at.slice(0, 16)}Z` : `There is no backup to ${name} yet`}${why}`
        : undefined,
      target.type === 'disk' ? [] : ['uplink'],
    ),
    condition('failed', failing ? `${attempt.message} → ${attempt.fix}` : undefined),
    ...[
      {
        ...condition('check', check?.ok === false ? `${check.message} → ${check.fix}` : undefined),
        severity: 'critical' as const,
      },
      {
        ...condition(
          'test',
          test?.ok === false
            ? `A restore test of the backup to ${name} has failed: ${test.message} → ${test.fix}`
            : undefined,
        ),
        severity: 'critical' as const,
      },
    ],
  ];
}
