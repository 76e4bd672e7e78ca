/** Like the files have it: UTC, whole seconds. */
export function timeText(time: Date): string {
  return `${time.toISOString().slice(0, 19)}Z`;
}

/** True if the time is over, or is none. */
export function isOver(expires: string | undefined | null, now: number): boolean {
  if (expires === undefined || expires === null) return false;
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(expires)) return true;
  return !(Date.parse(expires) > now);
}
