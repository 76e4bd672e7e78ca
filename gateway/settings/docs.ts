import * as z from 'zod';
import { settingsSchema } from './schema.ts';

/** docs/settings.md: every key, from the schema that checks them. */

type Row = { key: string; values: string; usual: string; what: string };

/** A schema without its wrappers, with what they say. */
function bare(schema: unknown): { schema: unknown; usual: unknown; what: string; secret: boolean } {
  let at = schema;
  let usual: unknown;
  let what = '';
  let secret = false;
  while (at instanceof z.ZodType) {
    what = what || (at.description ?? '');
    secret ||= at.meta()?.secret === true;
    if (at instanceof z.ZodDefault) usual ??= at.def.defaultValue;
    if (
      at instanceof z.ZodOptional ||
      at instanceof z.ZodPrefault ||
      at instanceof z.ZodDefault ||
      at instanceof z.ZodNullable
    )
      at = at.unwrap();
    else if (at instanceof z.ZodPipe) at = at.in;
    else break;
  }
  return { schema: at, usual, what, secret };
}

function rows(schema: unknown, key: string): Row[] {
  const { schema: kind, usual, what, secret } = bare(schema);
  if (kind instanceof z.ZodObject) {
    const own = what === '' || key === '' ? [] : [{ key, values: '', usual: '', what }];
    return [...own, ...below(kind, key)];
  }
  const row: Row = {
    key,
    values: secret ? `secret ${valuesOf(kind)}`.trimEnd() : valuesOf(kind),
    usual: usual === undefined ? '' : shown(usual),
    what,
  };
  if (kind instanceof z.ZodArray) {
    const { schema: element } = bare(kind.element);
    const deep = element instanceof z.ZodObject || element instanceof z.ZodDiscriminatedUnion;
    return deep ? [row, ...entries(element, `${key}[]`)] : [row];
  }
  if (kind instanceof z.ZodUnion) {
    const objects = kind.options.map((one) => bare(one).schema);
    const deep = objects.filter((one) => one instanceof z.ZodObject);
    return [row, ...deep.flatMap((one) => below(one, key))];
  }
  return [row];
}

const below = (object: z.ZodObject, key: string): Row[] =>
  Object.entries(object.shape).flatMap(([name, one]) =>
    rows(one, key === '' ? name : `${key}.${name}`),
  );

/** What an entry of a list may have; of several kinds each key once, with the kinds that have it. */
function entries(element: unknown, key: string): Row[] {
  if (element instanceof z.ZodObject) return below(element, key);
  if (!(element instanceof z.ZodDiscriminatedUnion)) return [];
  const name = element.def.discriminator;
  const kinds = element.options.flatMap((option) => {
    const { schema } = bare(option);
    return schema instanceof z.ZodObject ? [schema] : [];
  });
  const labels = kinds.map((kind) => valuesOf(bare(kind.shape[name]).schema));
  const found = new Map<string, { row: Row; of: string[] }>();
  for (const [index, kind] of kinds.entries())
    for (const row of below(kind, key)) {
      if (row.key === `${key}.${name}`) continue;
      const id = JSON.stringify(row);
      const there = found.get(id) ?? { row, of: [] };
      there.of.push(labels[index] ?? '');
      found.set(id, there);
    }
  return [
    { key: `${key}.${name}`, values: labels.join(', '), usual: '', what: 'Which kind it is' },
    ...[...found.values()].map(({ row, of }) =>
      of.length === kinds.length ? row : { ...row, what: `(${of.join(', ')}) ${row.what}`.trim() },
    ),
  ];
}

function valuesOf(schema: unknown): string {
  const { schema: kind } = bare(schema);
  if (kind instanceof z.ZodEnum) return kind.options.map((one) => `\`${one}\``).join(', ');
  if (kind instanceof z.ZodLiteral)
    return [...kind.values].map((one) => `\`${one === '' ? "''" : String(one)}\``).join(', ');
  if (kind instanceof z.ZodBoolean) return '`true`, `false`';
  if (kind instanceof z.ZodNumber) {
    const { minValue, maxValue } = kind;
    const isBounded =
      minValue !== null &&
      maxValue !== null &&
      maxValue < Number.MAX_SAFE_INTEGER &&
      minValue > Number.MIN_SAFE_INTEGER;
    return isBounded ? `${minValue} to ${maxValue}` : 'number';
  }
  if (kind instanceof z.ZodArray) {
    const of = valuesOf(kind.element);
    return of === '' || bare(kind.element).schema instanceof z.ZodObject ? 'list' : `list of ${of}`;
  }
  if (kind instanceof z.ZodDiscriminatedUnion) return '';
  if (kind instanceof z.ZodUnion)
    return [...new Set(kind.options.map(valuesOf))].filter((one) => one !== '').join(' or ');
  if (kind instanceof z.ZodString) return 'text';
  return '';
}

function shown(value: unknown): string {
  if (Array.isArray(value))
    return value.length === 0 ? 'none' : value.map((one) => shown(one)).join(', ');
  if (value === null) return '`null`';
  return `\`${typeof value === 'object' ? JSON.stringify(value) : String(value)}\``;
}

const line = (cells: readonly string[]) =>
  `| ${cells.map((one) => one.replaceAll('|', '\\|')).join(' | ')} |`;

/** One table for each top-level key. */
export function settingsTables(): string {
  return Object.entries(settingsSchema.shape)
    .flatMap(([name, schema]) => [
      `### ${name}`,
      '',
      `${bare(schema).what}.`,
      '',
      line(['key', 'values', 'unless set', 'what']),
      line(['---', '---', '---', '---']),
      ...rows(schema, name)
        .filter((one) => one.key !== name)
        .map((one) => line([`\`${one.key}\``, one.values, one.usual, one.what])),
      '',
    ])
    .join('\n')
    .trimEnd();
}
