import * as z from 'zod';
import { nearest } from '../builder/config/nearest.ts';
import type { OwnerYaml, Problem } from './owner-yaml.ts';

/** What a schema says of settings, with places and in words for their owner; no message repeats a value. */
export function schemaProblems(yaml: OwnerYaml, schema: z.ZodType, error: z.ZodError): Problem[] {
  return error.issues.flatMap((issue) => problemsOf(yaml, schema, issue));
}

function problemsOf(yaml: OwnerYaml, schema: z.ZodType, issue: z.core.$ZodIssue): Problem[] {
  const { path } = issue;
  if (issue.code === 'unrecognized_keys') {
    const valid = keysAt(schema, path, yaml.data);
    return issue.keys.map((key) => ({
      offset: yaml.locate([...path, key], 'key'),
      message: unknownKey([...path, key], valid),
    }));
  }
  const message = yaml.isEmpty(path) ? 'is empty: write a value or remove the line' : words(issue);
  return [{ offset: yaml.locate(path), message: `${path.join('.')}: ${message}` }];
}

/** A key that does not look like one may be a value that lost its key, and so a secret. */
function unknownKey(path: readonly PropertyKey[], valid: readonly string[]): string {
  const key = String(path.at(-1));
  if (!/^[A-Za-z][A-Za-z_-]{0,31}$/.test(key))
    return `is no setting; ${valid.length > 0 ? `there are ${valid.join(', ')}` : 'there is none'}`;
  const meant = nearest(key.toLowerCase().replaceAll('-', '_'), valid);
  const hint = meant ? `Did you mean '${meant}'?` : `There are: ${valid.join(', ')}`;
  return `${path.join('.')}: is no setting. ${hint}`;
}

/** zod's own messages speak of types; these of what to write. */
function words(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_union') {
    // The schema's own words, where it has some.
    if (issue.message !== 'Invalid input') return issue.message;
    const text = issue.errors.flat().find((inner) => inner.code !== 'invalid_value');
    return text && text.code !== 'invalid_type' ? text.message : 'must be a name, or false';
  }
  if (issue.code !== 'invalid_type') return issue.message;
  if (issue.input === undefined && issue.message.endsWith('undefined')) return 'is missing';
  if (issue.expected === 'string') return "must be text; put it in quotes, e.g. '1234'";
  if (issue.expected === 'boolean') return 'must be true or false';
  if (issue.expected === 'array') return 'must be a list: each entry on its own line after "- "';
  if (issue.expected === 'object') return 'must have its settings below it, indented by two spaces';
  return issue.message;
}

/** Keys that a mapping of the settings may have; `data` tells which kind of several it is. */
function keysAt(schema: z.ZodType, path: readonly PropertyKey[], data: unknown): string[] {
  let at: unknown = schema;
  let value = data;
  for (const key of path) {
    at = bare(at);
    if (at instanceof z.ZodArray) at = at.element;
    else if (at instanceof z.ZodRecord) at = at.valueType;
    else at = shapeOf(at)?.[String(key)];
    value = (value as Record<PropertyKey, unknown> | undefined)?.[key];
    at = bare(at);
    if (at instanceof z.ZodDiscriminatedUnion) at = kindOf(at, value);
    if (!at) return [];
  }
  return Object.keys(shapeOf(bare(at)) ?? {});
}

/** Without what says only whether a value must be there. */
function bare(schema: unknown): unknown {
  let at = schema;
  while (
    at instanceof z.ZodOptional ||
    at instanceof z.ZodPrefault ||
    at instanceof z.ZodDefault ||
    at instanceof z.ZodNullable
  )
    at = at.unwrap();
  return at;
}

function kindOf(union: z.ZodDiscriminatedUnion, value: unknown): unknown {
  const name = union.def.discriminator;
  const wanted = (value as Record<string, unknown> | undefined)?.[name];
  return union.options.find((option) => {
    const literal = shapeOf(option)?.[name];
    return literal instanceof z.ZodLiteral && literal.value === wanted;
  });
}

function shapeOf(schema: unknown): Record<string, unknown> | undefined {
  return schema instanceof z.ZodObject ? schema.shape : undefined;
}
