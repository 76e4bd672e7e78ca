import { chown, readdir } from 'node:fs/promises';
import { basename, join, relative, resolve } from 'node:path';
import { type Artifacts, nextSteps } from './artifact/artifacts.ts';
import { type BuildRequest, build } from './build.ts';
import { exitCode, isErrno } from './errors.ts';
import { readState } from './state.ts';
import { megabytes, presentError, table, wantsColor } from './ui/present.ts';
import { Progress } from './ui/progress.ts';

/** Progress on stderr, with the times of the image's last build. */
export async function plainProgress(cache: string, name: string): Promise<Progress> {
  const stream = process.stderr;
  const { seconds } = await readState(cache, name);
  return new Progress({
    stream,
    live: stream.isTTY === true && !process.env.CI && process.env.TERM !== 'dumb',
    color: wantsColor(stream),
    expected: seconds,
  });
}

/** Ends with the right code and a word on what stays. */
export function endOnSignals(): void {
  // The kernel takes mounts and processes down with this namespace; only the half-written image
  // and the registration at the kernel are left to take back, and the next build does both.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => {
      process.stderr.write(
        '\nInterrupted. Finished layers are kept; the next build goes on from them.\n',
      );
      process.exit(exitCode.interrupted);
    });
}

/** The build command inside its namespace: progress on stderr, the result on stdout. */
export async function runBuild(
  o: Omit<BuildRequest, 'progress'> & { json: boolean },
): Promise<void> {
  const progress = await plainProgress(resolve(o.root, o.config.paths.cache), o.config.name);
  endOnSignals();
  try {
    const result = await build({ ...o, progress });
    await giveToCaller(o.root, o.config.paths.output);
    if (o.json) {
      process.stdout.write(
        `${JSON.stringify({ image: result.image, base: result.base.description, base_digest: result.base.digest, raw_seconds: result.rawSeconds, seconds: result.seconds, steps: progress.timings, artifacts: result.artifacts?.files ?? [] }, null, 2)}\n`,
      );
      return;
    }
    process.stdout.write(`\n${report(o.root, progress, result)}\n`);
  } catch (error) {
    process.exitCode = presentError(error, { json: o.json });
  }
}

function report(
  root: string,
  progress: Progress,
  result: { artifacts: Artifacts | undefined; image: string; rawSeconds: number; seconds: number },
): string {
  const steps = progress.timings.map(({ step, seconds, cached }) => [
    step,
    cached ? 'cached' : `${seconds.toFixed(1)} s`,
  ]);
  const files = (result.artifacts?.files ?? []).map(({ file, size }) => [
    relative(root, join(result.artifacts?.directory ?? '', file)),
    megabytes(size),
  ]);
  return [
    table([
      ...steps,
      ['raw image after', `${result.rawSeconds.toFixed(1)} s`],
      ['total', `${result.seconds.toFixed(1)} s`],
    ]),
    '',
    files.length > 0 ? table(files) : relative(root, result.image),
    ...(result.artifacts
      ? ['', ...nextSteps(basename(result.image, '.img'), result.artifacts.released)]
      : []),
  ].join('\n');
}

/** Built by root through sudo, the results are the caller's. */
export async function giveToCaller(root: string, path: string): Promise<void> {
  const directory = resolve(root, path);
  const [uid, gid] = [Number(process.env.SUDO_UID), Number(process.env.SUDO_GID)];
  if (!uid || !gid) return;
  // A single file has nothing in it.
  const names = await readdir(directory, { recursive: true }).catch((error) => {
    if (isErrno(error, 'ENOTDIR')) return [];
    throw error;
  });
  for (const name of ['', ...names]) await chown(join(directory, name), uid, gid);
}
