import { readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseSet, parseSource } from './source.ts';

/**
 * Extensions that the configuration names. They are needed before it can be checked, since they bring
 * parts of its schema; so what is wrong with it is left for loadConfig to tell. A path (./…) is
 * relative to the folder of the file that names it; `--set extensions=[…]` stands above the file.
 */
export function extensionsOf(o: {
  /** The project's folder. */
  root: string;
  /** Another file than gateway.yaml. */
  file?: string | undefined;
  sets?: readonly string[] | undefined;
}): string[] {
  const file = o.file === undefined ? join(o.root, 'gateway.yaml') : resolve(o.file);
  try {
    const set = (o.sets ?? []).findLast((one) => one.startsWith('extensions='));
    const [{ extensions }, folder] =
      set === undefined
        ? [parseSource(readFileSync(file, 'utf8'), 'gateway.yaml').value, dirname(file)]
        : [parseSet(set).value, process.cwd()];
    return Array.isArray(extensions)
      ? extensions
          .filter((name) => typeof name === 'string')
          .map((name) => (name.startsWith('.') ? resolve(folder, name) : name))
      : [];
  } catch {
    return [];
  }
}
