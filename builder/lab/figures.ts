import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';

/** Adds what a test has measured to output/lab/figures.json. */
export async function recordFigure(name: string, value: unknown): Promise<void> {
  const path = resolve('output/lab/figures.json');
  await mkdir(resolve('output/lab'), { recursive: true });
  const text = await readFile(path, 'utf8').catch(() => '{}');
  const figures = { ...(JSON.parse(text) as Record<string, unknown>), [name]: value };
  await writeFile(path, `${JSON.stringify(figures, null, 2)}\n`);
}
