import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';
import { transformSync } from 'esbuild';

/** What a stage.ts outside this repository may import without having it installed. */
const ours: readonly string[] = ['pi-gateway-image/stage', 'zod'];

let registered = false;

/**
 * Lets stage.ts of extensions, wherever they lie, import the type of a stage and zod from here: schemas of two
 * copies of zod cannot be put together. And node strips no types below node_modules, where npm puts packages.
 */
export function registerExtensionModules(): void {
  if (registered) return;
  registered = true;
  registerHooks({
    resolve: (specifier, context, next) =>
      ours.includes(specifier)
        ? next(specifier, { ...context, parentURL: import.meta.url })
        : next(specifier, context),
    load: (url, context, next) => {
      if (!url.startsWith('file:') || !/\/node_modules\/.*\.ts$/.test(url))
        return next(url, context);
      const path = fileURLToPath(url);
      const { code } = transformSync(readFileSync(path, 'utf8'), {
        loader: 'ts',
        format: 'esm',
        sourcefile: path,
      });
      return { format: 'module', source: code, shortCircuit: true };
    },
  });
}
