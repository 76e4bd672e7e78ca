import { spawn } from 'node:child_process';

export type Ran = { code: number; stdout: string; stderr: string };

export type ProgramOptions = {
  /** Besides PATH and LC_ALL. Never a secret: root's other programs read it in /proc. */
  env?: Record<string, string>;
  cwd?: string;
  input?: string;
  /** Milliseconds until it is killed; none unless said: systemd ends the whole unit. */
  timeout?: number;
  /** Kills it when it says this on standard error. */
  stopWhen?: RegExp;
  /** Given each line of standard output, in place of keeping it. */
  onLine?: (line: string) => void;
};

/** Runs a program to its end; any exit code is a result, -1 if it was killed or could not be started. */
export type RunProgram = (
  command: string,
  args: readonly string[],
  options?: ProgramOptions,
) => Promise<Ran>;

/** Bytes of output that are kept, of its end. */
const keptOutput = 32 * 1024 * 1024;

export const runProgram: RunProgram = (command, args, options = {}) =>
  new Promise((resolve) => {
    const { env = {}, cwd, input = '', timeout, stopWhen, onLine } = options;
    const child = spawn(command, [...args], {
      env: { PATH: process.env.PATH ?? '/usr/sbin:/usr/bin', LC_ALL: 'C.UTF-8', ...env },
      ...(cwd === undefined ? {} : { cwd }),
      ...(timeout === undefined ? {} : { timeout, killSignal: 'SIGKILL' as const }),
    });
    let [stdout, stderr, rest] = ['', '', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (!onLine) {
        stdout = (stdout + text).slice(-keptOutput);
        return;
      }
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) onLine(line);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-65_536);
      if (stopWhen?.test(stderr)) child.kill('SIGKILL');
    });
    child.once('error', (error) => resolve({ code: -1, stdout, stderr: error.message }));
    child.once('close', (code) => {
      if (rest !== '') onLine?.(rest);
      resolve({ code: code ?? -1, stdout, stderr });
    });
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
