import type * as z from 'zod';

/** Marks a setting that no answer, log, diff or support bundle may show. */
export function secret<S extends z.ZodType>(schema: S): S {
  return schema.meta({ secret: true, writeOnly: true });
}
