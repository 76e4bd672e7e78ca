import {
  cp,
  mkdir,
  mkdtemp,
  open,
  readFile,
  rm,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { exitCode } from '../errors.ts';
import { output, run } from '../exec.ts';
import { bootMountPoint, readDiskLayout } from './disk-layout.ts';
import { makePiImage, type PiImage } from './fixture.ts';

const mebibyte = 1024 * 1024;

let directory: string;
let dos: PiImage;
let gpt: PiImage;
const at = (name: string) => join(directory, name);

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'layout-'));
  dos = await makePiImage({ path: at('dos.img') });
  gpt = await makePiImage({ path: at('gpt.img'), table: 'gpt', bootMount: '/boot' });
});

afterAll(() => rm(directory, { recursive: true, force: true }));

/** An image of 48 MiB with these partitions of 8 MiB each, from 8 MiB on. */
async function disk(
  name: string,
  contents: readonly ('vfat' | 'ext4' | 'swap')[],
): Promise<string> {
  const path = at(name);
  const file = await open(path, 'w');
  await file.truncate(48 * mebibyte);
  await file.close();
  await run('sfdisk', ['--quiet', path], {
    input: `label: dos\nlabel-id: 0x1234abcd\n${contents
      .map((_, index) => `start=${(index + 1) * 16384}, size=16384, type=83`)
      .join('\n')}\n`,
  });
  for (const [index, content] of contents.entries()) {
    const start = (index + 1) * 8 * mebibyte;
    if (content === 'vfat')
      await run('mkfs.vfat', [
        '-F',
        '16',
        '-s',
        '2',
        '--offset',
        String(start / 512),
        path,
        '8192',
      ]);
    if (content === 'ext4')
      await run('mke2fs', ['-q', '-F', '-t', 'ext4', '-E', `offset=${start}`, path, '8192k']);
  }
  return path;
}

describe('the layout of an image', () => {
  test('of Raspberry Pi OS is read: FAT from 8 MiB, ext4 behind it', async () => {
    const layout = await readDiskLayout(dos.path);
    expect(layout).toMatchObject({
      table: 'dos',
      diskId: dos.diskId,
      sectorSize: 512,
      boot: {
        number: 1,
        startBytes: 8 * mebibyte,
        sizeBytes: 34 * mebibyte,
        type: 'c',
        partUuid: dos.bootPartUuid,
        fileSystem: 'vfat',
        label: 'bootfs',
        uuid: expect.stringMatching(/^[0-9A-F]{4}-[0-9A-F]{4}$/),
      },
      root: {
        number: 2,
        startBytes: 42 * mebibyte,
        type: '83',
        partUuid: dos.rootPartUuid,
        fileSystem: 'ext4',
        label: 'rootfs',
        uuid: expect.stringMatching(/^[0-9a-f-]{36}$/),
      },
      notes: [],
    });
    expect(layout.root.startBytes + layout.root.sizeBytes).toBe(dos.size);
  });

  test('with a GPT is read, UUIDs in lower case as the kernel wants them', async () => {
    expect(await readDiskLayout(gpt.path)).toMatchObject({
      table: 'gpt',
      diskId: gpt.diskId,
      boot: { partUuid: gpt.bootPartUuid, label: 'bootfs' },
      root: { partUuid: gpt.rootPartUuid, label: 'rootfs' },
    });
  });

  test('goes by content, not by number or type; of several candidates the first is taken', async () => {
    const layout = await readDiskLayout(await disk('many.img', ['swap', 'ext4', 'vfat', 'ext4']));
    expect(layout).toMatchObject({
      boot: { number: 3, partUuid: '1234abcd-03' },
      root: { number: 2 },
      notes: ['The image has 2 ext4 partitions (2, 4); 2 is taken as the root partition'],
    });
  });
});

describe('an image that is none of a Raspberry Pi is refused', () => {
  const cases: [string, () => Promise<string>, RegExp][] = [
    [
      'without a partition table',
      async () => {
        await writeFile(at('noise.img'), 'noise '.repeat(10_000));
        return at('noise.img');
      },
      /^The image has no partition table$/,
    ],
    [
      'a bare FAT file system',
      async () => {
        await run('mkfs.vfat', ['-C', at('fat.img'), '4096']);
        return at('fat.img');
      },
      /^The image has no partition table: it is a bare vfat file system$/,
    ],
    [
      'without FAT',
      () => disk('nofat.img', ['ext4', 'swap']),
      /^The image has no FAT partition to be its boot partition. It has: 1 ext4, 2 unknown$/,
    ],
    [
      'without ext4',
      () => disk('noext4.img', ['vfat']),
      /^The image has no ext4 partition to be its root partition. It has: 1 vfat$/,
    ],
    [
      'cut off',
      async () => {
        await cp(dos.path, at('cut.img'));
        await truncate(at('cut.img'), 45 * mebibyte);
        return at('cut.img');
      },
      /^The image is cut short: partition 2 ends at byte \d+, the file has 47185920$/,
    ],
    [
      'cut off, with a GPT',
      async () => {
        await cp(gpt.path, at('cutgpt.img'));
        await truncate(at('cutgpt.img'), 45 * mebibyte);
        return at('cutgpt.img');
      },
      /^The GPT of the image is damaged or cut off$|^The image is cut short/,
    ],
  ];
  test.each(cases)('%s', async (_, make, message) => {
    const path = await make();
    await expect(readDiskLayout(path)).rejects.toMatchObject({
      message: expect.stringMatching(message),
      where: path,
      fix: expect.any(String),
      code: exitCode.source,
    });
  });
});

