import { type BackupSettings, hoursOf } from './settings.ts';
import type { TargetState, TaskKind } from './view.ts';

/** What is due, by the settings and what was done. Times are milliseconds since 1970. */

const hour = 3_600_000;
const day = 24 * hour;

/** The last moment at or before `now` that the schedule names, by the device's own time zone. */
export function slotBefore({ every, time }: BackupSettings['schedule'], now: number): number {
  const slot = new Date(now);
  const [hours = 0, minutes = 0] = time.split(':').map(Number);
  slot.setSeconds(0, 0);
  if (every === 'hour') {
    slot.setMinutes(minutes);
    if (slot.getTime() > now) slot.setTime(slot.getTime() - hour);
    return slot.getTime();
  }
  slot.setHours(hours, minutes);
  if (every === 'week') slot.setDate(slot.getDate() - slot.getDay());
  // By the calendar, not by 24 hours: the clock on the wall may have been changed.
  if (slot.getTime() > now) slot.setDate(slot.getDate() - (every === 'week' ? 7 : 1));
  return slot.getTime();
}

/** When the next backup of a target is due; not later than now if one is. */
export function nextAt(
  schedule: BackupSettings['schedule'],
  state: Pick<TargetState, 'last_success'> | undefined,
  now: number,
): number {
  const slot = slotBefore(schedule, now);
  const last = state?.last_success ? Date.parse(state.last_success.at) : undefined;
  // A clock that was ahead must not stop backups until it is reached.
  if (last === undefined || last < slot || last > now + day) return Math.min(slot, now);
  const after = new Date(slot);
  if (schedule.every === 'hour') after.setTime(slot + hour);
  else after.setDate(after.getDate() + hoursOf[schedule.every] / 24);
  return after.getTime();
}

/** What is to be done now for a target, in this order. */
export function dueTasks(
  settings: BackupSettings,
  state: TargetState | undefined,
  now: number,
): TaskKind[] {
  const { every_days: checkDays, restore_days: testDays } = settings.verify;
  // Beside the backup, so not a moment later than it each time.
  const isOld = (last: string | undefined, days: number) =>
    days > 0 && (last === undefined || now - Date.parse(last) > days * day - 2 * hour);
  const tasks: TaskKind[] = [];
  const isBackupDue = nextAt(settings.schedule, state, now) <= now;
  if (isBackupDue) tasks.push('backup');
  // Without a backup there is nothing to look at; the first backup's own day is soon enough.
  if (!state?.last_success) return tasks;
  if (isOld(state.check?.at, checkDays)) tasks.push('check');
  if (isOld(state.test?.at, testDays)) tasks.push('test');
  return tasks;
}
