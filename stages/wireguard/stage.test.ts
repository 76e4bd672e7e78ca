import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { project } from '../../builder/testing/build.ts';
import { renderStage } from '../testing.ts';
import { wireguard } from './stage.ts';

test('the image holds no key', async () => {
  for (const entry of (await renderStage(wireguard)).entries)
    if ('content' in entry)
      expect(entry.content.toString()).not.toMatch(/^(PrivateKey|PresharedKey)\s*=/m);
});

test('a port that SSH has, and a network without room for clients, are refused', () => {
  const check = (options: object, port = 22) =>
    wireguard.validate?.(wireguard.options.parse(options), {
      name: 'x',
      stages: { ssh: { port } },
      ports: [],
    });
  expect(check({})).toEqual([]);
  expect(check({ port: 2222 }, 2222)).toMatchObject([{ path: ['port'] }]);
  expect(check({ network4: '10.0.0.0/31' })).toMatchObject([{ path: ['network4'] }]);
});

describe("the server's key on the device", () => {
  let folder = '';
  // The script with its folder and a stand-in for wg(8) that knows a whole key by its length.
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'pi-gateway-wg-'));
    const source = await readFile(
      join(project, 'overlays/wireguard/usr/lib/pi-gateway/wireguard-key'),
      'utf8',
    );
    await writeFile(join(folder, 'make-key'), source.replace('cd /etc/wireguard', `cd ${folder}`));
    await writeFile(
      join(folder, 'wg'),
      // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell's, not ours
      '#!/bin/sh\ncase $1 in genkey) head -c 32 /dev/urandom | base64 -w0;; pubkey) read -r key || [ -n "$key" ] || exit 1; [ ${#key} -eq 44 ] || exit 1; echo "pub-$key";; esac\n',
    );
    await chmod(join(folder, 'wg'), 0o755);
  });
  afterAll(() => rm(folder, { recursive: true }));
  const make = () =>
    run('sh', [join(folder, 'make-key')], { env: { PATH: `${folder}:/usr/bin:/bin` } });
  const read = (name: string) => readFile(join(folder, name), 'utf8');

  test('is made once, readable by root alone, and kept', async () => {
    await make();
    const first = await read('server.key');
    expect(first).toHaveLength(44);
    expect((await stat(join(folder, 'server.key'))).mode & 0o777).toBe(0o600);
    await make();
    expect(await read('server.key')).toBe(first);
    expect(await read('server.pub')).toBe(`pub-${first}\n`);
  });

  test('is made anew if a power cut left it empty', async () => {
    await writeFile(join(folder, 'server.key'), '');
    await make();
    expect(await read('server.key')).toHaveLength(44);
  });
});
