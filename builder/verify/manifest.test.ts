import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { treeMirrors } from '../lock/guard.ts';
import { imagePins } from '../lock/lock-file.ts';
import { manifestLock, rawDigest, readManifest } from './manifest.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-manifest-'));
});
afterAll(() => rm(folder, { recursive: true }));

const manifest = {
  name: 'x',
  source_date_epoch: 1,
  archive_state: 'state',
  base: {
    kind: 'debian',
    mirrors: { mirror: 'http://mirror.example/debian', security_mirror: null },
    source: { suite: 'trixie', components: ['main'] },
  },
  config: { debian: { suite: 'trixie', components: ['main'] } },
  stages: [{ name: 'ssh' }],
  layers: [{ id: 'packages ssh', digest: 'd' }],
  packages: { apt: '3.0' },
  tools: { tar: '1.35' },
  tools_architecture: 'amd64',
  artifacts: [
    { file: 'x.img.xz', sha256: 'packed' },
    { file: 'x.img', sha256: 'raw' },
  ],
  more: 'than a rebuild takes',
};

test('the manifest beside an image tells what a rebuild keeps to', async () => {
  await writeFile(join(folder, 'manifest.json'), JSON.stringify(manifest));
  const found = await readManifest(join(folder, 'x.img.xz'));
  expect(found.path).toBe(join(folder, 'manifest.json'));
  expect(rawDigest(found.manifest)).toBe('raw');
  const lock = manifestLock(found.manifest);
  expect(lock.archive).toEqual({
    state: 'state',
    suite: 'trixie',
    components: ['main'],
    mirror: 'http://mirror.example/debian',
    security_mirror: null,
  });
  expect(imagePins(lock)).toEqual({ apt: { version: '3.0' } });
  expect(lock.tools).toEqual({ amd64: { tar: { version: '1.35' } } });
});

test('a manifest that does not tell enough is refused with what it lacks', async () => {
  const { archive_state: _, ...older } = manifest;
  await writeFile(join(folder, 'old.json'), JSON.stringify(older));
  await expect(readManifest(join(folder, 'old.json'))).rejects.toMatchObject({
    code: 2,
    detail: expect.stringContaining('archive_state'),
  });
});

test('the mirrors of a Debian base are read from its apt sources', async () => {
  const sources = join(folder, 'etc/apt/sources.list.d');
  await mkdir(sources, { recursive: true });
  const stanza = (uri: string, suite: string) => `Types: deb\nURIs: ${uri}\nSuites: ${suite}\n`;
  await writeFile(
    join(sources, 'debian.sources'),
    [
      stanza('http://mirror.example/debian', 'trixie'),
      stanza('http://mirror.example/security/', 'trixie-security'),
    ].join('\n'),
  );
  expect(await treeMirrors(folder)).toEqual({
    mirror: 'http://mirror.example/debian',
    security_mirror: 'http://mirror.example/security',
  });
});
