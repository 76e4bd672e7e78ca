import type { QuietHours } from './settings.ts';

const formats = new Map<string, Intl.DateTimeFormat>();

/** What the clock on the wall says, as HH:MM. */
function wallClock(at: number, timeZone: string | undefined): string {
  const key = timeZone ?? '';
  const format =
    formats.get(key) ??
    new Intl.DateTimeFormat('en-GB', {
      hour: '2-digit',
      minute: '2-digit',
      hourCycle: 'h23',
      ...(timeZone === undefined ? {} : { timeZone }),
    });
  formats.set(key, format);
  return format.format(at);
}

/**
 * Whether it is quiet hours. It is asked of the wall's clock each time, never computed ahead: so the night in
 * which the clocks change is right, whatever is skipped or there twice.
 */
export function isQuiet(quiet: QuietHours | undefined, at: number): boolean {
  if (!quiet) return false;
  const { from, to, time_zone } = quiet;
  const time = wallClock(at, time_zone);
  return from < to ? from <= time && time < to : time >= from || time < to;
}
