import { createHash } from 'node:crypto';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BuildError } from '../errors.ts';
import { run } from '../exec.ts';
import { project, runCli } from '../testing/build.ts';
import { loadPublicKey, loadSigner, writeKeyPair } from './keys.ts';
import { type PublicKey, type Signer, signFile, verifyFile } from './minisign.ts';
import { signFolder, verifyFolder } from './release-folder.ts';

let folder = '';
let key: PublicKey;
let signer: Signer;
const at = (...names: string[]) => join(folder, ...names);
const date = new Date('2026-01-02T03:04:05Z');

/** What a build leaves, in small. */
async function release(name: string): Promise<string> {
  const directory = at(name);
  await mkdir(directory);
  const image = Buffer.from('an image\n');
  const digest = (content: Uint8Array) => createHash('sha256').update(content).digest('hex');
  const statement = {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ name: 'pi.img.xz', digest: { sha256: digest(image) } }],
  };
  const files: Record<string, Buffer> = {
    'pi.img.xz': image,
    'pi.img.bmap': Buffer.from('<bmap/>\n'),
    'pi.rpi-imager-manifest': Buffer.from('{"os_list": []}\n'),
    'pi.png': Buffer.from([0x89, 0x50, 0x4e, 0x47]),
    'pi.cdx.json': Buffer.from('{"bomFormat": "CycloneDX"}\n'),
    'pi.provenance.json': Buffer.from(`${JSON.stringify(statement)}\n`),
    'manifest.json': Buffer.from('{}\n'),
    'summary.txt': Buffer.from('a summary\n'),
  };
  let sums = '';
  for (const [file, content] of Object.entries(files)) {
    await writeFile(join(directory, file), content);
    sums += `${digest(content)}  ${file}\n`;
  }
  await writeFile(join(directory, 'SHA256SUMS'), sums);
  return directory;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-trust-'));
  await writeKeyPair(at('own'), undefined);
  key = await loadPublicKey(at('own.pub'));
  signer = await loadSigner({ file: at('own.key') });
});
afterAll(() => rm(folder, { recursive: true }));

describe('signatures', () => {
  test('minisign verifies what we sign, with the comment that is signed, too', async () => {
    await writeFile(at('text'), 'what is signed\n');
    await writeFile(
      at('text.minisig'),
      signFile(Buffer.from('what is signed\n'), signer, 'file:text'),
    );
    const { stdout } = await run('minisign', ['-Vm', at('text'), '-p', at('own.pub')]);
    expect(stdout).toContain('Trusted comment: file:text');
  });

  test('minisign signs with our secret key, and we verify it', async () => {
    await writeFile(at('theirs'), 'signed by minisign\n');
    await run('minisign', [
      '-Sm',
      at('theirs'),
      '-s',
      at('own.key'),
      '-t',
      'said by minisign',
      '-W',
    ]);
    const signature = await readFile(at('theirs.minisig'), 'utf8');
    expect(verifyFile(await readFile(at('theirs')), signature, [key])).toBe('said by minisign');
  });

  test('we sign with a key that minisign made', async () => {
    await run('minisign', ['-G', '-W', '-s', at('made.key'), '-p', at('made.pub')]);
    const made = await loadSigner({ file: at('made.key') });
    await writeFile(at('text2'), 'x');
    await writeFile(at('text2.minisig'), signFile(Buffer.from('x'), made, 'c'));
    await run('minisign', ['-Vm', at('text2'), '-p', at('made.pub')]);
  });

  test('a passphrase opens the secret key, here and in minisign; another one does not', async () => {
    await writeFile(at('words'), 'open sesame\n');
    await writeKeyPair(at('locked'), { file: at('words') });
    const opened = await loadSigner({ file: at('locked.key') }, { file: at('words') });
    expect(opened.id).toEqual((await loadPublicKey(at('locked.pub'))).id);
    await writeFile(at('text3'), 'x');
    await run('minisign', ['-Sm', at('text3'), '-s', at('locked.key')], { input: 'open sesame\n' });
    await run('minisign', ['-Vm', at('text3'), '-p', at('locked.pub')]);
    await writeFile(at('wrong'), 'open barley\n');
    await expect(loadSigner({ file: at('locked.key') }, { file: at('wrong') })).rejects.toThrow(
      'passphrase is not that',
    );
    await expect(loadSigner({ file: at('locked.key') })).rejects.toThrow('none was given');
  });

  test('the secret key is for its owner alone, is never replaced, and gets into no message', async () => {
    expect((await stat(at('own.key'))).mode & 0o777).toBe(0o600);
    await expect(writeKeyPair(at('own'), undefined)).rejects.toThrow(BuildError);
    process.env.TRUST_TEST_KEY = 'RWQsecret-material';
    const error = await loadSigner({ variable: 'TRUST_TEST_KEY' }).catch((e: unknown) => e);
    delete process.env.TRUST_TEST_KEY;
    expect(error).toMatchObject({ where: 'environment variable TRUST_TEST_KEY' });
    expect(String(error)).not.toContain('secret-material');
  });
});

