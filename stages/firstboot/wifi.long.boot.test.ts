import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { adminUser, bootSeconds, ownerFile } from '../../builder/qemu/harness-facts.ts';
import { makeSshKey, type SshKey, ssh, waitForSsh } from '../../builder/qemu/ssh.ts';
import { startVm, type Vm } from '../../builder/qemu/vm.ts';

const name = 'Café "attic"';
const password = 'correct horse "battery" #1';
const country = 'DE';

let key: SshKey;
let vm: Vm;
let device: (command: string, seconds?: number) => Promise<string>;

beforeAll(async () => {
  key = await makeSshKey();
  const wifi = `network:\n  wifi:\n    country: ${country}\n    ssid: ${JSON.stringify(name)}\n    password: ${JSON.stringify(password)}\n`;
  vm = await startVm({
    image: inject('image'),
    diskSize: '4G',
    forwards: { 22: 0 },
    bootFiles: ownerFile(key.publicKey, wifi),
  });
  const target = { user: adminUser, port: vm.ports[22] ?? 0, key };
  await vm.whileRunning(waitForSsh(target, bootSeconds));
  device = (command, seconds = 60) => ssh(target, command, seconds);
  // Two radios that hear each other (kernel, networking/mac80211_hwsim): the device's and the router's.
  await device('sudo modprobe mac80211_hwsim radios=2');
});
afterAll(async () => {
  await vm?.stop();
  await key?.remove();
});

/** The owner's router: an access point with that name and password (wpa_supplicant.conf(5), mode=2). */
async function accessPoint(security: readonly string[]): Promise<void> {
  const config = [
    ...['network={', 'mode=2', 'frequency=2412', `ssid=${Buffer.from(name).toString('hex')}`],
    ...[`psk="${password}"`, 'pairwise=CCMP', ...security, '}', ''],
  ].join('\n');
  await device(
    `sudo systemctl stop test-router.service 2>/dev/null; echo ${Buffer.from(config).toString('base64')} | base64 -d | sudo sh -c 'umask 077; cat > /run/test-router.conf'; sudo systemd-run --quiet --unit=test-router --collect wpa_supplicant -i wlan1 -D nl80211 -c /run/test-router.conf`,
  );
}

/** What wpa_supplicant says of wlan0 once it is connected. */
async function connected(): Promise<string> {
  for (let tries = 0; tries < 30; tries++) {
    const status = await device('sudo wpa_cli -i wlan0 status || true');
    if (/^wpa_state=COMPLETED$/m.test(status)) return status;
    await sleep(3000);
  }
  throw new Error(`no connection:\n${await device('sudo journalctl -b -u wpa_supplicant@wlan0')}`);
}

test('the Wi-Fi of the owner is joined once there is a radio, by WPA2', async () => {
  await accessPoint(['proto=RSN', 'key_mgmt=WPA-PSK']);
  expect(await connected()).toMatch(/^key_mgmt=WPA2-PSK/m);
  expect(await device('sudo wpa_cli -i wlan1 list_sta')).toContain(
    (await device('cat /sys/class/net/wlan0/address')).trim(),
  );
});

test('the same settings join it by WPA3', async () => {
  await accessPoint(['proto=RSN', 'key_mgmt=SAE', 'ieee80211w=2']);
  await device('sudo wpa_cli -i wlan0 reassociate');
  expect(await connected()).toMatch(/^key_mgmt=SAE/m);
});

test('the country is told to the radio, and the network is set up by our file', async () => {
  expect((await device('cat /sys/module/cfg80211/parameters/ieee80211_regdom')).trim()).toBe(
    country,
  );
  expect(await device('networkctl status wlan0')).toContain('05-owner-wlan0.network');
});
