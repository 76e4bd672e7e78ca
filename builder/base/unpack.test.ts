import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { execa } from 'execa';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { exitCode } from '../errors.ts';
import { run } from '../exec.ts';
import { unpackImage } from './unpack.ts';

const mebibyte = 1024 * 1024;

/** 3 MiB with 64 KiB of data in four places, one across a block border, and none at the end. */
const raw = Buffer.alloc(3 * mebibyte + 700);
for (const place of [0, mebibyte + 1234, 2 * mebibyte, 2.5 * mebibyte])
  randomBytes(65_536).copy(raw, place);
const rawSha256 = createHash('sha256').update(raw).digest('hex');

let directory: string;
let cache: string;
const at = (name: string) => join(directory, name);

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'unpack-'));
  await writeFile(at('raw'), raw);
  await run('xz', ['--keep', '-0', '--threads=2', '--block-size=1MiB', at('raw')]);
  await run('gzip', ['--keep', '-1', at('raw')]);
  await run('zstd', ['--quiet', at('raw')]);
  await writeFile(at('raw.zip'), zip([{ name: 'pi.img', bytes: raw }]));
  await writeFile(at('stored.zip'), zip([{ name: 'pi.img', bytes: raw, store: true }]));
});

beforeEach(async () => {
  cache = await mkdtemp(at('cache-'));
});

afterAll(() => rm(directory, { recursive: true, force: true }));

/** A zip (PKWARE APPNOTE 4.3) of these files. */
function zip(files: { name: string; bytes: Buffer; store?: boolean; flags?: number }[]): Buffer {
  const parts: Buffer[] = [];
  const entries: Buffer[] = [];
  let offset = 0;
  for (const { name, bytes, store, flags } of files) {
    const packed = store ? bytes : deflateRawSync(bytes, { level: 1 });
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(flags ?? 0, 2);
    common.writeUInt16LE(store ? 0 : 8, 4);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(bytes.length, 18);
    common.writeUInt16LE(name.length, 22);
    const local = Buffer.concat([Buffer.from('PK\x03\x04'), common, Buffer.from(name), packed]);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(offset, 10);
    entries.push(
      Buffer.concat([Buffer.from('PK\x01\x02\x14\x00'), common, tail, Buffer.from(name)]),
    );
    parts.push(local);
    offset += local.length;
  }
  const index = Buffer.concat(entries);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(files.length, 8);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(index.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, index, end]);
}

/** What the cache holds; no part of an image may be left behind an error. */
const left = () => readdir(cache);

describe('an image is unpacked', () => {
  test.each(['raw', 'raw.xz', 'raw.gz', 'raw.zst', 'raw.zip', 'stored.zip'])(
    'from %s',
    async (name) => {
      const got = await unpackImage({
        path: at(name),
        directory: cache,
        size: raw.length,
        sha256: rawSha256,
      });
      expect(got).toEqual({
        path: join(cache, `${rawSha256}.img`),
        sha256: rawSha256,
        size: raw.length,
      });
      expect((await readFile(got.path)).equals(raw)).toBe(true);
    },
  );

  test('whatever its name is: downloads are named by their SHA-256', async () => {
    await writeFile(at('0123abcd'), await readFile(at('raw.gz')));
    const got = await unpackImage({ path: at('0123abcd'), directory: cache });
    expect(got.sha256).toBe(rawSha256);
  });

  test('with holes instead of zeros, and read-only', async () => {
    const { path } = await unpackImage({ path: at('raw.xz'), directory: cache });
    const { blocks, mode } = await stat(path);
    expect(blocks * 512).toBeLessThan(400_000);
    expect(mode & 0o777).toBe(0o444);
  });

  test('with its progress told', async () => {
    const seen: (number | undefined)[][] = [];
    await unpackImage({
      path: at('raw.xz'),
      directory: cache,
      size: raw.length,
      onProgress: (done, total) => seen.push([done, total]),
    });
    expect(seen.length).toBeGreaterThan(3);
    expect(seen.at(-1)).toEqual([raw.length, raw.length]);
  });

  test('once: the second time the archive is not read', async () => {
    const known = { directory: cache, archiveSha256: 'a'.repeat(64) };
    const { path } = await unpackImage({ path: at('raw.xz'), ...known });
    expect(await unpackImage({ path: at('gone'), ...known })).toMatchObject({ path });
    const bySha256 = { path: at('gone'), directory: cache, sha256: rawSha256 };
    expect(await unpackImage(bySha256)).toMatchObject({ path, size: raw.length });
  });

  test('again if the one in the cache is cut off', async () => {
    const options = { path: at('raw.xz'), directory: cache, sha256: rawSha256, size: raw.length };
    const { path } = await unpackImage(options);
    await rm(path);
    await writeFile(path, 'short');
    expect((await readFile((await unpackImage(options)).path)).equals(raw)).toBe(true);
  });
});

