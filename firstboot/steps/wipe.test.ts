import { mkdir, open, readdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { TestDevice } from '../testing.ts';
import { wipe } from './wipe.ts';

/** What a file held when its name went. */
const unlinked = vi.hoisted(() => new Map<string, Buffer>());
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  return {
    ...real,
    unlink: async (path: string) => {
      unlinked.set(path, await real.readFile(path).catch(() => Buffer.of()));
      await real.unlink(path);
    },
  };
});

let device: TestDevice;
beforeEach(async () => {
  device = await TestDevice.make();
  unlinked.clear();
});
afterEach(() => device.remove());
const boot = () => join(device.root, 'boot/firmware');

test('all that may hold a secret goes, and nothing else', async () => {
  const secret = [
    ...[
      'gateway-device.yaml',
      'gateway-device.yaml.age',
      'Gateway-Device.YAML',
      'gateway-device.yaml~',
    ],
    ...[
      '._gateway-device.yaml',
      '.gateway-device.yaml.swp',
      'gateway-device.yaml.txt',
      'gateway-device.yml',
      'meta-data',
      'rpi-preseed.toml',
      'user-data',
    ],
    ...[
      'network-config',
      'firstrun.sh',
      'custom.toml',
      'userconf.txt',
      'userconf',
      'wpa_supplicant.conf',
    ],
  ];
  const kept = [
    ...['gateway-device.yaml.example', 'authorized_keys', 'gateway-status.txt', 'config.txt'],
    ...['cmdline.txt', 'kernel8.img', 'user-data.md'],
  ];
  for (const name of [...secret, ...kept]) await device.put(`boot/firmware/${name}`, 'x');
  await mkdir(join(boot(), 'overlays'));
  expect(await wipe.check(device.system)).toBe(false);
  await wipe.apply(device.system);
  expect(await wipe.check(device.system)).toBe(true);
  expect((await readdir(boot())).toSorted()).toEqual([...kept, 'overlays'].toSorted());
});

test.each([1, 65_536, 200_000])(
  'a file of %i bytes is zeros to its end before its name goes',
  async (size) => {
    await device.put('boot/firmware/user-data', 'x'.repeat(size));
    await wipe.apply(device.system);
    expect(unlinked.get(join(boot(), 'user-data'))).toEqual(Buffer.alloc(size));
  },
);

test('a link goes, and what it points to stays', async () => {
  await device.put('etc/precious', 'x');
  await symlink(join(device.root, 'etc/precious'), join(boot(), 'user-data'));
  await wipe.apply(device.system);
  expect(await readdir(boot())).toEqual([]);
  expect(await device.read('etc/precious')).toBe('x');
});

test('what other programs see of the file is zeros, too: it is overwritten in place', async () => {
  await device.put('boot/firmware/user-data', 'secret');
  const before = await open(join(boot(), 'user-data'));
  await wipe.apply(device.system);
  expect(await before.readFile()).toEqual(Buffer.alloc(6));
  await before.close();
});
