import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { bound, compareRuns, ratiosOf } from './performance.ts';

test('a measure beyond the bound of its median before is a regression; one run that was slow is not history', () => {
  const history = [{ cold: 0.4 }, { cold: 4 }, { cold: 0.4 }];
  const regressed = (cold: number) => compareRuns({ cold }, history)[0]?.regressed;
  expect(regressed(0.4 * bound)).toBe(false);
  expect(regressed(0.4 * bound + 0.01)).toBe(true);
});

test('a measure that is gone is a regression, a new one is not', () => {
  expect(compareRuns({ warm: 1 }, [{ cold: 0.4 }])).toEqual([
    { measure: 'cold', before: 0.4, now: undefined, regressed: true },
    { measure: 'warm', before: undefined, now: 1, regressed: false },
  ]);
});

test('ratios are found wherever a benchmark has them', () => {
  expect(
    ratiosOf({ date: 'x', cold: { seconds: 3, ratio: 0.4 }, xz: [{ ratio: 0.5, ratios: [1] }] }),
  ).toEqual({ cold: 0.4, 'xz.0': 0.5 });
});

test('the command tells the measures, and fails for a regression or where there is nothing to compare', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'pi-gateway-benchmarks-'));
  const compare = () =>
    execa(process.execPath, [join(import.meta.dirname, 'performance.ts'), folder], {
      reject: false,
    });
  try {
    expect(await compare()).toMatchObject({ exitCode: 2 });
    await writeFile(join(folder, '2026-12-01.json'), '{"cold":{"ratio":0.4}}');
    expect(await compare()).toMatchObject({ exitCode: 0 });
    await writeFile(join(folder, '2026-12-02.json'), '{"cold":{"ratio":0.9}}');
    const { exitCode, stdout } = await compare();
    expect(exitCode).toBe(1);
    expect(stdout).toMatch(/cold +0.400 +0.900 +REGRESSED/);
  } finally {
    await rm(folder, { recursive: true });
  }
});
