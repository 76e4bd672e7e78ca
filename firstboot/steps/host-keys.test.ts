import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { TestDevice } from '../testing.ts';
import { hostKeys } from './host-keys.ts';

let device: TestDevice;
beforeEach(async () => {
  device = await TestDevice.make();
});
afterEach(() => device.remove());

describe('SSH host keys', () => {
  const ed = 'etc/ssh/ssh_host_ed25519_key';

  test('are made once and kept', async () => {
    expect(await hostKeys.check(device.system)).toBe(false);
    await hostKeys.apply(device.system);
    expect(await hostKeys.check(device.system)).toBe(true);
    const first = await device.fingerprint(ed);
    await hostKeys.apply(device.system);
    expect(await device.fingerprint(ed)).toBe(first);
    expect(await device.read('etc/ssh/ssh_host_rsa_key.pub')).toMatch(/^ssh-rsa /);
  });

  test('of zero bytes, as a power cut leaves them, are none', async () => {
    await hostKeys.apply(device.system);
    await truncate(join(device.root, ed), 0);
    expect(await hostKeys.check(device.system)).toBe(false);
    await hostKeys.apply(device.system);
    expect(await hostKeys.check(device.system)).toBe(true);
  });

  test('keep the private half when only the public one was lost or is of another key', async () => {
    await hostKeys.apply(device.system);
    const first = await device.fingerprint(ed);
    await writeFile(join(device.root, `${ed}.pub`), `${device.publicKey}\n`);
    expect(await hostKeys.check(device.system)).toBe(false);
    await hostKeys.apply(device.system);
    expect(await device.fingerprint(ed)).toBe(first);
    expect(await hostKeys.check(device.system)).toBe(true);
  });
});
