import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { configSchema } from '../config/schema.ts';
import { exitCode } from '../errors.ts';
import { type ImageServer, serveImage } from './fixture.ts';
import { resolveRaspios } from './os-list.ts';

const checksum = 'a'.repeat(64);
const extracted = 'b'.repeat(64);

/** An entry as the vendor's list has it (keys of the os_list schema, and a new one). */
const image = (name: string, more: Record<string, unknown> = {}) => ({
  name,
  description: 'A port of Debian Trixie',
  icon: 'https://downloads.example/icon.png',
  url: `https://downloads.example/${encodeURIComponent(name)}.img.xz`,
  extract_size: 2_000_000,
  extract_sha256: extracted,
  image_download_size: 500_000,
  image_download_sha256: checksum,
  release_date: '2025-10-01',
  init_format: 'cloudinit-rpi',
  devices: ['pi5-64bit'],
  a_key_of_next_year: { any: 'thing' },
  ...more,
});

const lite = image('Raspberry Pi OS Lite (64-bit)');

let directory: string;
let server: ImageServer | undefined;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'os-list-'));
});

afterEach(async () => {
  await server?.close();
  await rm(directory, { recursive: true, force: true });
});

/** Serves lists by path; the first one is what raspios.os_list names. */
async function serveLists(lists: (base: string) => Record<string, unknown>): Promise<void> {
  const others: Record<string, string> = {};
  server = await serveImage(Buffer.alloc(0), [{}], { others });
  for (const [path, list] of Object.entries(lists(new URL(server.url).origin)))
    others[path] = typeof list === 'string' ? list : JSON.stringify(list);
}

const serveList = (list: unknown) => serveLists(() => ({ '/os_list.json': list }));

const asked = () => server?.requests.map(({ path }) => path);

/** Resolves with these keys of `raspios:` in gateway.yaml. */
function resolve(raspios: Record<string, unknown> = {}) {
  const { data } = configSchema([]).safeParse({
    raspios: {
      ...(server ? { os_list: new URL('/os_list.json', server.url).href } : {}),
      ...raspios,
    },
    stages: {},
  });
  if (!data) throw new Error('the test has a wrong configuration');
  return resolveRaspios(data.raspios, directory);
}

describe('an image in the list', () => {
  test('is found by its name, with everything that its download is checked by', async () => {
    await serveList({ imager: {}, os_list: [image('Raspberry Pi OS (64-bit)'), lite] });
    expect(await resolve()).toEqual({
      name: 'Raspberry Pi OS Lite (64-bit)',
      url: lite.url,
      downloadSize: 500_000,
      downloadSha256: checksum,
      extractSize: 2_000_000,
      extractSha256: extracted,
      releaseDate: '2025-10-01',
      initFormat: 'cloudinit-rpi',
    });
  });

  test('is found in nested groups', async () => {
    const inner = { name: 'Lite', description: '', subitems: [lite] };
    await serveList({
      os_list: [{ name: 'Raspberry Pi OS (other)', description: '', subitems: [inner] }],
    });
    expect(await resolve()).toMatchObject({ url: lite.url });
  });

  test('is found in a list that the list points to', async () => {
    await serveLists((base) => ({
      '/os_list.json': { os_list: [{ name: 'Other', subitems_url: `${base}/other.json` }] },
      '/other.json': { os_list: [lite] },
    }));
    expect(await resolve()).toMatchObject({ url: lite.url });
  });

  test('that is in the list itself needs no further list', async () => {
    await serveLists((base) => ({
      '/os_list.json': { os_list: [{ name: 'Other', subitems_url: `${base}/other.json` }, lite] },
    }));
    await resolve();
    expect(asked()).toEqual(['/os_list.json']);
  });

  test('is found although another list cannot be read, or points back', async () => {
    await serveLists((base) => ({
      '/os_list.json': {
        os_list: ['/gone.json', '/os_list.json', '/other.json'].map((path) => ({
          name: path,
          subitems_url: base + path,
        })),
      },
      '/other.json': { os_list: [lite] },
    }));
    expect(await resolve()).toMatchObject({ url: lite.url });
    expect(asked()).toEqual(['/os_list.json', '/gone.json', '/other.json']);
  });

  test('is found although other entries of the list are wrong', async () => {
    await serveList({ os_list: ['?', { description: 'no name' }, image('Odd', { url: 7 }), lite] });
    expect(await resolve()).toMatchObject({ url: lite.url });
  });
});

