import { relative } from 'node:path';
import { type BuildRequest, type BuildResult, buildOn } from '../build.ts';
import { endOnSignals, giveToCaller } from '../build-command.ts';
import { exitCode } from '../errors.ts';
import { BuildHost } from '../host.ts';
import { asBuildError, presentError, table, wantsColor } from '../ui/present.ts';
import { Progress } from '../ui/progress.ts';

export type MatrixBuild = Pick<BuildRequest, 'config' | 'stages'> & { variant: string };

export type MatrixRequest = {
  root: string;
  /** Absolute path of the cache that all share. */
  cache: string;
  builds: readonly MatrixBuild[];
  /** Steps that run side by side. */
  slots: number;
  refresh: boolean;
  rawOnly: boolean;
  spaceCheck: boolean;
  lock: BuildRequest['lock'];
  json: boolean;
};

type Outcome = { variant: string; name: string; progress: Progress } & (
  | { result: BuildResult }
  | { error: unknown }
);

/**
 * Builds the variants side by side, each layer that several need once, and prints one summary. A variant
 * that fails does not stop the others; the exit code then is not 0. Needs the private namespace.
 */
export async function runMatrix(o: MatrixRequest): Promise<void> {
  endOnSignals();
  const host = await BuildHost.open({
    cache: o.cache,
    refresh: o.refresh,
    spaceCheck: o.spaceCheck,
    slots: o.slots,
    archiveState: o.lock?.lock.archive.state,
  });
  let outcomes: Outcome[];
  try {
    outcomes = await Promise.all(o.builds.map((build) => runVariant(host, o, build)));
  } finally {
    await host.close();
  }
  for (const folder of new Set(o.builds.map((build) => build.config.paths.output)))
    await giveToCaller(o.root, folder);
  for (const outcome of outcomes)
    if ('error' in outcome) {
      if (!o.json) process.stderr.write(`\n${outcome.variant}:\n`);
      presentError(outcome.error, { json: o.json });
      process.exitCode = exitCode.failed;
    }
  process.stdout.write(
    o.json
      ? `${JSON.stringify(outcomes.map(summaryOf), null, 2)}\n`
      : `\n${summaryText(o.root, outcomes)}\n`,
  );
}

async function runVariant(
  host: BuildHost,
  o: MatrixRequest,
  { variant, config, stages }: MatrixBuild,
): Promise<Outcome> {
  const progress = new Progress({
    stream: process.stderr,
    live: false,
    color: wantsColor(process.stderr),
    label: variant,
  });
  const { root, refresh, rawOnly, spaceCheck, lock } = o;
  const about = { variant, name: config.name, progress };
  try {
    const result = await buildOn(host, {
      root,
      config,
      stages,
      refresh,
      rawOnly,
      spaceCheck,
      lock,
      progress,
    });
    return { ...about, result };
  } catch (error) {
    progress.say(`failed: ${asBuildError(error).message}`);
    return { ...about, error };
  }
}

function summaryOf(outcome: Outcome) {
  const { variant, name, progress } = outcome;
  const steps = progress.timings;
  if ('error' in outcome) {
    const { message: what, where, fix } = asBuildError(outcome.error);
    return { variant, name, done: false, error: { what, where, fix }, steps };
  }
  const { result } = outcome;
  return {
    variant,
    name,
    done: true,
    image: result.image,
    base: result.base.description,
    raw_seconds: result.rawSeconds,
    seconds: result.seconds,
    steps,
    artifacts: result.artifacts?.files ?? [],
  };
}

function summaryText(root: string, outcomes: readonly Outcome[]): string {
  return table([
    ['VARIANT', 'RESULT', 'TIME', 'STEPS RUN', 'IMAGE'],
    ...outcomes.map((outcome) => {
      const { variant, progress } = outcome;
      const ran = String(progress.timings.filter((step) => !step.cached).length);
      if ('error' in outcome) return [variant, 'failed', '', ran, ''];
      const { seconds, image } = outcome.result;
      return [variant, 'done', `${seconds.toFixed(1)} s`, ran, relative(root, image)];
    }),
  ]);
}
