import { resolve } from 'node:path';
import { endOnSignals, plainProgress } from '../build-command.ts';
import { exitCode } from '../errors.ts';
import { explanationText } from '../inspect/explain.ts';
import { type Rebuild, rebuild } from './rebuild.ts';

/** The command `verify --rebuild` inside its namespace; exit code 0 if the image is proved. */
export async function runRebuild(
  o: Omit<Parameters<typeof rebuild>[0], 'progress'> & { json: boolean },
): Promise<void> {
  endOnSignals();
  const result = await rebuild({
    ...o,
    progress: await plainProgress(resolve(o.projectCache), 'verify'),
  });
  process.stdout.write(
    o.json ? `${JSON.stringify(result, null, 2)}\n` : `${rebuildText(result)}\n`,
  );
  if (!result.same) process.exitCode = exitCode.failed;
}

/** What the rebuild has shown, for people. */
export function rebuildText(result: Rebuild): string {
  const from = result.fromNothing
    ? 'from nothing, in an empty cache'
    : 'on layers of the given cache, which are believed';
  const kept = result.kept === undefined ? [] : [`The rebuilt image: ${result.kept}`];
  if (result.same)
    return [
      `Proved: built again ${from}, the raw image is the same, byte for byte.`,
      `sha256 ${result.rebuilt}`,
      ...kept,
    ].join('\n');
  return [
    `Not proved: built again ${from}, the raw image is another.`,
    `  manifest: ${result.expected}`,
    `  rebuilt:  ${result.rebuilt}`,
    ...(result.otherLayers.length > 0
      ? [
          `These steps are of other files, packages or code here than there: ${result.otherLayers.join(', ')}.`,
          'Is this the revision of the project that the image was made from?',
        ]
      : []),
    ...(result.differences === undefined
      ? ['Give the image itself to see what differs.']
      : ['', explanationText(result.differences)]),
    ...kept,
  ].join('\n');
}
