import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import { parseSettings } from '../../firstboot/settings.ts';
import { providers } from './providers/all.ts';
import { parseDdnsSettings } from './service.ts';
import { withoutDefaults } from './settings.ts';

const text = await readFile(join(import.meta.dirname, '../../docs/ddns.md'), 'utf8');
const examples = [...text.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, yaml = '']) => yaml);

test.each(examples)(
  'example %# of docs/ddns.md is right, on the boot partition and afterwards',
  (yaml) => {
    const { ddns } = parseSettings(yaml);
    if (!ddns) throw new Error('no ddns section');
    expect(parseDdnsSettings(stringify(withoutDefaults(ddns)))).toEqual(ddns);
  },
);

test('every provider has an example', () => {
  const shown = examples.flatMap((yaml) => parseSettings(yaml).ddns?.providers ?? []);
  expect(new Set(shown.map(({ type }) => type))).toEqual(new Set(Object.keys(providers)));
});
