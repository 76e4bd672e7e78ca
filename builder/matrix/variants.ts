import { BuildError, exitCode } from '../errors.ts';

/** One image of a matrix, as gateway.yaml names it. */
export type Variant = {
  env?: string | undefined;
  name?: string | undefined;
  set?: Record<string, unknown> | undefined;
};

/** What the command line would be for one variant. */
export type VariantLayers = { variant: string; env: string | undefined; sets: string[] };

/**
 * The configuration layers of each variant: its environment, its values, its name. A variant that is
 * given no name anywhere is named `<name>-<variant>`. Pure.
 * @param sets values from the command line, for all.
 */
export function variantLayers(
  matrix: Readonly<Record<string, Variant>>,
  o: { name: string; sets: readonly string[]; namedByEnv: (env: string) => boolean },
): VariantLayers[] {
  return Object.entries(matrix).map(([variant, { env, name, set }]) => {
    const own = Object.entries(set ?? {}).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
    const named = set?.name !== undefined || (env !== undefined && o.namedByEnv(env));
    const given = name ?? (named ? undefined : `${o.name}-${variant}`);
    return {
      variant,
      env,
      sets: [...o.sets, ...own, ...(given === undefined ? [] : [`name=${given}`])],
    };
  });
}

/** @throws BuildError if two variants would write to the same place, or use two caches. */
export function checkVariants(
  variants: readonly { variant: string; name: string; cache: string }[],
): void {
  const byName = new Map<string, string>();
  for (const { variant, name } of variants) {
    const other = byName.get(name);
    if (other !== undefined)
      throw new BuildError({
        what: `The variants '${other}' and '${variant}' both make the image '${name}'`,
        where: 'matrix',
        fix: `Give one of them a name, e.g. matrix.${variant}.name: ${name}-${variant}`,
        code: exitCode.usage,
      });
    byName.set(name, variant);
  }
  const caches = new Set(variants.map((one) => one.cache));
  if (caches.size > 1)
    throw new BuildError({
      what: 'The variants of a matrix share one cache, but these have several',
      where: [...caches].join(', '),
      fix: 'Set paths.cache for all of them alike, or not at all',
      code: exitCode.usage,
    });
}

/** Bytes of memory that one image's steps may need at their peak. */
const memoryOfOne = 1.5e9;

/** Steps that may run side by side on this machine. */
export function slotsFor(cores: number, memory: number): number {
  return Math.max(1, Math.min(cores, Math.floor(memory / memoryOfOne)));
}
