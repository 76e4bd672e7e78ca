import { chmod, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { writeDeviceCard } from './device-card.ts';
import { deviceId } from './device-id.ts';
import { plan } from './plan.ts';
import { runFirstBoot } from './run.ts';
import { claimCode } from './steps/claim.ts';
import { hostKeys } from './steps/host-keys.ts';
import { readIfThere } from './system.ts';
import { ownerFile, TestDevice } from './testing.ts';

let device: TestDevice;
beforeEach(async () => {
  device = await TestDevice.make();
});
afterEach(() => device.remove());
const issue = 'etc/issue.d/50-pi-gateway.issue';
const saved = 'var/lib/pi-gateway/device-card.txt';
const status = 'boot/firmware/gateway-status.txt';

test('the card names what the device is and what to do next, wherever the owner looks', async () => {
  await device.put('boot/firmware/gateway-device.yaml', ownerFile(device.publicKey));
  const facts = { port: 8443, dashboard: true, addresses: ['127.0.0.1', '10.66.0.1'] };
  await device.put('usr/share/pi-gateway/daemon.json', JSON.stringify(facts));
  expect((await runFirstBoot(device.system, plan)).failures).toEqual([]);
  const code = (await claimCode(device.system)) ?? '';
  for (const path of [issue, saved, status]) {
    const card = await device.read(path);
    for (const part of [
      await deviceId(device.system),
      await device.fingerprint('etc/ssh/ssh_host_ed25519_key'),
      (await device.read('etc/wireguard/server.pub')).trim(),
      (await device.read('etc/pi-gateway/age/recipient.txt')).trim(),
      code,
      'ssh ada@attic',
      'sudo pi-gateway vpn qr phone',
      'https://attic.home.arpa:8443/ (in the VPN)',
    ])
      expect(card).toContain(part);
    expect(card).not.toContain((await device.read('etc/machine-id')).trim());
  }
  for (const path of [issue, saved])
    expect((await stat(join(device.root, path))).mode & 0o777).toBe(0o600);
});

test('the claim code is in no journal: what is said stays there', async () => {
  await device.put('boot/firmware/authorized_keys', `${device.publicKey}\n`);
  await runFirstBoot(device.system, plan);
  const code = (await claimCode(device.system)) ?? '';
  expect(code).not.toBe('');
  expect(device.said.join('\n')).not.toContain(code);
  expect(await device.read('var/lib/pi-gateway/firstboot/journal.json')).not.toContain(code);
});

test('once the claim code is used, the card is without it', async () => {
  await device.put('boot/firmware/authorized_keys', `${device.publicKey}\n`);
  await runFirstBoot(device.system, plan);
  const code = (await claimCode(device.system)) ?? '';
  await rm(join(device.root, 'var/lib/pi-gateway/claim/code'));
  await writeDeviceCard(device.system);
  for (const path of [issue, saved]) {
    expect(await device.read(path)).not.toContain(code);
    expect(await device.read(path)).not.toContain('claim');
  }
});

test('a device that waits for its owner has a card of what is there, and no word of logging in', async () => {
  await chmod(device.root, 0o755);
  const outcome = await runFirstBoot(device.system, plan);
  expect(outcome.failures.map((one) => one.step)).toEqual(['admin']);
  const card = await device.read(status);
  expect(card).toContain('No SSH key of an admin was given');
  expect(card).toContain('What to do: Put gateway-device.yaml');
  expect(card).not.toContain('ssh gateway@');
  expect(card).toContain(await device.fingerprint('etc/ssh/ssh_host_rsa_key'));
});

test('of a device that has nothing yet, there is a card all the same', async () => {
  await rm(join(device.root, 'etc/machine-id'));
  await writeDeviceCard(device.system);
  expect(await device.read(issue)).toContain('pi-gateway');
  await hostKeys.apply(device.system);
  await device.put('etc/ssh/ssh_host_x_key.pub', 'rubbish');
  await writeDeviceCard(device.system);
  expect((await readIfThere(join(device.root, issue)))?.match(/SHA256:/g)).toHaveLength(2);
});

test('the id goes with the machine-id, and is no part of it', async () => {
  expect(await deviceId(device.system)).toBe('873f7a0420a6');
  const first = await deviceId(device.system);
  await device.put('etc/machine-id', 'e81db6f119ae44528c4e8c299e23f175\n');
  expect(await deviceId(device.system)).not.toBe(first);
});
