import * as z from 'zod';
import { settingsSchema } from './schema.ts';

export type Path = readonly (string | number)[];

export const isPlainObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * Paths of the secrets that settings have, by the marks of the schema. What the schema does not know may be
 * a secret whose key is misspelled, and counts as one.
 */
export function secretPaths(data: unknown): Path[] {
  const found: Path[] = [];
  walk([settingsSchema], data, [], found);
  return found;
}

function walk(schemas: readonly unknown[], data: unknown, path: Path, found: Path[]): void {
  if (data === undefined || data === null) return;
  const options = schemas.flatMap(kindsOf);
  if (options.some(isSecret)) {
    found.push(path);
    return;
  }
  if (Array.isArray(data)) {
    const elements = options.flatMap((one) => (one instanceof z.ZodArray ? [one.element] : []));
    for (const [index, value] of data.entries()) walk(elements, value, [...path, index], found);
  } else if (isPlainObject(data)) {
    for (const [key, value] of Object.entries(data)) {
      const below = options.flatMap((one) => {
        if (one instanceof z.ZodRecord) return [one.valueType];
        return one instanceof z.ZodObject && Object.hasOwn(one.shape, key) ? [one.shape[key]] : [];
      });
      walk(below, value, [...path, key], found);
    }
  } else if (options.every(isContainer)) found.push(path);
}

const isContainer = (schema: z.ZodType) =>
  schema instanceof z.ZodObject || schema instanceof z.ZodArray || schema instanceof z.ZodRecord;

const isSecret = (schema: z.ZodType) => schema.meta()?.secret === true;

/** The kinds of value that a schema takes, without what says only whether there must be one. */
function kindsOf(schema: unknown): z.ZodType[] {
  if (!(schema instanceof z.ZodType)) return [];
  if (isSecret(schema)) return [schema];
  if (
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodNullable
  )
    return kindsOf(schema.unwrap());
  if (schema instanceof z.ZodPipe) return [...kindsOf(schema.in), ...kindsOf(schema.out)];
  if (schema instanceof z.ZodUnion) return schema.options.flatMap(kindsOf);
  return [schema];
}

/** Keys under which the schema has secrets somewhere: `password`, `token`. */
export function secretKeys(): string[] {
  const names = new Set<string>();
  const visit = (schema: unknown, name: string): void => {
    for (const kind of kindsOf(schema)) {
      if (isSecret(kind)) names.add(name);
      else if (kind instanceof z.ZodArray) visit(kind.element, name);
      else if (kind instanceof z.ZodRecord) visit(kind.valueType, name);
      else if (kind instanceof z.ZodObject)
        for (const [key, one] of Object.entries(kind.shape)) visit(one, key);
    }
  };
  visit(settingsSchema, '');
  return [...names];
}
