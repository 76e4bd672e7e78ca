import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { output, run } from '../exec.ts';
import { sha256 } from '../testing/build.ts';
import { exportOci, type OciImage } from './export.ts';

let folder: string;
let image: OciImage;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'export-'));
  const [base, upper] = [join(folder, 'base'), join(folder, 'upper')];
  await mkdir(join(base, 'etc/old.d'), { recursive: true });
  await mkdir(join(upper, 'etc/old.d'), { recursive: true });
  for (const name of ['etc/hosts', 'etc/gone', 'etc/old.d/before'])
    await writeFile(join(base, name), name);
  await writeFile(join(upper, 'etc/old.d/after'), 'after');
  await writeFile(join(upper, 'ping'), 'program', { mode: 0o755 });
  await run('setcap', ['cap_net_raw=ep', join(upper, 'ping')]);
  await run('mknod', [join(upper, 'etc/gone'), 'c', '0', '0']);
  await run('setfattr', ['-n', 'trusted.overlay.opaque', '-v', 'y', join(upper, 'etc/old.d')]);
  image = {
    layers: [
      { title: 'base', tree: base },
      { title: 'config', tree: upper },
    ],
    labels: { 'org.opencontainers.image.title': 'pi-gateway' },
    created: 1_700_000_000,
    tag: 'pi-gateway',
  };
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function exported(name: string): Promise<string> {
  const file = join(folder, `${name}.oci.tar`);
  await exportOci(image, { file, scratch: join(folder, name), tar: ['tar'] });
  return file;
}

test('the same layers give the same archive', async () => {
  expect(await sha256(await exported('one'))).toBe(await sha256(await exported('two')));
});

test('skopeo reads what it is: arm64, our labels, a layer per layer', async () => {
  const file = await exported('skopeo');
  const facts = JSON.parse(await output('skopeo', ['inspect', `oci-archive:${file}`]));
  expect(facts).toMatchObject({
    Architecture: 'arm64',
    Os: 'linux',
    Created: '2023-11-14T22:13:20Z',
    Labels: image.labels,
  });
  expect(facts.Layers).toHaveLength(2);
  const config = JSON.parse(await output('skopeo', ['inspect', '--config', `oci-archive:${file}`]));
  expect(config.config.Cmd).toEqual(['/bin/bash']);
  expect(config.history.map((one: { created_by: string }) => one.created_by)).toEqual([
    'base',
    'config',
  ]);
});

test('podman unpacks it to what the device would have: removed files stay away, capabilities are kept', async () => {
  const file = await exported('podman');
  const storage = join(folder, 'storage');
  // A store of the test's own; vfs needs nothing of the kernel.
  const podman = ['--root', storage, '--runroot', join(folder, 'run'), '--storage-driver', 'vfs'];
  const id = await output('podman', [...podman, 'pull', '--quiet', `oci-archive:${file}`]);
  const tree = (await output('podman', [...podman, 'image', 'mount', id.trim()])).trim();
  try {
    expect((await readdir(join(tree, 'etc'))).sort()).toEqual(['hosts', 'old.d']);
    expect(await readdir(join(tree, 'etc/old.d'))).toEqual(['after']);
    expect(await readFile(join(tree, 'etc/hosts'), 'utf8')).toBe('etc/hosts');
    expect(await output('getcap', [join(tree, 'ping')])).toContain('cap_net_raw=ep');
  } finally {
    await run('podman', [...podman, 'image', 'umount', id.trim()]);
  }
});
