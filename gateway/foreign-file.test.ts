import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readForeign, readForeignJson } from './foreign-file.ts';
import { healthChecks } from './settings/health.ts';
import { readingFile } from './settings/reading.ts';

/** A key as /etc/wireguard/server.key has it: one line, nothing else. */
const secret = 'aGVsbG8gdGhpcyBpcyBhIGtleSBvZiByb290IGFsb25lISE=';

let folder: string;
let path: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-foreign-'));
  path = join(folder, 'status.json');
  await writeFile(join(folder, 'key'), `${secret}\n`);
});
afterEach(() => rm(folder, { recursive: true }));

describe('of another user', () => {
  test('a file is read', async () => {
    await writeFile(path, '{"a":1}');
    expect(await readForeignJson(path)).toEqual({ a: 1 });
  });

  test.each<[string, () => Promise<unknown>]>([
    ['nothing', async () => undefined],
    ["a link to what is root's alone", () => symlink(join(folder, 'key'), path)],
    ['a pipe that never ends', () => promisify(execFile)('mkfifo', [path])],
    ['a folder', () => mkdir(path)],
    ['a file without end', () => symlink('/dev/zero', path)],
    ['more than anybody needs', () => writeFile(path, 'x'.repeat(300_000))],
  ])('%s is not', async (_, put) => {
    await put();
    expect(await readForeign(path)).toBeUndefined();
  });

  test('what is no JSON is not quoted', async () => {
    await writeFile(path, secret);
    expect(await readForeignJson(path)).toBeUndefined();
  });
});

test('a link in place of what the daemon says it has read tells nobody what it leads to', async () => {
  const link = join(folder, readingFile);
  await mkdir(join(link, '..'), { recursive: true });
  await symlink(join(folder, 'key'), link);
  const checks = await healthChecks({
    root: folder,
    boot: '/boot',
    say: () => undefined,
    run: async () => '',
  });
  expect(checks.find(({ id }) => id === 'settings:read')).toEqual({
    id: 'settings:read',
    ok: false,
    detail: 'the daemon has not read the settings',
  });
});
