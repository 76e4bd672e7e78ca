import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { OwnerError } from '../step.ts';
import { readIfThere } from '../system.ts';
import { hash, TestDevice } from '../testing.ts';
import { readShadow } from './accounts.ts';
import { admin } from './admin.ts';
import { hostName } from './hostname.ts';

let device: TestDevice;
beforeEach(async () => {
  device = await TestDevice.make();
});
afterEach(() => device.remove());

const owner = (text: string) => device.put('boot/firmware/gateway-device.yaml', text);
const keys = 'home/gateway/.ssh/authorized_keys';

async function apply(): Promise<void> {
  await admin.apply(device.system);
  expect(await admin.check(device.system)).toBe(true);
}

test('the admin gets in by key, with a byte order mark and Windows line ends too', async () => {
  await owner(
    `\uFEFFhostname: attic\r\nadmin:\r\n  ssh_authorized_keys:\r\n    - ${device.publicKey}\r\n`,
  );
  expect(await admin.check(device.system)).toBe(false);
  await apply();
  await apply();
  expect(await device.read(keys)).toBe(`${device.publicKey}\n`);
  expect((await stat(join(device.root, keys))).mode & 0o777).toBe(0o600);
});

test('the key may be just a file authorized_keys', async () => {
  await device.put('boot/firmware/authorized_keys', `# mine\n${device.publicKey}\n`);
  await apply();
  expect(await device.read(keys)).toBe(`${device.publicKey}\n`);
});

test('without any key the device stays closed and says what to do', async () => {
  expect(await admin.check(device.system)).toBe(false);
  await expect(admin.apply(device.system)).rejects.toThrow(OwnerError);
  expect(await readIfThere(join(device.root, keys))).toBeUndefined();
});

test('a password without a key does not open the device', async () => {
  await owner(`admin:\n  password_hash: ${hash}\n`);
  await expect(admin.apply(device.system)).rejects.toThrow('No SSH key');
});

test('a password is set by its hash, on standard input, and sudo asks for it', async () => {
  await device.put('boot/firmware/authorized_keys', `${device.publicKey}\n`);
  await owner(`admin:\n  password_hash: ${hash}\n`);
  await apply();
  expect((await readShadow(device.system, 'gateway'))?.hash).toBe(hash);
  expect(device.calls.join('\n')).not.toContain(hash);
  expect(await device.read('etc/sudoers.d/15-gateway-owner')).toBe(
    'gateway ALL=(ALL:ALL) PASSWD: ALL\n',
  );
});

test("another admin may use sudo, and the image's own account is closed", async () => {
  await owner(`admin:\n  name: ada\n  ssh_authorized_keys:\n    - ${device.publicKey}\n`);
  await apply();
  const sudoers = join(device.root, 'etc/sudoers.d/15-gateway-owner');
  expect(await readIfThere(sudoers)).toBe('ada ALL=(ALL:ALL) NOPASSWD: ALL\n');
  expect((await stat(sudoers)).mode & 0o777).toBe(0o440);
  expect(device.calls.some((call) => call.startsWith('visudo --check --file '))).toBe(true);
  expect((await readShadow(device.system, 'gateway'))?.expires).toBe('1');
});

test('an owner who thinks better of the name before first boot is done gets the first account back', async () => {
  await owner(`admin:\n  name: ada\n  ssh_authorized_keys:\n    - ${device.publicKey}\n`);
  await apply();
  await owner(`admin:\n  ssh_authorized_keys:\n    - ${device.publicKey}\n`);
  expect(await admin.check(device.system)).toBe(false);
  await apply();
  expect((await readShadow(device.system, 'gateway'))?.expires).toBe('');
  expect(await readIfThere(join(device.root, 'etc/sudoers.d/15-gateway-owner'))).toBeUndefined();
});

test('a file for sudo that visudo refuses is not put in place', async () => {
  await owner(`admin:\n  name: ada\n  ssh_authorized_keys:\n    - ${device.publicKey}\n`);
  const system = {
    ...device.system,
    run: (command: string, args: readonly string[]) =>
      command === 'visudo' ? Promise.reject(new Error('syntax')) : device.system.run(command, args),
  };
  await expect(admin.apply(system)).rejects.toThrow('syntax');
  expect(await readIfThere(join(device.root, 'etc/sudoers.d/15-gateway-owner'))).toBeUndefined();
});

test('the device gets its name', async () => {
  await owner('hostname: attic\n');
  expect(await hostName.check(device.system)).toBe(false);
  await hostName.apply(device.system);
  expect(await hostName.check(device.system)).toBe(true);
  expect(await device.read('etc/hosts')).toBe('127.0.0.1 localhost\n127.0.1.1 attic\n');
});

test("clients of the gateway's DNS are led to it by its name, and not to themselves", async () => {
  const addresses = ['127.0.0.1', '::1', '10.66.0.1', 'fd66:6761:7465::1'];
  const facts = JSON.stringify({ port: 8443, dashboard: true, addresses });
  await device.put('usr/share/pi-gateway/daemon.json', facts);
  for (const name of ['pi-gateway', 'attic']) {
    await owner(name === 'attic' ? 'hostname: attic\n' : '');
    expect(await hostName.check(device.system)).toBe(false);
    await hostName.apply(device.system);
    expect(await hostName.check(device.system)).toBe(true);
    expect(await device.read('etc/hosts')).toBe(
      [
        '127.0.0.1 localhost',
        `10.66.0.1 ${name}.home.arpa ${name}.internal ${name}`,
        `fd66:6761:7465::1 ${name}.home.arpa ${name}.internal ${name}`,
        '',
      ].join('\n'),
    );
  }
});
