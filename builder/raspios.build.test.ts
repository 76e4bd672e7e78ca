import { mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readDiskLayout } from './base/disk-layout.ts';
import { makePiImage, type PiImage, serveImage } from './base/fixture.ts';
import { output, run } from './exec.ts';
import {
  copyProject,
  project,
  removeFolder,
  runCli,
  sha256,
  startCli,
  traces,
} from './testing/build.ts';

/** Stages enough to install something, and little enough to be quick: these of all. */
const few = ['kernel', 'system'];
const stages = await readdir(join(project, 'stages'), { withFileTypes: true });
const fewStages = stages
  .filter((entry) => entry.isDirectory() && !few.includes(entry.name))
  .flatMap(({ name }) => ['--set', `stages.${name}=false`]);
/** Under a name of its own, since --refresh is remembered by name and the cache is the main project's. */
const apart = ['--set', 'name=refreshed'];
const name = 'Raspberry Pi OS Lite (64-bit)';

let folder = '';
let root = '';
let image: PiImage;
let packed: Buffer;

/** An image in Raspberry Pi OS's layout, with the Debian base's files in it. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-raspios-'));
  root = join(folder, 'project');
  await copyProject(root);
  await writeFile(join(root, 'gateway.local.yaml'), `paths:\n  cache: ${join(project, 'cache')}\n`);
  image = await makePiImage({ path: join(folder, 'vendor.img'), rootTree: await debianTree() });
  await run('xz', ['-0', '-T0', '--keep', image.path]);
  packed = await readFile(`${image.path}.xz`);
});
afterAll(() => removeFolder(folder));

async function debianTree(): Promise<string> {
  const layers = join(project, 'cache/layers');
  for (const layer of await readdir(layers)) {
    const info = JSON.parse(await readFile(join(layers, layer, 'layer.json'), 'utf8')) as {
      title: string;
    };
    if (info.title.startsWith('base debian')) return join(layers, layer, 'fs');
  }
  throw new Error('the main build has not made the Debian base');
}

/** Runs `work` with the vendor's server: its list, and the image with what goes wrong with it. */
async function withVendor(
  behaviours: Parameters<typeof serveImage>[1],
  entry: Record<string, unknown>,
  work: (
    list: string,
    requests: Awaited<ReturnType<typeof serveImage>>['requests'],
  ) => Promise<void>,
): Promise<void> {
  const others: Record<string, string> = {};
  const server = await serveImage(packed, behaviours, { path: '/lite.img.xz', others });
  others['/os_list.json'] = JSON.stringify({
    os_list: [
      {
        name: 'Raspberry Pi OS (other)',
        subitems: [
          {
            name,
            url: server.url,
            extract_size: image.size,
            extract_sha256: image.sha256,
            image_download_size: packed.length,
            release_date: '2026-10-01',
            init_format: 'cloudinit-rpi',
            ...entry,
          },
        ],
      },
    ],
  });
  try {
    await work(new URL('/os_list.json', server.url).href, server.requests);
  } finally {
    await server.close();
  }
}