describe('an image that is not in the list', () => {
  test('is told with the names nearest to it', async () => {
    const names = [
      'Raspberry Pi OS Lite (64-bit)',
      'Raspberry Pi OS (64-bit)',
      'Ubuntu',
      'LibreELEC',
    ];
    await serveList({ os_list: names.map((name) => image(name)) });
    await expect(resolve({ image: 'raspberry pi os lite (64bit)' })).rejects.toMatchObject({
      message: "There is no image 'raspberry pi os lite (64bit)' in the list",
      fix: expect.stringMatching(
        /^Set raspios\.image .* nearest: 'Raspberry Pi OS Lite \(64-bit\)', 'Raspberry Pi OS \(64-bit\)'/,
      ),
      code: exitCode.source,
    });
  });

  test('is told with the lists that could not be read', async () => {
    await serveLists((base) => ({
      '/os_list.json': { os_list: [{ name: 'Other', subitems_url: `${base}/gone.json` }, lite] },
    }));
    await expect(resolve({ image: 'Raspberry Pi OS Full' })).rejects.toMatchObject({
      detail: expect.stringMatching(/gone\.json: .*HTTP 404/),
    });
  });

  test('but a group is told with the images in it', async () => {
    await serveList({ os_list: [{ name: 'Raspberry Pi OS (other)', subitems: [lite] }] });
    await expect(resolve({ image: 'Raspberry Pi OS (other)' })).rejects.toMatchObject({
      message: "'Raspberry Pi OS (other)' is a group of images, not an image",
      fix: "Set raspios.image to one of: 'Raspberry Pi OS Lite (64-bit)'",
    });
  });
});

describe('a list that cannot be used', () => {
  test.each([
    ['is no JSON', '<html>Not found</html>', /^This is no os_list of Raspberry Pi Imager: .*JSON/],
    ['has no os_list', { images: [] }, /^This is no os_list .* it has no os_list$/],
    [
      'gives the image no checksum',
      { os_list: [{ ...lite, extract_sha256: 'abc' }] },
      /entry for 'Raspberry Pi OS Lite \(64-bit\)' cannot be used: extract_sha256: must be 64 hex/,
    ],
    [
      'gives the image a URL that is none',
      { os_list: [{ ...lite, url: 'file:///etc/shadow' }] },
      /cannot be used: url:/,
    ],
  ])('because it %s', async (_, list, message) => {
    await serveList(list);
    await expect(resolve()).rejects.toMatchObject({
      message: expect.stringMatching(message),
      code: exitCode.source,
    });
  });

  test('because the server refuses it', async () => {
    await serveLists(() => ({}));
    await expect(resolve()).rejects.toThrow(/HTTP 404/);
  });
});

describe('checksums in gateway.yaml', () => {
  test('stop a build when the list has moved on to another image', async () => {
    await serveList({ os_list: [lite] });
    await expect(resolve({ sha256: 'c'.repeat(64) })).rejects.toMatchObject({
      message: expect.stringMatching(/now has another image .*\(2025-10-01\).* raspios\.sha256/),
      fix: expect.stringMatching(/raspios\.url/),
      code: exitCode.source,
    });
  });

  test('stand in for those that the list does not give', async () => {
    const { image_download_sha256: _, ...bare } = lite;
    await serveList({ os_list: [bare] });
    expect(await resolve()).toMatchObject({ downloadSha256: undefined });
    expect(await resolve({ sha256: checksum })).toMatchObject({ downloadSha256: checksum });
  });
});

describe('an image by its URL', () => {
  test('needs no list', async () => {
    const url = 'https://downloads.example/dir/2025-10-01-raspios%20lite.img.xz';
    expect(await resolve({ url, sha256: checksum, extract_sha256: extracted })).toEqual({
      url,
      name: '2025-10-01-raspios lite.img.xz',
      downloadSha256: checksum,
      extractSha256: extracted,
    });
  });

  test('over plain http needs a checksum', async () => {
    const url = 'http://downloads.example/a.img.xz';
    await expect(resolve({ url })).rejects.toMatchObject({
      fix: 'Take an https URL, or set raspios.sha256',
      code: exitCode.usage,
    });
    expect(await resolve({ url, sha256: checksum })).toMatchObject({ url });
  });
});
