import { closeSync, openSync } from 'node:fs';
import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  open,
  readFile,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readDiskLayout } from '../base/disk-layout.ts';
import { makePiImage, type PiImage } from '../base/fixture.ts';
import { BuildError } from '../errors.ts';
import { output, run } from '../exec.ts';
import { diffImages, diffText } from './diff.ts';
import { readExt4 } from './ext4.ts';
import { type ImageFacts, inspectImage, inspectText } from './inspect.ts';

let folder: string;
let image: PiImage;
let rootStart: number;
/** A file with a hole in its middle. */
const sparse = Buffer.concat([
  Buffer.alloc(10_000, 'a'),
  Buffer.alloc(2_000_000),
  Buffer.alloc(10_000, 'b'),
]);

const status = `Package: dpkg
Status: install ok installed
Architecture: arm64
Version: 1.22.21

Package: nftables
Status: install ok installed
Architecture: arm64
Version: 1.1.3-1

Package: removed
Status: deinstall ok config-files
Architecture: arm64
Version: 1

Package: libc6
Status: install ok installed
Architecture: armhf
Version: 2.41-12
`;

async function put(path: string, content: string | Buffer, mode = 0o644): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
  await chmod(path, mode);
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'inspect-'));
  const root = join(folder, 'root');
  await put(join(root, 'usr/lib/os-release'), 'ID=debian\nPRETTY_NAME="Debian 13 (test)"\n');
  await put(join(root, 'var/lib/dpkg/status'), status);
  await put(
    join(root, 'usr/share/pi-gateway/image.json'),
    '{"name":"test","base":{"kind":"debian","description":"Debian trixie"},"stages":["ssh"]}',
  );
  await put(join(root, 'usr/bin/sudo'), 'program', 0o4755);
  await put(join(root, 'var/sparse'), '');
  const hole = await open(join(root, 'var/sparse'), 'w');
  await hole.write(sparse.subarray(0, 10_000), { position: 0 });
  await hole.write(sparse.subarray(2_010_000), { position: 2_010_000 });
  await hole.close();
  await put(join(root, 'var/large'), Buffer.alloc(5_000_000, 'large'));
  await mkdir(join(root, 'many'));
  for (let index = 0; index < 1500; index++)
    await writeFile(join(root, 'many', `a-file-with-a-rather-long-name-${index}`), '');
  await symlink('../lib/os-release', join(root, 'etc-link'));
  await symlink(`/${'long/'.repeat(40)}`, join(root, 'long-link'));
  await run('mkfifo', [join(root, 'fifo')]);
  image = await makePiImage({ path: join(folder, 'a.img'), rootTree: root });
  rootStart = (await readDiskLayout(image.path)).root.startBytes;
  await debugfs(image.path, ['fallocate /usr/bin/sudo 8 20', 'mknod null c 1 3']);
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** Changes a file system as root would, without a mount. */
async function debugfs(path: string, commands: readonly string[]): Promise<void> {
  const script = join(folder, 'commands');
  await writeFile(script, `${commands.join('\n')}\n`);
  await run('debugfs', ['-w', '-f', script, `${path}?offset=${rootStart}`]);
}

describe('what inspect reads of an ext4 file system', () => {
  test('is what debugfs reads: every name, mode, owner and size', async () => {
    const descriptor = openSync(image.path, 'r');
    const { files } = readExt4(descriptor, rootStart, image.path);
    closeSync(descriptor);
    for (const directory of ['/', '/usr/bin', '/many', '/var', '/var/lib/dpkg']) {
      const listing = await output('debugfs', [
        '-R',
        `ls -p ${directory}`,
        `${image.path}?offset=${rootStart}`,
      ]);
      // /inode/mode/uid/gid/name/size/
      const expected = [...listing.matchAll(/^\/\d+\/(\d+)\/(\d+)\/(\d+)\/(.*)\/(\d*)\/$/gm)]
        .filter(([, , , , name]) => name !== '.' && name !== '..')
        .map(([, mode = '', uid, gid, name, size]) => ({
          name,
          mode: Number.parseInt(mode, 8) & 0o7777,
          owner: `${uid}:${gid}`,
          ...(size ? { size: Number(size) } : {}),
        }));
      const prefix = directory === '/' ? '/' : `${directory}/`;
      const found = [...files]
        .filter(([path]) => path.startsWith(prefix) && !path.slice(prefix.length).includes('/'))
        .map(([path, entry]) => ({
          name: path.slice(prefix.length),
          mode: entry.mode,
          owner: `${entry.uid}:${entry.gid}`,
          // debugfs shows no size of directories.
          ...(entry.kind === 'directory' ? {} : { size: entry.size }),
        }));
      const order = (a: { name?: string | undefined }, b: { name?: string | undefined }) =>
        (a.name ?? '') < (b.name ?? '') ? -1 : 1;
      expect(found.length).toBeGreaterThan(0);
      expect(found.sort(order)).toEqual(expected.sort(order));
    }
  });

  test('has kinds, link targets and contents, with holes as zeros', async () => {
    const descriptor = openSync(image.path, 'r');
    const system = readExt4(descriptor, rootStart, image.path);
    const bytes = (path: string) => Buffer.concat([...system.content(path)]);
    expect(system.files.get('/etc-link')).toMatchObject({
      kind: 'link',
      target: '../lib/os-release',
    });
    expect(system.files.get('/long-link')?.target).toBe(`/${'long/'.repeat(40)}`);
    expect(system.files.get('/fifo')?.kind).toBe('fifo');
    expect(system.files.get('/null')).toMatchObject({ kind: 'character', target: '1:3' });
    expect(bytes('/var/sparse').equals(sparse)).toBe(true);
    expect(bytes('/var/large').equals(Buffer.alloc(5_000_000, 'large'))).toBe(true);
    expect(bytes('/usr/bin/sudo').subarray(0, 7).toString()).toBe('program');
    closeSync(descriptor);
  });
});

