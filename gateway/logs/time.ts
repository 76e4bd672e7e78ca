const seconds = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 } as const;

/**
 * A time as people write it: `90s`, `30m`, `2h`, `1d`, `1w` ago; a date, or date and time, of the device's clock
 * or with a zone as in ISO 8601. Undefined if it is none.
 */
export function timeOf(text: string, now: number): Date | undefined {
  const ago = /^(\d{1,6})\s*([smhdw])(?:in|ec|ins|ecs)?(?: ago)?$/.exec(text);
  if (ago) {
    const unit = ago[2] as keyof typeof seconds;
    return new Date(now - Number(ago[1]) * seconds[unit] * 1000);
  }
  const date =
    /^(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d)(?::(\d\d)(?:\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$/.exec(text);
  if (!date) return undefined;
  const [, day, minute = '00:00', second = '00', zone = ''] = date;
  const value = new Date(`${day}T${minute}:${second}${zone}`);
  return Number.isNaN(value.getTime()) ? undefined : value;
}
