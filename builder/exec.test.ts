import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runPipe } from './exec.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-exec-'));
});
afterAll(() => rm(folder, { recursive: true }));

const shell = (script: string, ...args: string[]) => ['sh', '-c', script, 'sh', ...args];

test('every byte of the first command reaches the second', async () => {
  const target = join(folder, 'bytes');
  await runPipe(
    shell(
      'i=0; while [ $i -lt 20 ]; do head -c 1000003 /dev/zero | tr "\\0" "$i"; i=$((i+1)); done',
    ),
    shell('cat > "$1"', target),
  );
  const bytes = await readFile(target);
  expect(bytes.length).toBe(20 * 1000003);
  const expected = createHash('sha256');
  for (let i = 0; i < 20; i++) expected.update(Buffer.alloc(1000003, String(i)[0]));
  expect(createHash('sha256').update(bytes).digest('hex')).toBe(expected.digest('hex'));
});

test('it fails if either does, and tells what both said', async () => {
  await expect(
    runPipe(shell('echo half; echo no more >&2; exit 3'), shell('cat > /dev/null')),
  ).rejects.toMatchObject({
    message: "'sh | sh' failed with exit codes 3 and 0",
    detail: 'no more',
  });
  // The first hears that nobody reads, instead of waiting for ever.
  await expect(runPipe(shell('exec yes'), shell('echo full >&2; exit 1'))).rejects.toMatchObject({
    message: expect.stringMatching(/exit codes \S+ and 1$/),
    detail: expect.stringContaining('full'),
  });
  await expect(runPipe(['no-such-command'], shell('cat'))).rejects.toThrow(/exit codes -1 and/);
});
