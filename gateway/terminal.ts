import { styleText } from 'node:util';
import { printable } from './logs/redact.ts';

export type Paint = (style: 'red' | 'green' | 'yellow' | 'dim' | 'bold', text: string) => string;

/** Colours on a terminal, unless NO_COLOR (no-color.org) is set. */
export function painter(stream: NodeJS.WriteStream): Paint {
  const colour = stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
  return (style, text) => (colour ? styleText(style, text, { validateStream: false }) : text);
}

export type Output = { json?: boolean };

/** The painter's own colours (ECMA-48 SGR): what styleText makes of Paint's styles, and its ends. */
const colours = new RegExp(`(${String.fromCharCode(27)}\\[(?:1|2|22|31|32|33|39)m)`);

/**
 * Text for a terminal in which strings of strangers may be: names, notes, what a server has answered. Of all
 * that moves the cursor or sets a title, the painter's colours alone are left.
 */
export function forTerminal(text: string): string {
  return text
    .split(colours)
    .map((part, i) => (i % 2 === 1 ? part : printable(part)))
    .join('');
}

/** A command's answer: JSON for machines, or text for people. */
export function print(output: Output, value: unknown, text: string): void {
  process.stdout.write(`${output.json ? JSON.stringify(value, null, 2) : forTerminal(text)}\n`);
}

/** A reader that goes (`| head`) is no mistake. Call it once, before anything is written. */
export function endQuietlyWithReader(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit();
    throw error;
  });
}

/** Rows as columns, each as wide as its widest cell; the last is not padded. */
export function table(rows: readonly (readonly string[])[], indent = ''): string {
  const widths: number[] = [];
  for (const row of rows)
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  return rows
    .map((row) =>
      `${indent}${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  ')}`.trimEnd(),
    )
    .join('\n');
}

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** Bytes for people, in powers of 1024. */
export function bytes(count: number): string {
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(count, 1)) / 10));
  const value = count / 1024 ** power;
  return `${value >= 100 || power === 0 ? Math.round(value) : value.toFixed(1)} ${units[power]}`;
}

/** A time span for people: its two largest units. */
export function span(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const parts: [number, string][] = [
    [Math.floor(whole / 86_400), 'd'],
    [Math.floor(whole / 3600) % 24, 'h'],
    [Math.floor(whole / 60) % 60, 'min'],
    [whole % 60, 's'],
  ];
  const first = parts.findIndex(([value]) => value > 0);
  if (first < 0) return '0 s';
  return parts
    .slice(first, first + 2)
    .filter(([value]) => value > 0)
    .map(([value, unit]) => `${value} ${unit}`)
    .join(' ');
}
