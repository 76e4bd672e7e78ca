import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { wireguardClient } from '../../firstboot/steps/wireguard-client.ts';
import { wireguardKey } from '../../firstboot/steps/wireguard-key.ts';
import type { System } from '../../firstboot/system.ts';
import { TestDevice } from '../../firstboot/testing.ts';
import { publicKeyOf } from '../../firstboot/wireguard-keys.ts';
import { clientAsQr, forgetClient, listClients, readClient } from './clients.ts';

let device: TestDevice;
let qrInput: string | undefined;
let handshakes = '';
let system: System;
beforeEach(async () => {
  device = await TestDevice.make();
  qrInput = undefined;
  handshakes = '';
  system = {
    ...device.system,
    run: async (command, args, o) => {
      if (command === 'wg') return handshakes;
      if (command !== 'qrencode') return await device.system.run(command, args, o);
      device.calls.push([command, ...args].join(' '));
      qrInput = o?.input;
      return '▄▄▄';
    },
  };
  await wireguardKey.apply(system);
  await wireguardClient.apply(system);
});
afterEach(() => device.remove());

const file = 'etc/wireguard/clients/owner.conf';
const privateKey = async () => /PrivateKey = (.*)/.exec(await device.read(file))?.[1] ?? '';

test('a client is exported as first boot made it', async () => {
  expect(await readClient(system, 'owner')).toBe(await device.read(file));
});

test('the QR code holds the same, and no argument does', async () => {
  expect(await clientAsQr(system, 'owner')).toBe('▄▄▄');
  expect(qrInput).toBe(await device.read(file));
  expect(device.calls.join('\n')).not.toContain(await privateKey());
});

test('clients are listed with what the server knows of them', async () => {
  handshakes = `${publicKeyOf(await privateKey())}\t1767312000\n`;
  await device.put(
    'etc/wireguard/peers.d/laptop.conf',
    '[Peer]\nPublicKey=x\nAllowedIPs = 10.66.0.9/32\n',
  );
  expect(await listClients(system)).toEqual([
    { name: 'laptop', addresses: ['10.66.0.9/32'], held: false, seen: undefined },
    {
      name: 'owner',
      addresses: ['10.66.0.2/32', 'fd66:6761:7465::2/128'],
      held: true,
      seen: new Date('2026-01-02T00:00:00Z'),
    },
  ]);
});

describe('a forgotten client', () => {
  test('leaves no private key behind, and stays a peer', async () => {
    await forgetClient(system, 'owner');
    expect(await listClients(system)).toMatchObject([{ name: 'owner', held: false }]);
    await expect(readClient(system, 'owner')).rejects.toThrow('not on this device');
    expect(await device.read('var/lib/pi-gateway/device-card.txt')).not.toContain('owner');
  });

  test('is not made anew by a first boot that waits for its owner', async () => {
    await forgetClient(system, 'owner');
    expect(await wireguardClient.check(system)).toBe(true);
  });
});

test.each(['nobody', '../server', 'owner.conf', ''])('%j is told to be no client', async (name) => {
  await expect(readClient(system, name)).rejects.toThrow('There is no client');
});
