import { type ChildProcess, spawn } from 'node:child_process';
import { appendFile } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { execa } from 'execa';
import { BuildError, exitCode, isErrno } from './errors.ts';

export type RunOptions = {
  cwd?: string;
  /** Added to a minimal environment (PATH, HOME, locale C.UTF-8), never the caller's own. */
  env?: Record<string, string>;
  input?: string | Uint8Array;
  /** File that gets the command line and all output appended. */
  log?: string;
  /** Called with each output line as it comes. */
  onLine?: (line: string) => void;
  /** Exit codes that count as success besides 0. */
  okCodes?: readonly number[];
  /** Milliseconds until the command is killed. */
  timeout?: number;
  signal?: AbortSignal;
  /** What the user does when it fails; the end of the output is always shown. */
  fix?: string;
};

export type RunResult = { stdout: string; stderr: string; exitCode: number };

const lastLines = 20;

/** PATH for root's tools: npm prepends node_modules/.bin, which commands of the host don't need. */
export const hostPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * Runs one external command of the host to its end: the only place that does.
 * No shell is involved, so arguments need no quoting.
 * @throws BuildError with the command line and the last lines of its output.
 */
export async function run(
  command: string,
  args: readonly string[] = [],
  options: RunOptions = {},
): Promise<RunResult> {
  const tail: string[] = [];
  const line = [command, ...args].join(' ');
  if (options.log) await appendFile(options.log, `$ ${line}\n`);
  const child = execa(command, args, {
    reject: false,
    extendEnv: false,
    env: {
      PATH: hostPath,
      HOME: process.env.HOME ?? '/root',
      LC_ALL: 'C.UTF-8',
      ...options.env,
    },
    stdin: options.input === undefined ? 'ignore' : 'pipe',
    ...(options.input === undefined ? {} : { input: options.input }),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.timeout === undefined ? {} : { timeout: options.timeout }),
    ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
    maxBuffer: 256 * 1024 * 1024,
    stripFinalNewline: false,
    all: true,
  });
  const watch = (async () => {
    if (!options.log && !options.onLine) return;
    let pending: string[] = [];
    for await (const text of child.iterable({ from: 'all' })) {
      options.onLine?.(text);
      if (options.log) {
        pending.push(text);
        if (pending.length >= 50) {
          await appendFile(options.log, `${pending.join('\n')}\n`);
          pending = [];
        }
      }
    }
    if (options.log && pending.length) await appendFile(options.log, `${pending.join('\n')}\n`);
  })();
  const [result] = await Promise.all([child, watch]);
  for (const text of result.all.split('\n')) if (text.trim()) tail.push(text);
  const code = result.exitCode ?? -1;
  if (code !== 0 && !options.okCodes?.includes(code)) {
    const missing = result.code === 'ENOENT';
    throw new BuildError({
      what: missing
        ? `The command '${command}' is not installed`
        : result.timedOut
          ? `'${command}' did not finish within ${(options.timeout ?? 0) / 1000} s`
          : result.signal
            ? `'${command}' was ended by ${result.signal}`
            : `'${command}' failed with exit code ${code}`,
      where: line.length > 400 ? `${line.slice(0, 400)} …` : line,
      detail: tail.slice(-lastLines).join('\n'),
      fix: options.fix ?? (missing ? 'Run: npm run doctor' : undefined),
      code: missing ? exitCode.host : exitCode.failed,
      cause: result,
    });
  }
  return { stdout: result.stdout, stderr: result.stderr, exitCode: code };
}

/** Like {@link run}, for commands whose output is the answer. */
export async function output(
  command: string,
  args: readonly string[] = [],
  options: RunOptions = {},
): Promise<string> {
  return (await run(command, args, options)).stdout;
}

/** How commands run whose input or output is bytes, too many to hold. */
const ofBytes = {
  reject: false,
  extendEnv: false,
  env: { PATH: hostPath, LC_ALL: 'C.UTF-8' },
  encoding: 'buffer',
  maxBuffer: 1024 * 1024,
} as const;

/**
 * Runs `from | to` (command lines without a shell). The bytes go from one to the other, not through this process.
 * @throws BuildError with both exit codes and what they printed, if either fails.
 */