describe('a signed release', () => {
  test('is verified by a stranger with minisign and sha256sum, and by verify', async () => {
    const directory = await release('stranger');
    const signed = await runCli(project, ['sign', directory, '--key', at('own.key')]);
    expect(signed.stderr).toBe('');
    await run('minisign', ['-Vm', 'SHA256SUMS', '-p', at('own.pub')], { cwd: directory });
    await run('sha256sum', ['-c', 'SHA256SUMS'], { cwd: directory });
    const verified = await runCli(project, ['verify', directory, '--key', at('own.pub')]);
    expect(verified.code).toBe(0);
    expect(verified.stdout).toContain('Verified: 9 files');
  });

  test('no byte of any file can be another one', async () => {
    const directory = await release('tampered');
    await signFolder(directory, signer, { date });
    expect(await verifyFolder(directory, key)).toMatchObject({ ok: true, problems: [] });
    for (const file of await readdir(directory)) {
      const path = join(directory, file);
      const content = await readFile(path);
      // Every byte of the signature and of the checksums; of each other file one in seven, and the last.
      const step = file.startsWith('SHA256SUMS.') ? 1 : 7;
      for (
        let i = 0;
        i < content.length;
        i = Math.max(i + 1, Math.min(i + step, content.length - 1))
      ) {
        const flipped = Buffer.from(content);
        flipped[i] = (flipped[i] ?? 0) ^ (1 << (i % 8));
        await writeFile(path, flipped);
        expect((await verifyFolder(directory, key)).ok, `${file}, byte ${i}`).toBe(false);
        if (i === content.length - 1) break;
      }
      await writeFile(path, content);
    }
    expect((await verifyFolder(directory, key)).ok).toBe(true);
  });

  test('files that are missing or were added are named', async () => {
    const directory = await release('missing');
    await signFolder(directory, signer, { date });
    await rm(join(directory, 'pi.img.bmap'));
    await writeFile(join(directory, 'extra.sh'), 'rm -rf /\n');
    const { problems } = await verifyFolder(directory, key);
    expect(problems).toEqual(['pi.img.bmap is missing', 'extra.sh is no part of the release']);
  });

  test('is not verified by another key, and without a signature not at all', async () => {
    const directory = await release('other');
    await writeKeyPair(at('stranger-key'), undefined);
    await signFolder(directory, await loadSigner({ file: at('stranger-key.key') }), { date });
    const result = await runCli(project, ['verify', directory, '--key', at('own.pub')]);
    expect(result.code).toBe(4);
    expect(result.stdout).toContain('none of those trusted');
    await rm(join(directory, 'SHA256SUMS.minisig'));
    expect((await verifyFolder(directory, key)).ok).toBe(false);
  });

  test('is not made of a folder that is not as its checksums say; signing again replaces', async () => {
    const directory = await release('changed');
    await signFolder(directory, signer, { date });
    await signFolder(directory, signer, { date });
    expect((await verifyFolder(directory, key)).ok).toBe(true);
    await cp(directory, at('changed2'), { recursive: true });
    await writeFile(join(at('changed2'), 'pi.img.xz'), 'another image\n');
    await expect(signFolder(at('changed2'), signer, { date })).rejects.toMatchObject({
      code: 4,
      detail: expect.stringContaining('pi.img.xz is not the file'),
    });
  });
});