describe('inspect', () => {
  test('tells partitions, system, stages, packages and what is large', async () => {
    const facts = await inspectImage(image.path);
    expect(facts).toMatchObject({
      image: image.path,
      size: image.size,
      table: 'dos',
      diskId: image.diskId,
      os: 'Debian 13 (test)',
      build: { name: 'test', base: 'Debian trixie', stages: ['ssh'] },
      packages: { dpkg: '1.22.21', nftables: '1.1.3-1', 'libc6:armhf': '2.41-12' },
    });
    expect(Object.keys(facts.packages)).toEqual(['dpkg', 'libc6:armhf', 'nftables']);
    expect(facts.largest[0]).toEqual({ path: '/var', bytes: expect.any(Number) });
    const [boot, root] = facts.partitions;
    expect(boot).toMatchObject({ number: 1, role: 'boot', start: 8 * 1024 * 1024 });
    expect(boot?.fileSystem).toMatchObject({ type: 'vfat', label: 'bootfs' });
    expect(root).toMatchObject({ number: 2, role: 'root', partUuid: image.rootPartUuid });
    expect(root?.fileSystem).toMatchObject({ type: 'ext4', label: 'rootfs' });
    for (const { size, fileSystem } of facts.partitions) {
      expect(fileSystem.used).toBeGreaterThan(0);
      expect(fileSystem.used).toBeLessThan(size);
    }
    expect(inspectText(facts)).toContain('Debian 13 (test)');
  });

  test.each([
    ['xz', ['xz', '-0', '--keep']],
    ['zst', ['zstd', '-q', '-1']],
  ] as const)('says the same of the image as .%s', async (suffix, [program, ...flags]) => {
    await run(program, [...flags, image.path]);
    const path = `${image.path}.${suffix}`;
    const expected: ImageFacts = { ...(await inspectImage(image.path)), image: path };
    expect(await inspectImage(path)).toEqual(expected);
  });

  test('says what is wrong with a file that is no image', async () => {
    const path = join(folder, 'no.img');
    await writeFile(path, Buffer.alloc(100_000, 'x'));
    await expect(inspectImage(path)).rejects.toThrow(BuildError);
    await expect(inspectImage(join(folder, 'missing.img'))).rejects.toThrow('no such image');
  });
});

describe('diff', () => {
  test('finds nothing between an image and its copy', async () => {
    const copy = join(folder, 'copy.img');
    await copyFile(image.path, copy);
    const diff = await diffImages(image.path, copy);
    expect(diff.files).toEqual({ added: [], removed: [], changed: [] });
    expect(diffText(diff)).toBe('The images hold the same.');
  });

  test('finds packages and files that came, went or changed, and what changed in them', async () => {
    const other = join(folder, 'b.img');
    await copyFile(image.path, other);
    await put(
      join(folder, 'status'),
      status.replace('1.1.3-1', '1.1.3-2').replace(/Package: libc6[\s\S]*/, ''),
    );
    const large = Buffer.alloc(5_000_000, 'large');
    large.write('!', 4_999_999);
    await put(join(folder, 'large'), large);
    await debugfs(other, [
      'rm /var/lib/dpkg/status',
      `write ${join(folder, 'status')} /var/lib/dpkg/status`,
      'rm /var/large',
      `write ${join(folder, 'large')} /var/large`,
      `write ${join(folder, 'status')} /var/new`,
      'rm /etc-link',
      'set_inode_field /usr/bin/sudo mode 0100755',
      'set_inode_field /usr/bin/sudo uid 1000',
    ]);
    await put(join(folder, 'cmdline.txt'), 'console=tty1\n');
    await run('mcopy', ['-o', '-i', `${other}@@8M`, join(folder, 'cmdline.txt'), '::cmdline.txt']);

    const { packages, files } = await diffImages(image.path, other);
    expect(packages).toEqual({
      added: [],
      removed: [{ name: 'libc6:armhf', version: '2.41-12' }],
      changed: [{ name: 'nftables', before: '1.1.3-1', after: '1.1.3-2' }],
    });
    expect(files.added).toEqual([
      { path: '/var/new', size: (await readFile(join(folder, 'status'))).length },
    ]);
    expect(files.removed).toEqual([{ path: '/etc-link', size: 17 }]);
    expect(files.changed.map(({ path, what }) => [path, what])).toEqual([
      ['/usr/bin/sudo', ['mode', 'owner']],
      ['/var/large', ['content']],
      ['/var/lib/dpkg/status', ['content']],
      ['boot:/cmdline.txt', ['content']],
    ]);
  });

  test('finds partitions that grew', async () => {
    const path = join(folder, 'grown.img');
    await makePiImage({ path, rootTree: join(folder, 'root'), rootSize: 64 * 1024 * 1024 });
    const diff = await diffImages(image.path, path);
    const grown = diff.partitions.find(({ role }) => role === 'root');
    expect(grown?.after.size).toBe(64 * 1024 * 1024);
    expect(diffText(diff)).toMatch(/root +size [\d.]+ MB → 67\.1 MB/);
  });
});