describe('a damaged archive', () => {
  test.each(['raw.xz', 'raw.gz', 'raw.zst', 'raw.zip'])(
    'that is cut short is told: %s',
    async (name) => {
      const whole = await readFile(at(name));
      await writeFile(at('cut'), whole.subarray(0, whole.length * 0.7));
      await expect(
        unpackImage({ path: at('cut'), name: 'https://x.example/pi.img', directory: cache }),
      ).rejects.toMatchObject({
        message: 'The compressed image is damaged or cut short',
        where: 'https://x.example/pi.img',
        code: exitCode.source,
      });
      expect(await left()).toEqual([]);
    },
  );

  test.each(['raw.xz', 'raw.gz', 'raw.zst'])('with wrong bytes is told: %s', async (name) => {
    const bytes = await readFile(at(name));
    const middle = Math.floor(bytes.length / 2);
    bytes.fill(0x55, middle, middle + 100);
    await writeFile(at('corrupt'), bytes);
    await expect(unpackImage({ path: at('corrupt'), directory: cache })).rejects.toThrow(
      'The compressed image is damaged or cut short',
    );
    expect(await left()).toEqual([]);
  });

  test('that is empty is told', async () => {
    await writeFile(at('empty'), '');
    await expect(unpackImage({ path: at('empty'), directory: cache })).rejects.toThrow(
      'The image is empty',
    );
  });
});

describe('an image that is not the expected one', () => {
  test.each([
    ['SHA-256', { sha256: 'a'.repeat(64) }, `SHA-256 ${rawSha256}, expected ${'a'.repeat(64)}`],
    [
      'size, too short',
      { size: raw.length + 1 },
      `${raw.length} bytes, expected ${raw.length + 1}`,
    ],
    ['size, too long', { size: 1_000_000 }, 'more than the expected 1000000 bytes'],
  ])('by its %s is refused', async (_, expected, why) => {
    await expect(
      unpackImage({ path: at('raw.xz'), directory: cache, ...expected }),
    ).rejects.toMatchObject({
      message: `The unpacked image is not the expected one: ${why}`,
      code: exitCode.source,
    });
    expect(await left()).toEqual([]);
  });
});

describe('a zip that is not simple is refused:', () => {
  const small = Buffer.from('small');
  test.each([
    [
      'with two files',
      [
        { name: 'a.img', bytes: small },
        { name: 'b', bytes: small },
      ],
      /it holds 2 files/,
    ],
    ['encrypted', [{ name: 'a.img', bytes: small, flags: 1 }], /it is encrypted/],
  ])('%s', async (_, files, message) => {
    await writeFile(at('odd.zip'), zip(files));
    await expect(unpackImage({ path: at('odd.zip'), directory: cache })).rejects.toMatchObject({
      message: expect.stringMatching(message),
      fix: 'Unpack it, and give the .img (or .img.xz) that is in it',
      code: exitCode.source,
    });
  });
});

describe('a disk that is full', () => {
  test.each([
    ['before', '128k', /^No space to unpack the image/],
    ['while unpacking', '1200k', /^The disk became full while the image was unpacked/],
  ])('is told %s, and nothing is left', async (_, size, message) => {
    // More data than the disk has room for, in an archive that would fit.
    await writeFile(at('data'), Buffer.alloc(4 * mebibyte, 'some data '));
    await run('xz', ['--force', '-0', at('data')]);
    const archive = size === '128k' ? at('raw.xz') : at('data.xz');
    const module = JSON.stringify(new URL('./unpack.ts', import.meta.url).href);
    // A private mount: needs no root where users may have namespaces.
    const { stderr } = await execa(
      'unshare',
      [
        ...['--map-root-user', '--mount', 'sh', '-c'],
        `mount -t tmpfs -o size=${size} none '${cache}' && exec "$@"`,
        ...['sh', process.execPath, '--input-type=module', '--eval'],
        `import { unpackImage } from ${module};
         import { readdirSync } from 'node:fs';
         await unpackImage({ path: '${archive}', directory: '${cache}' })
           .catch((error) => console.error(error.message, error.code, readdirSync('${cache}')));`,
      ],
      { env: { NODE_OPTIONS: '' } },
    );
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/ 3 \[\]$/);
  });
});

test('unpacking that is aborted ends with the reason and leaves nothing', async () => {
  const abort = new AbortController();
  const reason = new Error('enough');
  await expect(
    unpackImage({
      path: at('raw.xz'),
      directory: cache,
      signal: abort.signal,
      onProgress: () => abort.abort(reason),
    }),
  ).rejects.toBe(reason);
  expect(await left()).toEqual([]);
});