export async function runPipe(
  from: readonly string[],
  to: readonly string[],
  options: Pick<RunOptions, 'env' | 'fix'> = {},
): Promise<void> {
  const env = { ...ofBytes.env, ...options.env };
  const source = spawn(from[0] ?? '', from.slice(1), { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const sink = spawn(to[0] ?? '', to.slice(1), { env, stdio: [source.stdout, 'ignore', 'pipe'] });
  // Ours would keep the source from hearing that the sink has ended.
  source.stdout.destroy();
  const [first, second] = await Promise.all([endOf(source), endOf(sink)]);
  if (first.code === 0 && second.code === 0) return;
  throw new BuildError({
    what: `'${from[0]} | ${to[0]}' failed with exit codes ${first.code} and ${second.code}`,
    where: [...from, '|', ...to].join(' '),
    detail: [first.text, second.text].filter(Boolean).join('\n'),
    fix: options.fix,
  });
}

/** Exit code (-1: it did not start, or a signal ended it) and what it said. */
async function endOf(child: ChildProcess): Promise<{ code: number; text: string }> {
  const said: Buffer[] = [];
  child.stderr?.on('data', (data: Buffer) => said.push(data));
  return await new Promise((resolve) => {
    const end = (code: number | null, more = '') =>
      resolve({ code: code ?? -1, text: `${Buffer.concat(said)}${more}`.trim() });
    child.once('error', (error) => end(-1, error.message));
    child.once('close', (code) => end(code));
  });
}

/**
 * Runs a command whose output is too large to hold: `use` reads its bytes as they come.
 * `stdin` is a file that the command reads. When `use` throws, the command is ended.
 * @throws what `use` threw, or a BuildError with the end of the command's messages. So `use` may
 *   have read an incomplete output: only once this returns is it whole.
 */
export async function runStream(
  command: string,
  args: readonly string[],
  use: (bytes: AsyncIterable<Uint8Array>) => Promise<void>,
  options: { stdin: string; signal?: AbortSignal | undefined; fix?: string },
): Promise<void> {
  const child = execa(command, args, {
    ...ofBytes,
    inputFile: options.stdin,
    buffer: { stdout: false },
    ...(options.signal ? { cancelSignal: options.signal } : {}),
  });
  let failure: { error: unknown } | undefined;
  try {
    await use(child.stdout);
  } catch (error) {
    failure = { error };
    child.kill();
    child.stdout.destroy(); // unread bytes would keep it open
  }
  const result = await child;
  options.signal?.throwIfAborted();
  if (failure) throw failure.error;
  if (result.exitCode === 0) return;
  throw ended(command, result, `${[command, ...args].join(' ')} < ${options.stdin}`, options.fix);
}

/**
 * Runs a command that reads `bytes` as its standard input. When they end in an error, so does the command.
 * @throws what `bytes` threw, or a BuildError with the end of the command's messages.
 */
export async function runSink(
  command: string,
  args: readonly string[],
  bytes: AsyncIterable<Uint8Array>,
): Promise<void> {
  const child = execa(command, args, {
    ...ofBytes,
    stdin: 'pipe',
    stdout: 'ignore',
  });
  const feeding = pipeline(bytes, child.stdin).catch((error: unknown) => {
    // A command that stops reading says itself why.
    if (isErrno(error, 'EPIPE')) return undefined;
    child.kill();
    return { error };
  });
  const [result, failure] = await Promise.all([child, feeding]);
  if (failure) throw failure.error;
  if (result.exitCode === 0) return;
  throw ended(command, result, [command, ...args].join(' '));
}

/** What a command whose output is bytes ended in. */
function ended(
  command: string,
  result: {
    code?: string | undefined;
    signal?: string | undefined;
    exitCode?: number | undefined;
    stderr: Uint8Array;
  },
  where: string,
  fix?: string,
): BuildError {
  const missing = result.code === 'ENOENT';
  return new BuildError({
    what: missing
      ? `The command '${command}' is not installed`
      : `'${command}' failed with ${result.signal ?? `exit code ${result.exitCode ?? -1}`}`,
    where,
    detail: Buffer.from(result.stderr).toString().trim(),
    fix: missing ? 'Run: npm run doctor' : fix,
    code: missing ? exitCode.host : exitCode.failed,
    cause: result,
  });
}
