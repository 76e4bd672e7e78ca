import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { TestDevice } from '../testing.ts';
import { newPrivateKey, publicKeyOf } from '../wireguard-keys.ts';
import { freeAddresses, wireguardClient } from './wireguard-client.ts';
import { wireguardKey } from './wireguard-key.ts';

let device: TestDevice;
beforeEach(async () => {
  device = await TestDevice.make();
  await wireguardKey.apply(device.system);
});
afterEach(() => device.remove());

const owner = (text: string) => device.put('boot/firmware/gateway-device.yaml', text);
const client = 'etc/wireguard/clients/owner.conf';
const peer = 'etc/wireguard/peers.d/owner.conf';
const value = async (path: string, key: string) =>
  new RegExp(`^${key} = (.*)$`, 'm').exec(await device.read(path))?.[1];

async function apply(): Promise<void> {
  expect(await wireguardClient.check(device.system)).toBe(false);
  await wireguardClient.apply(device.system);
  expect(await wireguardClient.check(device.system)).toBe(true);
}

describe('the first client', () => {
  test('has a whole configuration, whose other half is a peer of the server', async () => {
    await apply();
    const privateKey = (await value(client, 'PrivateKey')) ?? '';
    expect((await run('wg', ['pubkey'], { input: privateKey })).stdout.trim()).toBe(
      await value(peer, 'PublicKey'),
    );
    expect(await value(client, 'PresharedKey')).toBe(await value(peer, 'PresharedKey'));
    expect(await value(client, 'Address')).toBe('10.66.0.2/32, fd66:6761:7465::2/128');
    expect(await value(peer, 'AllowedIPs')).toBe('10.66.0.2/32, fd66:6761:7465::2/128');
    expect(await value(client, 'DNS')).toBe('10.66.0.1, fd66:6761:7465::1');
    expect(await value(client, 'MTU')).toBe('1420');
    expect(await value(client, 'PublicKey')).toBe(
      (await device.read('etc/wireguard/server.pub')).trim(),
    );
    for (const path of [client, peer])
      expect((await stat(join(device.root, path))).mode & 0o777).toBe(0o600);
  });

  test.each([
    ['the endpoint', 'wireguard: { endpoint: vpn.example.org }\n', 'vpn.example.org:51820'],
    ['an IPv6 address', 'wireguard: { endpoint: "2001:db8::1" }\n', '[2001:db8::1]:51820'],
    [
      'the first DDNS name',
      'ddns:\n  providers:\n    - { type: duckdns, hostnames: [a.duckdns.org], token: some-token }\n',
      'a.duckdns.org:51820',
    ],
    ['the name it will have', 'hostname: attic\n', 'attic:51820'],
    ['the name it has', '', 'pi-gateway:51820'],
  ])('finds the gateway by %s', async (_, text, endpoint) => {
    await owner(text);
    await apply();
    expect(await value(client, 'Endpoint')).toBe(endpoint);
  });

  test('keeps its keys and addresses when the owner mends the endpoint', async () => {
    await apply();
    const before = await device.read(client);
    await owner('wireguard: { endpoint: vpn.example.org }\n');
    await apply();
    expect(await device.read(client)).toBe(
      before.replace('pi-gateway:51820', 'vpn.example.org:51820'),
    );
  });

  test('keeps its keys when only the peer is lost, and makes new ones of a torn file', async () => {
    await apply();
    const before = await device.read(client);
    await rm(join(device.root, peer));
    await apply();
    expect(await device.read(client)).toBe(before);
    await device.put(client, before.slice(0, 40));
    await apply();
    expect(await value(peer, 'PublicKey')).toBe(
      publicKeyOf((await value(client, 'PrivateKey')) ?? ''),
    );
  });

  test('takes no address of another peer', async () => {
    await device.put('etc/wireguard/peers.d/x.conf', '[Peer]\nAllowedIPs = 10.66.0.2/32\n');
    await device.put(
      'etc/wireguard/peers.d/y.conf',
      '[Peer]\nAllowedIPs = fd66:6761:7465::3/128\n',
    );
    await apply();
    expect(await value(client, 'Address')).toBe('10.66.0.4/32, fd66:6761:7465::4/128');
  });

  test('is not made if the owner wants none, nor without the wireguard stage', async () => {
    await owner('wireguard: { first_client: false }\n');
    expect(await wireguardClient.check(device.system)).toBe(true);
    await owner('');
    await rm(join(device.root, 'usr/share/pi-gateway/wireguard.env'));
    expect(await wireguardClient.check(device.system)).toBe(true);
    expect(await wireguardKey.check(device.system)).toBe(true);
  });
});

test("a server's halves that do not belong together are no key pair", async () => {
  expect(await wireguardKey.check(device.system)).toBe(true);
  await device.put('etc/wireguard/server.pub', `${publicKeyOf(newPrivateKey())}\n`);
  expect(await wireguardKey.check(device.system)).toBe(false);
  await device.put('etc/wireguard/server.key', '');
  expect(await wireguardKey.check(device.system)).toBe(false);
});

test('public keys are those of wg pubkey', async () => {
  const key = (await run('wg', ['genkey'])).stdout.trim();
  expect(publicKeyOf(key)).toBe((await run('wg', ['pubkey'], { input: key })).stdout.trim());
  for (const bad of ['', key.slice(1), `${'A'.repeat(43)}=`, 'x'.repeat(44)])
    expect(publicKeyOf(bad)).toBeUndefined();
});

test('a full network is told of, and the smallest one has room for one client', () => {
  const vpn = { network4: '10.0.0.8/30', network6: 'fd00::/64' };
  expect(freeAddresses(vpn, new Set())).toEqual(['10.0.0.10/32', 'fd00::2/128']);
  expect(() => freeAddresses(vpn, new Set(['10.0.0.10/32']))).toThrow('10.0.0.8/30 are taken');
});
