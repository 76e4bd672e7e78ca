import { styleText } from 'node:util';
import { BuildError, type ExitCode, exitCode, messageOf } from '../errors.ts';

/** True if text to this stream may have colours: a terminal, and NO_COLOR (no-color.org) unset. */
export function wantsColor(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
}

const noSpace = /ENOSPC|No space left on device/;

/** Any error as one that tells what, where and what to do. */
export function asBuildError(error: unknown): BuildError {
  const known = error instanceof BuildError ? error : undefined;
  const text = `${messageOf(error)}\n${known?.detail ?? ''}`;
  if (noSpace.test(text) && known?.code !== exitCode.host)
    return new BuildError({
      what: 'The disk is full',
      where: known?.where ?? (error as NodeJS.ErrnoException).path,
      detail: known?.detail ?? messageOf(error),
      fix: 'Free some space, run `pi-gateway-image cache prune`, or set paths.cache and paths.output in gateway.yaml to a larger disk',
      code: exitCode.host,
      cause: error,
    });
  if (known) return known;
  return new BuildError({
    what: messageOf(error),
    detail: error instanceof Error ? error.stack : undefined,
    fix: 'This is a defect of the builder; please report it with the lines above',
    cause: error,
  });
}

/** Prints an error for people, or as one line of JSON for machines. */
export function presentError(error: unknown, o: { json: boolean }): ExitCode {
  const { message: what, where, fix, detail, code } = asBuildError(error);
  if (o.json) {
    process.stderr.write(`${JSON.stringify({ error: { what, where, fix, detail, code } })}\n`);
    return code;
  }
  const paint = (style: 'red' | 'bold' | 'dim', text: string) =>
    wantsColor(process.stderr) ? styleText(style, text, { validateStream: false }) : text;
  const lines = [
    `${paint('red', 'Error:')} ${paint('bold', what)}`,
    ...(where ? [`  at ${where}`] : []),
    ...(detail ? detail.split('\n').map((line) => paint('dim', `  │ ${line}`)) : []),
    ...(fix ? [`  → ${fix}`] : []),
  ];
  process.stderr.write(`${lines.join('\n')}\n`);
  return code;
}

/** Rows as aligned columns. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  );
  return rows
    .map((row) =>
      row
        .map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Bytes for people: in MB, small ones in kB. */
export function megabytes(bytes: number): string {
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
