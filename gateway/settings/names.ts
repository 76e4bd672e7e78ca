import type * as z from 'zod';

/** Tells of each name of a list that an earlier entry has already. */
export function requireOwnNames(names: readonly string[], context: z.core.$RefinementCtx): void {
  for (const [index, name] of names.entries())
    if (names.indexOf(name) !== index)
      context.addIssue({
        code: 'custom',
        path: [index, 'name'],
        message: `must differ from the others': '${name}' is there already (without a name it is the type)`,
      });
}
