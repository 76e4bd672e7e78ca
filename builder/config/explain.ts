import type { LoadedConfig } from './load.ts';
import { isRecord, pathKey } from './source.ts';

export type ConfigRow = { key: string; value: string; from: string };

/** Each value of the configuration with the place that it came from. */
export function explainConfig({ config, sources }: LoadedConfig): ConfigRow[] {
  const rows: ConfigRow[] = [];
  const visit = (value: unknown, path: readonly string[]): void => {
    if (isRecord(value) && Object.keys(value).length > 0) {
      for (const key of Object.keys(value)) visit(value[key], [...path, key]);
      return;
    }
    rows.push({ key: path.join('.'), value: JSON.stringify(value), from: origin(path) });
  };
  const origin = (path: readonly string[]): string => {
    for (const source of sources.toReversed()) {
      const position = source.values.get(pathKey(path));
      if (position) return `${source.name}:${position.line}`;
      let at: unknown = source.value;
      for (const key of path) at = isRecord(at) ? at[key] : undefined;
      if (at !== undefined) return source.name;
    }
    return 'default';
  };
  visit(config, []);
  return rows.toSorted((a, b) => (a.key < b.key ? -1 : 1));
}
