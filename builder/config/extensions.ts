import { readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { isErrno } from '../errors.ts';
import { parseSet, parseSource } from './source.ts';

/**
 * Extensions that the configuration names, by the topmost of its layers that names any. They are needed before it
 * can be checked, since they bring parts of its schema; so what is wrong with it is left for loadConfig to tell. A
 * path (./…) is relative to the folder of gateway.yaml, in `--set extensions=[…]` to the current one.
 */
export function extensionsOf(o: {
  /** The project's folder. */
  root: string;
  /** Another file than gateway.yaml. */
  file?: string | undefined;
  /** Name of a file in environments/. */
  env?: string | undefined;
  sets?: readonly string[] | undefined;
}): string[] {
  const file = o.file === undefined ? join(o.root, 'gateway.yaml') : resolve(o.file);
  try {
    const layers: (readonly [value: unknown, folder: string])[] = [
      [extensionsIn(file), dirname(file)],
      ...(o.env === undefined
        ? []
        : [[extensionsIn(join(o.root, 'environments', `${o.env}.yaml`)), o.root] as const]),
      [extensionsIn(join(o.root, 'gateway.local.yaml')), o.root],
      ...(o.sets ?? [])
        .filter((one) => one.startsWith('extensions='))
        .map((one): [unknown, string] => [parseSet(one).value.extensions, process.cwd()]),
    ];
    const [extensions, folder] = layers.findLast(([value]) => value !== undefined) ?? [[], o.root];
    return Array.isArray(extensions)
      ? extensions
          .filter((name) => typeof name === 'string')
          .map((name) => (name.startsWith('.') ? resolve(folder, name) : name))
      : [];
  } catch {
    return [];
  }
}

function extensionsIn(file: string): unknown {
  try {
    return parseSource(readFileSync(file, 'utf8'), file).value.extensions;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}
