import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { project } from '../builder/testing/build.ts';
import { docs } from './docs.ts';

test('the generated parts of docs are those of the code (else: node ci/docs.ts)', async () => {
  for (const [path, text] of Object.entries(await docs()))
    expect(await readFile(join(project, path), 'utf8'), path).toBe(text);
});
