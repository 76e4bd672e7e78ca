/** Numbers, amounts and times as the owner reads them: plain English, always with the unit. */

const minute = 60;
const hour = 60 * minute;
const day = 24 * hour;

/** What matters of a number: 0.04, 0.4, 4.2, 42.1, 420; no zero after the point. */
export function digits(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 99.95 ? 0 : size < 0.1 ? 2 : 1).replace(/\.0+$/, '');
}

function scaled(value: number, units: readonly string[]): string {
  let size = value;
  let unit = 0;
  while (Math.abs(size) >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(size) : digits(size)} ${units[unit] ?? ''}`;
}

/** SI, as on the box of a card: 1 MB = 1,000,000 bytes. */
export const bytes = (value: number): string => scaled(value, ['B', 'kB', 'MB', 'GB', 'TB', 'PB']);

/** Speeds of networks are told in bits, as providers do. */
export const bitRate = (bytesPerSecond: number): string =>
  scaled(bytesPerSecond * 8, ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s']);

export const count = (value: number): string => value.toLocaleString('en-US');

export const plural = (value: number, one: string, many = `${one}s`): string =>
  `${count(value)} ${value === 1 ? one : many}`;

/** The two largest parts: 3 d 4 h, 12 min 5 s. */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < minute) return `${s} s`;
  if (s < hour)
    return s % minute && s < 10 * minute
      ? `${Math.floor(s / minute)} min ${s % minute} s`
      : `${Math.floor(s / minute)} min`;
  if (s < day) {
    const minutes = Math.floor((s % hour) / minute);
    return minutes ? `${Math.floor(s / hour)} h ${minutes} min` : `${Math.floor(s / hour)} h`;
  }
  const hours = Math.floor((s % day) / hour);
  return hours && s < 10 * day ? `${Math.floor(s / day)} d ${hours} h` : `${Math.floor(s / day)} d`;
}

/** How long ago, or in how long: one part, so that it does not flicker. */
export function relative(when: number, now: number): string {
  const seconds = Math.round((now - when) / 1000);
  const size = Math.abs(seconds);
  if (size < 5) return 'just now';
  const words =
    size < minute
      ? `${size} s`
      : size < hour
        ? `${Math.floor(size / minute)} min`
        : size < day
          ? `${Math.floor(size / hour)} h`
          : size < 60 * day
            ? plural(Math.floor(size / day), 'day')
            : size < 730 * day
              ? plural(Math.floor(size / (30.44 * day)), 'month')
              : plural(Math.floor(size / (365.25 * day)), 'year');
  return seconds >= 0 ? `${words} ago` : `in ${words}`;
}

/** Day and time in the reader's own zone: 5 Mar 2026, 14:07. */
export function dateTime(when: number): string {
  return new Date(when).toLocaleString('en-GB', {
    day: 'numeric',
    month: 'short',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
  });
}

/** A measured value with its unit, UCUM as the monitor names it. */
export function quantity(value: number | null | undefined, unit: string): string {
  if (value === undefined || value === null || !Number.isFinite(value)) return '–';
  switch (unit) {
    case '%':
      return `${digits(value)} %`;
    case 'By':
      return bytes(value);
    case 'By/s':
      return bitRate(value);
    case 'Cel':
      return `${digits(value)} °C`;
    case 's':
      return Math.abs(value) < 1 ? `${digits(value * 1000)} ms` : duration(value);
    case 'ms':
      return `${digits(value)} ms`;
    case 'Hz':
      return scaled(value, ['Hz', 'kHz', 'MHz', 'GHz']);
    case '1':
    case '':
      return Number.isInteger(value) ? count(value) : digits(value);
    default:
      return `${digits(value)} ${unit}`;
  }
}
