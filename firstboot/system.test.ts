import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { isMachineId } from './steps/machine-id.ts';
import { deviceSystem } from './system.ts';

test('a program that ends before it has read its input breaks nothing', async () => {
  const system = deviceSystem(() => undefined);
  const input = 'x'.repeat(1_000_000);
  await Promise.all(Array.from({ length: 20 }, () => system.run('true', [], { input })));
  await expect(system.run('false', [], { input })).rejects.toThrow('false failed');
});

test('a machine-id that systemd has not made, or of zeros, is none', () => {
  for (const bad of [undefined, '', 'uninitialized\n', `${'0'.repeat(32)}\n`, 'abc'])
    expect(isMachineId(bad)).toBe(false);
  expect(isMachineId('e81db6f119ae44528c4e8c299e23f174\n')).toBe(true);
});

test('the program that ships is one file of at most 500 KB that needs no packages', async () => {
  const { build } = await import('esbuild');
  const folder = await mkdtemp(join(tmpdir(), 'pi-gateway-bundle-'));
  const outfile = join(folder, 'bundle.mjs');
  await build({
    entryPoints: [join(import.meta.dirname, 'main.ts')],
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    outfile,
    minify: true,
    banner: { js: "import{createRequire as r}from'node:module';const require=r(import.meta.url);" },
  });
  expect((await readFile(outfile)).length).toBeLessThan(500_000);
  const syntax = await new Promise<number>((resolve) => {
    execFile(process.execPath, ['--check', outfile], (error) => resolve(error ? 1 : 0));
  });
  expect(syntax).toBe(0);
  await rm(folder, { recursive: true });
});
