import { readdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { StageDefinition } from '../stages/define.ts';
import { BuildError, exitCode, isErrno, messageOf } from './errors.ts';
import { type Extension, loadExtension } from './extension/extension.ts';
import { manifestName } from './extension/manifest.ts';
import { registerExtensionModules } from './extension/modules.ts';

/** A stage and where its files lie. */
export type LoadedStage = {
  definition: StageDefinition;
  /** Its stage.ts. */
  module: string;
  /** Its overlay tree; may not exist. */
  overlay: string;
  /** What it is of, if it has a manifest. */
  extension?: Extension;
};

/**
 * Loads stages/<name>/stage.ts of the project and every extension. An extension is a folder (or npm package)
 * that has a manifest, a stage.ts or both, with its overlay/ beside them.
 * @throws BuildError for a module that does not load, exports no stage or reuses a name.
 */
export async function loadStages(
  root: string,
  extensions: readonly string[] = [],
): Promise<LoadedStage[]> {
  const names = await readdir(join(root, 'stages'), { withFileTypes: true }).catch((error) => {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  });
  const own = names
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort()
    .map((name) => ({
      module: join(root, 'stages', name, 'stage.ts'),
      overlay: join(root, 'overlays', name),
    }));
  if (extensions.length > 0) registerExtensionModules();
  const foreign = extensions.map((name) => {
    const folder = extensionFolder(root, name);
    return { folder, module: join(folder, 'stage.ts'), overlay: join(folder, 'overlay') };
  });
  const loaded: LoadedStage[] = [];
  for (const { module, overlay, ...rest } of [...own, ...foreign]) {
    const found =
      'folder' in rest ? await loadExtension(rest.folder as string, loadDefinition) : undefined;
    const definition = found?.definition ?? (await loadDefinition(module));
    const place = { module, overlay, ...(found ? { extension: found.extension } : {}) };
    const twin = loaded.find((stage) => stage.definition.name === definition.name);
    if (twin)
      throw new BuildError({
        what: `Two stages are named '${definition.name}'`,
        where: `${twin.module} and ${place.module}`,
        fix: 'Give one of them another name',
        code: exitCode.usage,
      });
    loaded.push({ definition, ...place });
  }
  return loaded;
}

function extensionFolder(root: string, name: string): string {
  if (name.startsWith('.') || isAbsolute(name)) return resolve(root, name);
  const { resolve: find } = createRequire(join(root, 'package.json'));
  for (const file of [manifestName, 'stage.ts'])
    try {
      return dirname(find(`${name}/${file}`));
    } catch {
      // The next, or told below.
    }
  throw new BuildError({
    what: `The extension '${name}' is neither a path (./…) nor an installed package with a ${manifestName} or stage.ts`,
    where: 'extensions in gateway.yaml',
    fix: `npm install ${name}, or write its path`,
    code: exitCode.usage,
  });
}

async function loadDefinition(module: string): Promise<StageDefinition> {
  let exports: Record<string, unknown>;
  try {
    exports = (await import(pathToFileURL(module).href)) as Record<string, unknown>;
  } catch (cause) {
    throw new BuildError({
      what: `The stage does not load: ${messageOf(cause)}`,
      where: module,
      fix: 'A stage folder needs a stage.ts that exports defineStage({...}), see docs/stages.md; an extension an extension.yaml, see docs/extensions.md',
      code: exitCode.usage,
      cause,
    });
  }
  const found = Object.values(exports).find(isStage);
  if (!found)
    throw new BuildError({
      what: 'No stage is exported',
      where: module,
      fix: 'Export one: export const hello = defineStage({ name, summary, options })',
      code: exitCode.usage,
    });
  return found;
}

function isStage(value: unknown): value is StageDefinition {
  return typeof value === 'object' && value !== null && 'name' in value && 'options' in value;
}