describe('the raspios base', () => {
  test('is looked up in the list, downloaded through a kill and a connection that breaks, and built upon', async () => {
    const third = Math.floor(packed.length / 3);
    await withVendor(
      [{ stallAfter: third }, { cutAfter: third }, {}],
      {},
      async (list, requests) => {
        const killed = startCli(root, buildArguments(list, 'base=[raspios]'));
        await killed.said(/download/);
        await expect.poll(() => requests.length, { timeout: 30_000 }).toBeGreaterThan(1);
        await sleep(3000);
        killed.kill('SIGKILL');
        await killed.done;
        await sleep(500); // the kernel ends the namespace's processes on its own time
        expect(await traces(root)).toEqual([]);
        expect(await readdir(join(root, 'output/pi-gateway')).catch(() => [])).toEqual([]);

        const result = await build(list, 'base=[raspios]');
        expect(result.stderr).not.toContain('Error');
        expect(result.code).toBe(0);
        const ranges = requests
          .filter((request) => request.path === '/lite.img.xz')
          .map((request) => request.headers.range);
        // After the kill, and after the break, from where it stopped.
        expect(ranges).toHaveLength(3);
        for (const range of ranges.slice(1)) expect(range).toMatch(/^bytes=[1-9]\d*-$/);
      },
    );
    const made = join(root, 'output/pi-gateway/pi-gateway.img');
    const layout = await readDiskLayout(made);
    const before = await readDiskLayout(image.path);
    // What the vendor's own files name stays what it was.
    expect(layout.diskId).toBe(before.diskId);
    expect(layout.root.uuid).toBe(before.root.uuid);
    expect(layout.boot).toMatchObject({
      uuid: before.boot.uuid,
      label: 'bootfs',
      startBytes: before.boot.startBytes,
      sizeBytes: before.boot.sizeBytes,
    });
    const boot = `${made}@@${layout.boot.startBytes}`;
    const cmdline = await output('mtype', ['-i', boot, '::cmdline.txt']);
    expect(cmdline).toContain(`root=PARTUUID=${image.rootPartUuid} `);
    expect(cmdline).toContain(' resize');
    const listing = await output('mdir', ['-b', '-i', boot, '::']);
    for (const file of ['user-data', 'meta-data', 'network-config'])
      expect(listing).toContain(file);
    await run('e2fsck', ['-fn', `${made}?offset=${layout.root.startBytes}`]);
    const manifest = JSON.parse(
      await readFile(join(root, 'output/pi-gateway/manifest.json'), 'utf8'),
    );
    expect(manifest.base).toMatchObject({ kind: 'raspios', init_format: 'cloudinit-rpi' });
    expect(manifest.packages).toHaveProperty('unattended-upgrades');
    expect(await traces(root)).toEqual([]);
  });

  test('without a change is not downloaded, unpacked or built again', async () => {
    await withVendor([{}], {}, async (list, requests) => {
      const result = await build(list, 'base=[raspios]', '--json', '--raw-only');
      expect(result.code).toBe(0);
      const { steps } = JSON.parse(result.stdout) as { steps: { step: string; cached: boolean }[] };
      expect(steps.filter((step) => !step.cached && !/download|unpack/.test(step.step))).toEqual(
        [],
      );
      expect(requests.filter((request) => request.path === '/lite.img.xz')).toHaveLength(0);
    });
  });

  test('with another content than the list says is refused, and nothing is built of it', async () => {
    const other = { image_download_sha256: 'ab'.repeat(32), extract_sha256: 'cd'.repeat(32) };
    await withVendor([{}], other, async (list) => {
      // Without --refresh the image that was taken first stays.
      const result = await build(list, 'base=[raspios]', '--refresh', ...apart);
      expect(result.code).toBe(4);
      expect(result.stderr).toContain('SHA-256');
    });
  });

  test('that cannot be reached gives way to the next of the list, aloud', async () => {
    const result = await build(
      'http://127.0.0.1:9/os_list.json',
      'base=[raspios, debian]',
      '--raw-only',
    );
    expect(result.code).toBe(0);
    expect(result.stderr).toContain('Base raspios cannot be had');
    expect(result.stderr).toContain('Going on with the next of the list: debian');
    expect(result.stderr).toContain('Base: Debian trixie');
    const alone = await build('http://127.0.0.1:9/os_list.json', 'base=[raspios]');
    expect(alone.code).toBe(4);
  });
});

describe('a file as base', () => {
  test('is built upon, and keeps a GPT and /boot where it has them', async () => {
    const path = join(folder, 'gpt.img');
    const gpt = await makePiImage({
      path,
      table: 'gpt',
      bootMount: '/boot',
      bootSize: 256 * 1024 * 1024, // room for the kernel of the tree
      rootTree: await debianTree(),
    });
    const digest = await sha256(path);
    const result = await runCli(root, [
      'build',
      ...fewStages,
      '--set',
      'stages.system=false',
      '--set',
      `base=[{file: ${path}}]`,
      '--raw-only',
    ]);
    expect(result.stderr).not.toContain('Error');
    expect(result.code).toBe(0);
    const made = await readDiskLayout(join(root, 'output/pi-gateway/pi-gateway.img'));
    expect(made.table).toBe('gpt');
    expect(made.root.partUuid).toBe(gpt.rootPartUuid);
    expect(await sha256(path)).toBe(digest);
  });
});

async function build(list: string, base: string, ...more: string[]) {
  return await runCli(root, buildArguments(list, base, ...more));
}

function buildArguments(list: string, base: string, ...more: string[]): string[] {
  return [
    'build',
    ...fewStages,
    '--set',
    base,
    '--set',
    `raspios.os_list=${list}`,
    '--set',
    'image.compress=none',
    ...more,
  ];
}
