import { readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readIfThere } from '../system.ts';
import { TestDevice } from '../testing.ts';
import { network } from './network.ts';

let device: TestDevice;
beforeEach(async () => {
  device = await TestDevice.make();
});
afterEach(() => device.remove());

const owner = (text: string) => device.put('boot/firmware/gateway-device.yaml', text);
async function apply(text: string): Promise<void> {
  await owner(text);
  expect(await network.check(device.system)).toBe(false);
  await network.apply(device.system);
  expect(await network.check(device.system)).toBe(true);
}
const supplicant = 'etc/wpa_supplicant/wpa_supplicant-wlan0.conf';
const wired = 'etc/systemd/network/05-owner-eth0.network';
const wants =
  'etc/systemd/system/sys-subsystem-net-devices-wlan0.device.wants/wpa_supplicant@wlan0.service';
const lines = async (path: string) =>
  (await device.read(path)).split('\n').map((one) => one.trim());

test('without settings nothing is written, and nothing asked for', async () => {
  expect(await network.check(device.system)).toBe(true);
  expect(device.calls).toEqual([]);
});

describe('eth0', () => {
  test('has fixed addresses of both families, and learns none beside them', async () => {
    await apply(
      'network:\n  addresses: [192.168.1.10/24, "fd00::10/64"]\n  gateways: [192.168.1.1, "fd00::1"]\n  dns: [9.9.9.9]\n',
    );
    expect(await lines(wired)).toEqual(
      expect.arrayContaining([
        ...['Name=eth0', 'DHCP=no', 'Address=192.168.1.10/24', 'Address=fd00::10/64'],
        ...[
          'Gateway=192.168.1.1',
          'Gateway=fd00::1',
          'DNS=9.9.9.9',
          'IPv6AcceptRA=no',
          'UseDNS=no',
        ],
      ]),
    );
    expect(device.calls).toContain('systemctl reload systemd-networkd.service');
  });

  test.each([
    [
      'IPv4 alone: IPv6 comes from the router',
      '[192.168.1.10/24]',
      ['DHCP=no', 'IPv6AcceptRA=yes'],
    ],
    ['IPv6 alone: IPv4 comes by DHCP', '["fd00::10/64"]', ['DHCP=ipv4', 'IPv6AcceptRA=no']],
  ])('fixed for %s', async (_, addresses, expected) => {
    await apply(`network: { addresses: ${addresses} }\n`);
    expect(await lines(wired)).toEqual(expect.arrayContaining(expected));
  });

  test('may have DNS servers of the owner with addresses by DHCP', async () => {
    await apply('network: { dns: [9.9.9.9] }\n');
    expect(await lines(wired)).toEqual(
      expect.arrayContaining(['DHCP=yes', 'DNS=9.9.9.9', 'UseDNS=no']),
    );
  });
});

describe('Wi-Fi', () => {
  const wifi = (more: string) => `network:\n  wifi: { country: DE${more} }\n`;

  test('has its password in one file that root alone reads', async () => {
    await apply(wifi(`, ssid: 'Café "1"', password: 'quote " and # sign'`));
    expect(await lines(supplicant)).toEqual(
      expect.arrayContaining(['country=DE', 'ssid=436166c3a920223122', 'psk="quote " and # sign"']),
    );
    expect((await stat(join(device.root, supplicant))).mode & 0o777).toBe(0o600);
    expect(device.calls.join('\n')).not.toContain('quote');
    expect(await device.read('etc/modprobe.d/15-owner-wifi.conf')).toContain('ieee80211_regdom=DE');
  });

  test('starts with the radio, and is not waited for where there is none', async () => {
    await apply(wifi(', ssid: attic'));
    expect(await readlink(join(device.root, wants))).toBe(
      '/usr/lib/systemd/system/wpa_supplicant@.service',
    );
    expect(device.calls.join('\n')).not.toContain('wpa_supplicant@wlan0');
    expect(await lines('etc/systemd/network/05-owner-wlan0.network')).toContain(
      'RequiredForOnline=no',
    );
  });

  test('starts at once where the radio is there', async () => {
    await device.put('sys/class/net/wlan0/address', '');
    await apply(wifi(', ssid: attic'));
    expect(device.calls).toContain('systemctl --no-block start wpa_supplicant@wlan0.service');
  });

  test.each([
    ['open', ', ssid: a', ['key_mgmt=NONE']],
    ['hidden', ', ssid: a, hidden: true', ['scan_ssid=1']],
    [
      'of a key instead of a passphrase',
      `, ssid: a, password: ${'0f'.repeat(32)}`,
      [`psk=${'0f'.repeat(32)}`],
    ],
  ])('may be %s', async (_, more, expected) => {
    await apply(wifi(more));
    expect(await lines(supplicant)).toEqual(expect.arrayContaining(expected));
  });

  test('may be no more than the country', async () => {
    await apply(wifi(''));
    expect(await device.read(supplicant)).not.toContain('network=');
  });

  test('that the owner takes out again is gone, with its password', async () => {
    await apply(wifi(', ssid: attic, password: 12345678'.replace('12345678', "'12345678'")));
    await apply('network: { addresses: [192.168.1.10/24] }\n');
    expect(await readIfThere(join(device.root, supplicant))).toBeUndefined();
    await expect(readlink(join(device.root, wants))).rejects.toThrow('ENOENT');
  });

  test('on an image without wpa_supplicant is refused with what to do', async () => {
    const { rm } = await import('node:fs/promises');
    await rm(join(device.root, 'usr/lib/systemd/system/wpa_supplicant@.service'));
    await owner(wifi(', ssid: attic'));
    await expect(network.apply(device.system)).rejects.toThrow('no wpa_supplicant');
  });
});

describe("on Raspberry Pi OS, NetworkManager's files", () => {
  beforeEach(() => device.put('usr/sbin/NetworkManager', ''));

  test('have the same, and networkd gets none', async () => {
    await apply(
      `network:\n  addresses: [192.168.1.10/24]\n  gateways: [192.168.1.1]\n  dns: ['fd00::53']\n  wifi: { country: DE, ssid: Añ, password: ' back\\slash' }\n`,
    );
    const folder = 'etc/NetworkManager/system-connections';
    expect(await lines(`${folder}/owner-eth0.nmconnection`)).toEqual(
      expect.arrayContaining([
        'method=manual',
        'address1=192.168.1.10/24',
        'gateway=192.168.1.1',
        'dns=fd00::53;',
      ]),
    );
    const wireless = `${folder}/owner-wlan0.nmconnection`;
    expect(await lines(wireless)).toEqual(
      expect.arrayContaining(['ssid=65;195;177;', 'key-mgmt=wpa-psk', 'psk=\\sback\\\\slash']),
    );
    expect((await stat(join(device.root, wireless))).mode & 0o777).toBe(0o600);
    expect(await readIfThere(join(device.root, wired))).toBeUndefined();
    expect(device.calls).toEqual(['nmcli connection reload']);
  });
});
