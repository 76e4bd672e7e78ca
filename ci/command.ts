import { join } from 'node:path';
import { run } from '../builder/exec.ts';

/**
 * Runs a program of the project, hands on its lines as they come, and returns its stdout. What it prints
 * with `--json` is for the caller alone: it begins with a line of its own.
 * @throws BuildError if it fails.
 */
export async function runProgram(
  root: string,
  args: readonly string[],
  o: { cwd: string; env?: Record<string, string>; fix?: string; onLine: (line: string) => void },
): Promise<string> {
  const [script = '', ...rest] = args;
  let json = false;
  const { stdout } = await run(process.execPath, [join(root, script), ...rest], {
    cwd: o.cwd,
    env: { CI: 'true', ...o.env },
    ...(o.fix === undefined ? {} : { fix: o.fix }),
    onLine: (line) => {
      json ||= rest.includes('--json') && line === '{';
      if (!json) o.onLine(line);
    },
  });
  return stdout;
}