describe('where the boot partition is mounted', () => {
  const tree = async (name: string, fstab: string | undefined) => {
    await mkdir(at(`${name}/etc`), { recursive: true });
    if (fstab !== undefined) await writeFile(at(`${name}/etc/fstab`), fstab);
    return at(name);
  };

  test.each([
    ['/boot/firmware', 'PARTUUID=1-01\t/boot/firmware  vfat defaults 0 2\n'],
    ['/boot', 'proc /proc proc defaults 0 0\nLABEL=boot /boot vfat defaults 0 2\n'],
    ['/boot', '#LABEL=boot /boot/firmware vfat\nLABEL=boot /boot/ vfat\n'],
  ])('is read from fstab: %s', async (expected, fstab) => {
    expect(await bootMountPoint(await tree('tree', fstab))).toBe(expected);
  });

  test('must be in fstab', async () => {
    await expect(bootMountPoint(await tree('none', 'PARTUUID=1-02 / ext4\n'))).rejects.toThrow(
      'The fstab of the image mounts nothing on /boot/firmware or /boot',
    );
    await expect(bootMountPoint(await tree('empty', undefined))).rejects.toThrow('no /etc/fstab');
  });

  test('is never read from a link, which could lead to the fstab of this machine', async () => {
    const path = await tree('link', undefined);
    await writeFile(at('elsewhere'), 'LABEL=boot /boot vfat\n');
    await symlink(at('elsewhere'), join(path, 'etc/fstab'));
    await expect(bootMountPoint(path)).rejects.toThrow('no /etc/fstab');
  });
});

describe('the image that tests are made with', () => {
  const inRoot = (image: string, start: number, path: string) =>
    output('debugfs', ['-R', `cat ${path}`, `${image}?offset=${start}`]);
  const inBoot = (image: string, path: string) =>
    output('mtype', ['-i', `${image}@@${8 * mebibyte}`, `::${path}`]);

  test('is consistent as a file system, and names its partitions as Raspberry Pi OS does', async () => {
    const { root } = await readDiskLayout(dos.path);
    await run('e2fsck', ['-fn', `${dos.path}?offset=${root.startBytes}`]);
    expect(await inRoot(dos.path, root.startBytes, '/etc/fstab')).toMatch(
      new RegExp(`^PARTUUID=${dos.diskId}-01 +/boot/firmware +vfat`, 'm'),
    );
    expect(await inRoot(dos.path, root.startBytes, '/etc/machine-id')).toBe('uninitialized\n');
    expect(await inBoot(dos.path, 'cmdline.txt')).toBe(
      `console=serial0,115200 console=tty1 root=PARTUUID=${dos.diskId}-02 rootfstype=ext4 fsck.repair=yes rootwait resize\n`,
    );
    expect(await inBoot(dos.path, 'config.txt')).toMatch(/^auto_initramfs=1$/m);
    expect(await inBoot(dos.path, 'meta-data')).toMatch(/^instance_id: rpios-image$/m);
    expect(await inBoot(dos.path, 'user-data')).toMatch(/^#cloud-config/);
  });

  test('can be made of a tree, which stays as it was', async () => {
    const rootTree = at('given');
    await mkdir(join(rootTree, 'etc'), { recursive: true });
    await mkdir(join(rootTree, 'boot/firmware'), { recursive: true });
    await writeFile(join(rootTree, 'etc/fstab'), 'mine\n');
    await writeFile(join(rootTree, 'etc/hostname'), 'given\n');
    await writeFile(join(rootTree, 'boot/firmware/kernel8.img'), 'a kernel\n');
    const made = await makePiImage({ path: at('given.img'), rootTree, bootSize: 8 * mebibyte });
    const { root } = await readDiskLayout(made.path);
    expect(await inRoot(made.path, root.startBytes, '/etc/hostname')).toBe('given\n');
    expect(await inRoot(made.path, root.startBytes, '/etc/fstab')).toContain(made.rootPartUuid);
    expect(await inBoot(made.path, 'kernel8.img')).toBe('a kernel\n');
    expect(
      await output('debugfs', [
        '-R',
        'ls /boot/firmware',
        `${made.path}?offset=${root.startBytes}`,
      ]),
    ).not.toContain('kernel8.img');
    expect(await readFile(join(rootTree, 'etc/fstab'), 'utf8')).toBe('mine\n');
  });
});
