import { z } from 'zod';
import { settingsSchema } from '../../firstboot/settings.ts';

/** A setting's place: keys, and numbers for the items of a list, from 0. */
export type Path = readonly (string | number)[];

/** The parts of JSON Schema (2020-12) that tell which kinds of values a setting takes. */
export type SettingSchema = {
  type?: string;
  const?: unknown;
  properties?: Record<string, SettingSchema>;
  items?: SettingSchema;
  anyOf?: SettingSchema[];
  oneOf?: SettingSchema[];
};

export const allSettings = z.toJSONSchema(settingsSchema, {
  io: 'input',
  unrepresentable: 'any',
}) as SettingSchema;

function alternatives(schema: SettingSchema): SettingSchema[] {
  const inner = [...(schema.anyOf ?? []), ...(schema.oneOf ?? [])];
  return inner.length === 0 ? [schema] : inner.flatMap(alternatives);
}

/** True for a setting that is checked elsewhere. */
function takesAnything(schema: SettingSchema): boolean {
  return schema.type === undefined && schema.const === undefined;
}

/** What the settings take at a path: several kinds for a union, none if there is no such setting. */
export function settingAt(path: Path): SettingSchema[] {
  return schemasAt(allSettings, path);
}

function schemasAt(schema: SettingSchema, path: Path): SettingSchema[] {
  const [key, ...rest] = path;
  return alternatives(schema).flatMap((one) => {
    if (key === undefined || takesAnything(one)) return [one];
    const inner =
      typeof key === 'number'
        ? one.items
        : Object.hasOwn(one.properties ?? {}, key)
          ? one.properties?.[key]
          : undefined;
    return inner === undefined ? [] : schemasAt(inner, rest);
  });
}

/** Dotted paths of all settings below, lists by their first item too. */
export function settingNames(schema: SettingSchema, prefix = ''): string[] {
  return alternatives(schema).flatMap((one) => {
    if (one.type === 'object')
      return Object.entries(one.properties ?? {}).flatMap(([key, inner]) =>
        settingNames(inner, prefix === '' ? key : `${prefix}.${key}`),
      );
    return one.items ? [prefix, ...settingNames(one.items, `${prefix}.0`)] : [prefix];
  });
}

/** A cell is text; what it stands for depends on what the setting takes. */
export function typed(cell: string, schemas: readonly SettingSchema[]): unknown {
  const takes = (type: string) => schemas.some((one) => one.type === type);
  const anything = schemas.some(takesAnything);
  if (cell === 'true' || cell === 'false') {
    const value = cell === 'true';
    const fits = (one: SettingSchema) =>
      one.type === 'boolean' && (one.const === undefined || one.const === value);
    if (anything || schemas.some(fits)) return value;
  }
  if (anything || takes('string')) return cell;
  if (takes('array'))
    return cell
      .split(/[\r\n]+/)
      .map((line) => line.trim())
      .filter((line) => line !== '');
  if ((takes('number') || takes('integer')) && /^\d{1,15}$/.test(cell)) return Number(cell);
  return cell;
}
