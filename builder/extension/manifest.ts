import { join } from 'node:path';
import {
  apiVersions,
  incompatibility,
  type Manifest,
  manifestSchema,
} from '../../gateway/extensions/manifest.ts';
import { placeIn, schemaProblems } from '../config/load.ts';
import { configErrors, readSource, type Source } from '../config/source.ts';

export const manifestName = 'extension.yaml';

export type ReadManifest = {
  manifest: Manifest;
  /** With the place of each key, for what is found wrong later. */
  source: Source;
};

/**
 * Reads an extension's manifest; undefined if the folder has none.
 * @throws BuildError that holds every mistake, each with its line and column.
 */
export async function readManifest(folder: string): Promise<ReadManifest | undefined> {
  const path = join(folder, manifestName);
  const source = await readSource(path, path);
  if (!source) return undefined;
  // First: of another version it may have keys that this one does not know.
  const { apiVersion, name } = source.value;
  const other = incompatibility(apiVersion);
  if (other !== undefined)
    throw manifestError(source, ['apiVersion'], {
      message: `The extension ${typeof name === 'string' ? name : ''} ${other}`.replace('  ', ' '),
      fix: `Take a release of it for apiVersion ${apiVersions.join(' or ')}, or a Pi Gateway that has its version`,
    });
  const parsed = manifestSchema.safeParse(source.value);
  if (!parsed.success) throw configErrors(schemaProblems(parsed.error, manifestSchema, [source]));
  return { manifest: parsed.data, source };
}

/** A mistake in a manifest, with its place. */
export function manifestError(
  source: Source,
  path: readonly (string | number)[],
  problem: { message: string; fix: string },
) {
  return configErrors([{ ...placeIn([source], path), ...problem }]);
}
