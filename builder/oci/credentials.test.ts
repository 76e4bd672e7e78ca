import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { dockerCredentials } from './credentials.ts';

let folder: string;
const base64 = (text: string) => Buffer.from(text).toString('base64');

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'credentials-'));
  vi.stubEnv('DOCKER_CONFIG', folder);
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

const write = (config: unknown) => writeFile(join(folder, 'config.json'), JSON.stringify(config));

test("Docker's config.json gives each registry its own name and password", async () => {
  await write({
    auths: {
      'registry.example.org': { auth: base64('ann:one:two') },
      'https://other.example.org': { auth: base64('bob:three') },
      'third.example.org:5000': { identitytoken: 'ticket' },
    },
  });
  expect(await dockerCredentials('registry.example.org', null)).toEqual({
    kind: 'password',
    user: 'ann',
    password: 'one:two',
  });
  expect(await dockerCredentials('other.example.org', null)).toMatchObject({ user: 'bob' });
  expect(await dockerCredentials('third.example.org:5000', null)).toEqual({
    kind: 'token',
    token: 'ticket',
  });
  expect(await dockerCredentials('third.example.org', null)).toBeUndefined();
});

test('a helper program is asked by the name of the registry', async () => {
  await write({ credHelpers: { 'registry.example.org': 'safe' } });
  vi.stubEnv('PATH', `${folder}:${process.env.PATH}`);
  await writeFile(
    join(folder, 'docker-credential-safe'),
    '#!/bin/sh\nprintf \'{"ServerURL":"x","Username":"ann","Secret":"for %s"}\' "$(cat)"\n',
    { mode: 0o755 },
  );
  expect(await dockerCredentials('registry.example.org', null)).toEqual({
    kind: 'password',
    user: 'ann',
    password: 'for registry.example.org',
  });
});

test('a file that is named must be there and be readable; the usual ones need not', async () => {
  vi.stubEnv('HOME', folder);
  expect(await dockerCredentials('registry.example.org', null)).toBeUndefined();
  const named = join(folder, 'named.json');
  await expect(dockerCredentials('x', named)).rejects.toThrow(/credentials cannot be read/);
  await writeFile(named, '{ "auths": { "x": { "auth": "c2VjcmV0" } ');
  const error = await dockerCredentials('x', named).catch((reason: unknown) => reason);
  expect(String(error)).toMatch(/credentials cannot be read/);
  expect(String(error)).not.toContain('c2VjcmV0');
});
