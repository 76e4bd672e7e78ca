import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { bundleAssets } from './assets.ts';
import type { OverlayFile } from './render.ts';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-assets-'));
  await put('index.html', '<link href="./a.css"><script src="./a.ts"></script>');
  await put('a.css', 'p { margin: 0 }');
  await put('a.ts', 'document.title = "a" as string;');
});
afterEach(() => rm(folder, { recursive: true }));

const put = (name: string, text: string) => writeFile(join(folder, name), text);
const page = { html: 'index.html', folder: '/usr/share/page' };
const named = (files: readonly OverlayFile[], ending: string) =>
  files.filter(({ path }) => path.endsWith(ending));

describe('a page', () => {
  test('refers to its files by names that hold their digest, and each has its gzip twin', async () => {
    const files = await bundleAssets(folder, page);
    const html = named(files, '/index.html')[0]?.content.toString() ?? '';
    const script = named(files, '.js')[0];
    expect(script?.path).toMatch(/^\/usr\/share\/page\/a-[0-9a-f]{10}\.js$/);
    expect(html).toContain(`src="./${basename(script?.path ?? '')}"`);
    expect(html).not.toMatch(/a\.(ts|css)"/);
    for (const { path, content } of files.filter((file) => !file.path.endsWith('.gz')))
      expect(gunzipSync(named(files, `${path}.gz`)[0]?.content ?? '')).toEqual(content);
  });

  test('an edit gives the edited file another name, and no other', async () => {
    const before = (await bundleAssets(folder, page)).map(({ path }) => path);
    await put('a.css', 'p { margin: 1px }');
    const after = (await bundleAssets(folder, page)).map(({ path }) => path);
    expect(after.filter((path) => !before.includes(path))).toHaveLength(2);
    expect(named(await bundleAssets(folder, page), '.js')[0]?.path).toBe(
      before.find((path) => path.endsWith('.js')),
    );
  });

  test('its service worker is told what there is', async () => {
    await put('worker.ts', 'declare const SHELL_FILES: string[]; console.log(SHELL_FILES)');
    const files = await bundleAssets(folder, { ...page, worker: 'worker.ts' });
    const worker = named(files, '/service-worker.js')[0]?.content.toString() ?? '';
    for (const ending of ['.css', '.js'])
      for (const { path } of named(files, ending))
        if (!path.endsWith('service-worker.js')) expect(worker).toContain(basename(path));
  });

  test('a reference that leads nowhere, and code that does not parse, are told with their place', async () => {
    await put('index.html', '<script src="./b.ts"></script>');
    await expect(bundleAssets(folder, page)).rejects.toThrow(/bundle|read/);
    await put('b.ts', 'const = 1');
    await expect(bundleAssets(folder, page)).rejects.toThrow('cannot bundle');
  });
});

describe('the dashboard', () => {
  const dashboard = {
    html: 'gateway/web/index.html',
    worker: 'gateway/web/service-worker.ts',
    folder: '/usr/share/pi-gateway/dashboard',
  };
  const root = resolve(import.meta.dirname, '../..');

  test('is the same bytes each time', async () => {
    expect(await bundleAssets(root, dashboard)).toEqual(await bundleAssets(root, dashboard));
  });

  /** 150 kB is what issue and README promise; what is well below it stays quick on a phone. */
  test('is at most 70 kB on the wire, and names no other server', async () => {
    const files = await bundleAssets(root, dashboard);
    const wire = named(files, '.gz').reduce((sum, { content }) => sum + content.length, 0);
    expect(wire).toBeLessThan(70_000);
    for (const { content, path } of files.filter((file) => !file.path.endsWith('.gz')))
      expect(
        [...content.toString().matchAll(/\bhttps?:\/\/[\w.-]+/g)]
          .map(([url]) => url)
          .filter((url) => url !== 'http://www.w3.org'),
        path,
      ).toEqual([]);
  });
});
