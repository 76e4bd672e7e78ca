import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { CheckSettings } from '../settings.ts';
import { type Finding, failed, ok, unknown, warning } from './check.ts';

/** Programs of the owner's. Only root writes there, so that settings can name one but not bring it. */
export const programs = '/etc/pi-gateway/checks.d';

/** Bytes of output that are kept; more is read and forgotten. */
const longestOutput = 4096;

/**
 * Runs one, as the daemon's user and in its sandbox: 0 is well, 1 a warning, 2 and others a failure, 3 not
 * known (the convention of monitoring plug-ins); the first line that it writes is what was found.
 */
export async function lookCommand(
  root: string,
  check: Extract<CheckSettings, { type: 'command' }>,
): Promise<Finding> {
  return await new Promise<Finding>((resolve) => {
    const child = spawn(join(root, programs, check.program), check.args, {
      cwd: '/',
      env: { PATH: '/usr/sbin:/usr/bin', LC_ALL: 'C.UTF-8' },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own: what it has started ends with it.
      detached: true,
    });
    let output = '';
    const take = (chunk: Buffer) => {
      if (output.length < longestOutput) output += chunk.toString('utf8');
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      killGroup(child.pid);
    }, check.timeout * 1000);
    child.on('error', (error) => {
      clearTimeout(timer);
      resolve(failed(`${programs}/${check.program} cannot be run: ${error.message}`));
    });
    child.on('exit', () => {
      clearTimeout(timer);
      killGroup(child.pid);
      // One that has left the group may hold the output open.
      setTimeout(() => {
        child.stdout.destroy();
        child.stderr.destroy();
      }, 500).unref();
    });
    child.on('close', (code, signal) =>
      resolve(
        late
          ? failed(`It took longer than ${check.timeout} s and was killed`)
          : judge(code, signal, firstLine(output)),
      ),
    );
  });
}

function judge(code: number | null, signal: string | null, line: string): Finding {
  switch (code) {
    case 0:
      return ok(line || 'It is well');
    case 1:
      return warning(line || 'It warns (code 1)');
    case 3:
      return unknown(line || 'It does not know (code 3)');
    default:
      return failed(line || `It failed (${code === null ? signal : `code ${code}`})`);
  }
}

function firstLine(output: string): string {
  const line = output.split('\n').find((one) => one.trim() !== '') ?? '';
  return line.replaceAll(/\p{C}/gu, '').trim().slice(0, 200);
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // None of it is left.
  }
}
