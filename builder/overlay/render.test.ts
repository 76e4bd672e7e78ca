import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { overlayDigest, renderOverlay, renderTemplate } from './render.ts';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-overlay-'));
});
afterEach(() => rm(folder, { recursive: true }));

async function put(path: string, content: string, mode = 0o644): Promise<void> {
  await mkdir(dirname(join(folder, path)), { recursive: true });
  await writeFile(join(folder, path), content);
  await chmod(join(folder, path), mode);
}

const data = { options: { port: 22, name: 'a' }, config: { stages: {} } };

describe('an overlay', () => {
  test('becomes files at the same paths: templates rendered, others byte for byte, sorted', async () => {
    await put('etc/b.conf.hbs', 'Port {{options.port}}\n');
    await put('etc/a.conf.ejs', '<% for (const n of [1, 2]) { -%>\nn <%= n %>\n<% } -%>\n');
    await put('usr/bin/tool', '#!/bin/sh\necho {{not a template}}\n', 0o755);
    await put('etc/a.conf~', 'an editor left this');
    await symlink('/dev/null', join(folder, 'etc/masked'));
    const files = await renderOverlay(folder, data, {
      files: { '/etc/b.conf': { mode: 0o600, owner: 'root:adm' } },
    });
    expect(files.map((file) => file.path)).toEqual([
      '/etc/a.conf',
      '/etc/b.conf',
      '/etc/masked',
      '/usr/bin/tool',
    ]);
    expect(files[0]).toMatchObject({
      mode: 0o644,
      owner: 'root:root',
      content: Buffer.from('n 1\nn 2\n'),
    });
    expect(files[1]).toMatchObject({
      mode: 0o600,
      owner: 'root:adm',
      content: Buffer.from('Port 22\n'),
    });
    expect(files[2]).toMatchObject({ link: '/dev/null' });
    expect(files[3]).toMatchObject({ mode: 0o755 });
  });

  test('has a digest that changes with content, mode, owner and path, and with nothing else', async () => {
    await put('etc/a', 'x');
    const digest = async (files?: Record<string, { mode?: number; owner?: string }>) =>
      overlayDigest(await renderOverlay(folder, data, files ? { files } : {}));
    const first = await digest();
    expect(await digest()).toBe(first);
    expect(await digest({ '/etc/a': { mode: 0o600 } })).not.toBe(first);
    expect(await digest({ '/etc/a': { owner: 'root:adm' } })).not.toBe(first);
    await put('etc/a', 'y');
    expect(await digest()).not.toBe(first);
  });

  test('refuses two sources of one path, and attributes of a file that is not there', async () => {
    await put('etc/a', '1');
    await put('etc/a.hbs', '2');
    await expect(renderOverlay(folder, data)).rejects.toThrow('Two overlay files make /etc/a');
    await rm(join(folder, 'etc/a.hbs'));
    await expect(
      renderOverlay(folder, data, { files: { '/etc/b': {} }, stage: 's' }),
    ).rejects.toThrow('/etc/b');
  });

  test('of a folder that does not exist is empty', async () => {
    expect(await renderOverlay(join(folder, 'none'), data)).toEqual([]);
  });
});

describe('a template', () => {
  test.each(['x.hbs', 'x.ejs'])(
    '%s: a missing variable is an error, never an empty string',
    (name) => {
      const text = name.endsWith('hbs') ? '{{options.prot}}' : '<%= options.prot %>';
      expect(() => renderTemplate(name, text, data)).toThrow('cannot be rendered');
    },
  );

  test.each(['x.hbs', 'x.ejs'])('%s: a value cannot break out of its line', (name) => {
    const text = name.endsWith('hbs') ? 'a {{options.name}}' : 'a <%= options.name %>';
    const evil = { options: { name: 'x\nPermitRootLogin yes' } };
    expect(() => renderTemplate(name, text, evil)).toThrow('cannot be rendered');
  });

  test('quotes for the shell and does not escape for HTML', () => {
    const values = { options: { name: `it's <b>` } };
    expect(renderTemplate('x.hbs', 'echo {{sh options.name}}', values)).toBe(`echo 'it'\\''s <b>'`);
    expect(renderTemplate('x.hbs', '{{options.name}}', values)).toBe(`it's <b>`);
  });
});
