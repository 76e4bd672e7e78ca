import { access, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readRequest, requestFile } from '../../gateway/backup/restore/request.ts';
import { TestDevice } from '../testing.ts';
import { restore } from './restore.ts';

let device: TestDevice;
const unit = 'usr/lib/systemd/system/pi-gateway-restore.service';
const wish = `restore:
  password: correct-horse
  target: {type: disk, label: BACKUP}
  snapshot: '3f2a9c10'
`;

beforeEach(async () => {
  device = await TestDevice.make();
  await device.put(unit, '');
});
afterEach(() => device.remove());

test('without a wish there is nothing to do', async () => {
  expect(await restore.check(device.system)).toBe(true);
});

test('the wish is handed to the service that fetches the backup, for root’s eyes alone', async () => {
  await device.put('boot/firmware/gateway-device.yaml', wish);
  expect(await restore.check(device.system)).toBe(false);
  await restore.apply(device.system);
  expect(await restore.check(device.system)).toBe(true);
  expect(await readRequest(device.system)).toMatchObject({
    password: 'correct-horse',
    snapshot: '3f2a9c10',
    target: { type: 'disk', label: 'BACKUP', folder: 'pi-gateway' },
  });
  expect((await stat(join(device.root, requestFile))).mode & 0o777).toBe(0o600);
  expect((await stat(join(device.root, requestFile, '..'))).mode & 0o777).toBe(0o700);
});

test('a mended wish takes the place of the first one', async () => {
  await device.put('boot/firmware/gateway-device.yaml', wish);
  await restore.apply(device.system);
  await device.put('boot/firmware/gateway-device.yaml', wish.replace('correct', 'other'));
  expect(await restore.check(device.system)).toBe(false);
  await restore.apply(device.system);
  expect((await readRequest(device.system))?.password).toBe('other-horse');
});

test('on an image without backups the owner is told, and the password stays nowhere', async () => {
  await rm(join(device.root, unit));
  await device.put('boot/firmware/gateway-device.yaml', wish);
  await expect(restore.apply(device.system)).rejects.toThrow('built without backups');
  await expect(access(join(device.root, requestFile))).rejects.toThrow();
});

test('a mistake in the wish is told with its place, and without the password', async () => {
  await device.put(
    'boot/firmware/gateway-device.yaml',
    wish.replace('label: BACKUP', 'labl: BACKUP'),
  );
  const problem = await restore.check(device.system).catch((error: Error) => error.message);
  expect(problem).toContain('gateway-device.yaml:3');
  expect(problem).not.toContain('correct-horse');
});
