import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { exitCode } from '../errors.ts';
import { output, run } from '../exec.ts';
import { serveImage } from './fixture.ts';
import { checkDownloadSignature, verifySignature } from './signature.ts';

/** A vendor and a stranger with real keys, and a file that both have signed. */
let directory: string;
let file: string;
let fingerprint: string;
const at = (name: string) => join(directory, name);

async function gpg(home: string, ...args: string[]): Promise<string> {
  return await output('gpg', ['--homedir', at(home), '--batch', '--yes', ...args]);
}

async function makeSigner(home: string, name: string, expires = 'never'): Promise<void> {
  await mkdir(at(home), { mode: 0o700 });
  const past = expires === 'never' ? [] : ['--faked-system-time', '20200101T000000'];
  await gpg(
    home,
    ...['--passphrase', '', ...past, '--quick-generate-key', name, 'ed25519', 'sign', expires],
  );
  await gpg(home, '--output', at(`${home}.gpg`), '--export');
  await gpg(home, '--output', at(`${home}.sig`), ...past, '--detach-sign', file);
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sig-'));
  file = at('image.img.xz');
  await writeFile(file, 'the image');
  await makeSigner('vendor', 'Vendor <vendor@example.org>');
  await makeSigner('stranger', 'Stranger <stranger@example.org>');
  await makeSigner('old', 'Old key <old@example.org>', '2020-02-01');
  await gpg('vendor', '--armor', '--output', at('vendor.asc'), '--export');
  await gpg('vendor', '--armor', '--output', at('image.asc'), '--detach-sign', file);
  const listed = await gpg('vendor', '--with-colons', '--list-keys');
  fingerprint = /^fpr:+([0-9A-F]{40}):/m.exec(listed)?.[1] ?? '';
});

afterAll(async () => {
  for (const home of ['vendor', 'stranger', 'old'])
    await run('gpgconf', ['--homedir', at(home), '--kill', 'all']);
  await rm(directory, { recursive: true, force: true });
});

const check = (signature: string, keyring = 'vendor.gpg', of = file) =>
  verifySignature({ file: of, signature: at(signature), keyring: at(keyring) });

describe('a signature holds', () => {
  test.each([
    ['binary, with a binary keyring', 'vendor.sig', 'vendor.gpg'],
    ['armoured, with an armoured keyring', 'image.asc', 'vendor.asc'],
  ])('%s', async (_, signature, keyring) => {
    expect(await check(signature, keyring)).toEqual({
      fingerprint,
      name: 'Vendor <vendor@example.org>',
    });
  });

  test('with a keyring of several keys', async () => {
    const both = Buffer.concat([
      await readFile(at('stranger.gpg')),
      await readFile(at('vendor.gpg')),
    ]);
    await writeFile(at('both.gpg'), both);
    expect(await check('vendor.sig', 'both.gpg')).toMatchObject({ fingerprint });
  });
});

describe('a signature does not hold', () => {
  test('of a file that was altered', async () => {
    await writeFile(at('altered'), 'the imagE');
    await expect(check('vendor.sig', 'vendor.gpg', at('altered'))).rejects.toMatchObject({
      message: 'BAD signature: the file is not what Vendor <vendor@example.org> signed',
      where: expect.stringContaining(at('altered')),
      code: exitCode.source,
    });
  });

  test('by a key that is not in the keyring, which the error names', async () => {
    await expect(check('stranger.sig')).rejects.toMatchObject({
      message: expect.stringMatching(/^Signed by a key that is not in the keyring: [0-9A-F]{16}$/),
      fix: expect.stringContaining('do not use this file'),
      code: exitCode.source,
    });
  });

  test('by a key that has expired', async () => {
    await expect(check('old.sig', 'old.gpg')).rejects.toThrow(
      /^The key that signed has expired: .*Old key/,
    );
  });

  test('if what should be it is a web page', async () => {
    await writeFile(at('page.sig'), '<html>Not found</html>');
    await expect(check('page.sig')).rejects.toMatchObject({
      message: 'What should be the signature is none',
      fix: expect.stringContaining('web page'),
    });
  });

  test.each([
    ['missing', 'nothing.sig', /^The signature is missing$/],
    ['empty', 'empty.sig', /^The signature is an empty file$/],
  ])('if it is %s', async (_, name, message) => {
    await writeFile(at('empty.sig'), '');
    await expect(check(name)).rejects.toMatchObject({
      message: expect.stringMatching(message),
      where: at(name),
      code: exitCode.source,
    });
  });

  test('without a keyring', async () => {
    await expect(check('vendor.sig', 'nothing.gpg')).rejects.toMatchObject({
      message: 'The keyring is missing',
      fix: expect.stringContaining('raspios.signature.keyring'),
      code: exitCode.usage,
    });
  });

  test('with a keyring that holds no key', async () => {
    await cp(file, at('none.gpg'));
    await expect(check('vendor.sig', 'none.gpg')).rejects.toMatchObject({ code: exitCode.source });
  });
});

describe("a download's signature", () => {
  test('is fetched from beside it', async () => {
    const content = await readFile(file);
    const signature = await readFile(at('vendor.sig'));
    const server = await serveImage(content, [{}], {
      path: '/image.img.xz',
      others: { '/image.img.xz.sig': signature },
    });
    try {
      const o = { file, url: server.url, directory: at('downloads') };
      const keyring = at('vendor.gpg');
      expect(
        await checkDownloadSignature({ ...o, signature: { url: null, keyring } }),
      ).toMatchObject({ fingerprint });
      const url = `${server.url}.asc`;
      await expect(
        checkDownloadSignature({ ...o, signature: { url, keyring } }),
      ).rejects.toMatchObject({
        message: expect.stringMatching(/^The signature cannot be had: .*HTTP 404/),
        where: url,
        code: exitCode.source,
      });
    } finally {
      await server.close();
    }
  });
});
