/** Numbers for people. */

const prefixes = ['', 'k', 'M', 'G', 'T'];

function scaled(value: number, unit: string): string {
  let rest = value;
  let index = 0;
  while (Math.abs(rest) >= 1000 && index < prefixes.length - 1) {
    rest /= 1000;
    index += 1;
  }
  return `${short(rest)} ${prefixes[index]}${unit}`;
}

/** Three digits at most, as nobody reads more. */
function short(value: number): string {
  const size = Math.abs(value);
  return size >= 100 || Number.isInteger(value)
    ? String(Math.round(value))
    : value.toFixed(size >= 10 ? 1 : 2).replace(/0$/, '');
}

/** `85 °C`, `3.6 MB/s`, `12 ms` */
export function quantity(value: number, unit: string): string {
  switch (unit) {
    case '%':
      return `${short(value)} %`;
    case 'Cel':
      return `${short(value)} °C`;
    case 'By':
      return scaled(value, 'B');
    case 'By/s':
      return scaled(value, 'B/s');
    case '1/s':
      return `${short(value)} per second`;
    case 's':
      return Math.abs(value) < 1 ? `${short(value * 1000)} ms` : span(value);
    default:
      return short(value);
  }
}

/** `90 seconds`, `3 hours`, `6 days` */
export function span(seconds: number): string {
  const [size, word] =
    seconds >= 2 * 86_400
      ? [86_400, 'days']
      : seconds >= 2 * 3600
        ? [3600, 'hours']
        : seconds >= 120
          ? [60, 'minutes']
          : [1, 'seconds'];
  const count = size === 1 ? short(seconds) : String(Math.round(seconds / size));
  return `${count} ${count === '1' ? word.slice(0, -1) : word}`;
}
