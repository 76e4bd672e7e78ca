import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';

/** Keeps what explains a failed boot test, in output/boot-test/<name>.log. Returns the path. */
export async function keepEvidence(name: string, text: string): Promise<string> {
  const folder = resolve('output/boot-test');
  await mkdir(folder, { recursive: true });
  const path = join(folder, `${name.replaceAll(/\W+/g, '-')}.log`);
  await writeFile(path, text);
  return path;
}
