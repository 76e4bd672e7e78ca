import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Bundles } from './bundles.ts';

let folder: string;
let entry: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-bundles-'));
  entry = join(folder, 'src/main.ts');
  await mkdir(join(folder, 'src'));
  await writeFile(entry, "import { name } from './name.ts';\nconsole.log(name);\n");
  await writeFile(join(folder, 'src/name.ts'), "export const name: string = 'first';\n");
  await sleep(1100); // what was changed a moment ago is not kept
});

afterAll(() => rm(folder, { recursive: true }));

const bundle = (o: { minify?: boolean } = {}) =>
  new Bundles(join(folder, 'cache')).build({ entryPoints: [entry], bundle: true, ...o });
const kept = async () =>
  (await readdir(join(folder, 'cache'))).filter((name) => name.endsWith('.json'));

test('what esbuild made is kept while no file that went in has changed', async () => {
  const first = await bundle();
  expect(first).toContain('first');
  const [name = ''] = await kept();
  // Another content under the same marks would be handed out: so it is the kept one that comes.
  const path = join(folder, 'cache', name);
  const { default: stored } = await import(path, { with: { type: 'json' } });
  expect(stored.content).toBe(first);
  expect(Object.keys(stored.files)).toContain(join(folder, 'src/name.ts'));
  expect(await bundle()).toBe(first);
});

test('a change of any file of it counts, also one that keeps its size and date', async () => {
  const file = join(folder, 'src/name.ts');
  const date = new Date(2020, 1);
  await utimes(file, date, date);
  await sleep(1100);
  await bundle();
  await writeFile(file, "export const name: string = 'other';\n");
  await utimes(file, date, date);
  expect(await bundle()).toContain('other');
});

test('other options make another bundle, and a tsconfig.json that appears counts', async () => {
  await sleep(1100);
  const plain = await bundle();
  expect(await bundle({ minify: true })).not.toBe(plain);
  expect(await kept()).toHaveLength(2);
  await writeFile(join(folder, 'tsconfig.json'), '{"compilerOptions":{"alwaysStrict":true}}');
  expect(await bundle()).not.toBe(plain);
});

test('an entry that is not whole is made again', async () => {
  for (const name of await kept()) await writeFile(join(folder, 'cache', name), '{"digest":"x"');
  expect(await bundle()).toContain('other');
});
