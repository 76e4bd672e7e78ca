import { readdir } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { at, type System } from '../../../firstboot/system.ts';
import { newPrivateKey, publicKeyOf } from '../../../firstboot/wireguard-keys.ts';
import { addClient, changeClient, handOver, listClients, revokeClient } from '../clients.ts';
import { type ImportWish, importWish } from '../schema.ts';
import { VpnDevice } from '../testing.ts';
import { importClients } from './import.ts';

/**
 * Files as PiVPN (scripts/wireguard/makeCONF.sh and disableCONF.sh) and wg-easy (src/lib/WireGuard.js of
 * version 14, and the generated wg0.conf of 15) write them, with keys of the test's own.
 */

const psk = (letter: string) => Buffer.alloc(32, letter).toString('base64');
const keys = {
  server: newPrivateKey(),
  ann: newPrivateKey(),
  bob: newPrivateKey(),
  tv: newPrivateKey(),
};
const pub = (key: keyof typeof keys) => publicKeyOf(keys[key]) ?? '';

/** PiVPN with IPv6, of which one client is off; in the network that is given. */
function pivpn(net = '10.66.0', net6 = 'fd66:6761:7465::'): Record<string, string> {
  const client = (name: string, key: keyof typeof keys, host: number, allowed: string) =>
    `[Interface]\nPrivateKey = ${keys[key]}\nAddress = ${net}.${host}/24,${net6}${host}/64\nDNS = ${net}.1, 9.9.9.9\n\n[Peer]\nPublicKey = ${pub('server')}\nPresharedKey = ${psk(name)}\nEndpoint = old.example.org:51820\nAllowedIPs = ${allowed}\nPersistentKeepalive = 25\n`;
  const peer = (name: string, key: keyof typeof keys, host: number, mark = '') =>
    [
      `### begin ${name} ###`,
      ...[
        '[Peer]',
        `PublicKey = ${pub(key)}`,
        `PresharedKey = ${psk(name)}`,
        `AllowedIPs = ${net}.${host}/32,${net6}${host}/128`,
      ].map((line) => `${mark}${line}`),
      `### end ${name} ###`,
      '',
    ].join('\n');
  return {
    'wg0.conf': `[Interface]\nPrivateKey = ${keys.server}\nAddress = ${net}.1/24,${net6}1/64\nMTU = 1420\nListenPort = 51820\n${peer("Ann's_Phone", 'ann', 5)}${peer('bob', 'bob', 6, '#[disabled] ')}${peer('tv', 'tv', 7)}`,
    'clients.txt': `Ann's_Phone ${pub('ann')} 1700000000 168034561\nbob ${pub('bob')} 1710000000 168034562\n`,
    "Ann's_Phone.conf": client("Ann's_Phone", 'ann', 5, '0.0.0.0/0, ::0/0'),
    'bob.conf': client('bob', 'bob', 6, `${net}.0/24`),
  };
}

const wgEasy = (net = '10.66.0') =>
  JSON.stringify(
    {
      server: { privateKey: keys.server, publicKey: pub('server'), address: `${net}.1` },
      clients: {
        '5f0c8b0e-0000-4000-8000-000000000001': {
          id: '5f0c8b0e-0000-4000-8000-000000000001',
          name: 'Ann 📱',
          address: `${net}.5`,
          privateKey: keys.ann,
          publicKey: pub('ann'),
          preSharedKey: psk('a'),
          createdAt: '2024-05-01T10:00:00.000Z',
          updatedAt: '2024-05-01T10:00:00.000Z',
          expiredAt: '2999-01-01T00:00:00.000Z',
          enabled: true,
        },
        '5f0c8b0e-0000-4000-8000-000000000002': {
          id: '5f0c8b0e-0000-4000-8000-000000000002',
          name: 'ann',
          address: `${net}.6`,
          privateKey: keys.bob,
          publicKey: pub('bob'),
          preSharedKey: psk('b'),
          createdAt: '2024-05-02T10:00:00.000Z',
          updatedAt: '2024-05-02T10:00:00.000Z',
          expiredAt: null,
          enabled: false,
        },
      },
    },
    null,
    2,
  );

let vpn: VpnDevice;
let system: System;
beforeEach(async () => {
  vpn = await VpnDevice.make();
  ({ system } = vpn);
});
afterEach(() => vpn.remove());

const bring = (files: Record<string, string>, wish: Partial<ImportWish> = {}) =>
  importClients(
    system,
    importWish.parse({
      files: Object.entries(files).map(([name, text]) => ({ name, text })),
      dry_run: false,
      ...wish,
    }),
  );
const peers = () => readdir(at(system, '/etc/wireguard/peers.d'));

describe('of PiVPN', () => {
  test('clients come with keys, addresses, dates, and off if they were off', async () => {
    const result = await bring(pivpn());
    expect(result).toMatchObject({ kind: 'pivpn', done: true, server_key: 'kept' });
    expect(listClients(system)).toMatchObject([
      {
        name: 'ann-s-phone',
        note: "Ann's_Phone",
        enabled: true,
        addresses: ['10.66.0.5', 'fd66:6761:7465::5'],
        public_key: pub('ann'),
        preshared_key: true,
        tunnel: 'full',
        // The old server itself was among them.
        dns: null,
        created_at: '2023-11-14T22:13:20Z',
        config_held: true,
      },
      { name: 'bob', note: '', enabled: false, tunnel: 'split', public_key: pub('bob') },
      { name: 'tv', public_key: pub('tv'), config_held: false },
    ]);
    // What is off is not on the interface.
    expect(await vpn.interface()).toHaveLength(2);
    expect((await vpn.interface()).join()).toContain(psk('tv'));
    // The file for a gateway with another key, with the client's own private key.
    const text = await handOver(system, 'ann-s-phone', false);
    expect(text).toContain(`PrivateKey = ${keys.ann}\n`);
    expect(text).not.toContain(pub('server'));
    expect(result.warnings.join('\n')).toMatch(/Of tv the private key is not in the files/);
    expect(result.warnings.join('\n')).toMatch(/old\.example\.org:51820/);
  });

  test('clients work unchanged with the old server key', async () => {
    const result = await bring(pivpn(), { take_server_key: true });
    expect(result.server_key).toBe('taken');
    expect(result.clients.map((one) => one.needs_new_config)).toEqual([false, false, false]);
    expect((await vpn.device.read('etc/wireguard/server.key')).trim()).toBe(keys.server);
    expect((await vpn.device.read('etc/wireguard/server.pub')).trim()).toBe(pub('server'));
    expect(vpn.device.calls).toContain(
      `wg set wg0 private-key ${at(system, '/etc/wireguard/server.key')}`,
    );
    // Private keys that nobody needs here are not kept.
    expect(listClients(system).every((client) => !client.config_held)).toBe(true);
  });

  test('a dry run says the same and does nothing', async () => {
    const before = await vpn.device.read('etc/wireguard/server.key');
    const dry = await bring(pivpn(), { dry_run: true, take_server_key: true });
    expect(await peers()).toEqual([]);
    expect(await vpn.device.read('etc/wireguard/server.key')).toBe(before);
    expect({ ...(await bring(pivpn(), { take_server_key: true })), done: false }).toEqual(dry);
  });

  test('clients of another network are left out, or get new addresses', async () => {
    const files = pivpn('10.6.0', 'fd11:5ee:bad:c0de::');
    const out = await bring(files);
    expect(out.clients.map((one) => one.action)).toEqual(['skip', 'skip', 'skip']);
    expect(out.clients[0]?.why).toMatch(
      /10\.6\.0\.5 is not in 10\.66\.0\.0\/24.*stages\.wireguard\.network4: 10\.6\.0\.0\/24/,
    );
    expect(await peers()).toEqual([]);
    const moved = await bring(files, { new_addresses: true });
    expect(moved.clients).toMatchObject([
      { action: 'add', addresses: ['10.66.0.2', 'fd66:6761:7465::2'], needs_new_config: true },
      { action: 'add', addresses: ['10.66.0.3', 'fd66:6761:7465::3'] },
      { action: 'add', addresses: ['10.66.0.4', 'fd66:6761:7465::4'] },
    ]);
    expect(await handOver(system, 'bob', false)).toContain(
      'Address = 10.66.0.3/32, fd66:6761:7465::3/128\n',
    );
  });

  test('a second import does only what was not done', async () => {
    await bring(pivpn());
    await changeClient(system, 'bob', { name: 'robert' });
    await revokeClient(system, 'tv');
    const again = await bring(pivpn());
    expect(again.clients.map(({ action, why }) => `${action} ${why}`)).toEqual([
      'skip The client ann-s-phone has this key already',
      'skip The client robert has this key already',
      'add Key and addresses stay',
    ]);
  });

  test('an address that a client of ours has is nobody else’s', async () => {
    await addClient(system, { name: 'mine', addresses: ['10.66.0.5'] });
    const { clients } = await bring(pivpn());
    expect(clients[0]).toMatchObject({ action: 'skip' });
    expect(clients[0]?.why).toMatch(/The client mine has the address 10\.66\.0\.5/);
    expect(clients[1]).toMatchObject({ action: 'add' });
  });
});

describe('of wg-easy', () => {
  test('clients of wg0.json come with their names, as far as they are names', async () => {
    const result = await bring({ 'wg0.json': wgEasy() });
    expect(result).toMatchObject({ kind: 'wg-easy', server_key: 'kept' });
    expect(listClients(system)).toMatchObject([
      {
        name: 'ann',
        note: 'Ann 📱',
        addresses: ['10.66.0.5'],
        public_key: pub('ann'),
        created_at: '2024-05-01T10:00:00Z',
        expires_at: '2999-01-01T00:00:00Z',
        enabled: true,
      },
      { name: 'ann-2', note: 'ann', enabled: false, expires_at: null },
    ]);
    expect(await handOver(system, 'ann', false)).toContain(`PrivateKey = ${keys.ann}\n`);
  });

  test('clients of a generated wg0.conf and of their own files come, too', async () => {
    const files = {
      'wg0.conf': `
# Note: Do not edit this file directly.
# Your changes will be overwritten!

# Server
[Interface]
PrivateKey = ${keys.server}
Address = 10.66.0.1/24, fd66:6761:7465::cafe:1/64
ListenPort = 51821
PreUp =
PostUp = iptables -A FORWARD -i wg0 -j ACCEPT;


# Client: Ann (laptop) (5f0c8b0e-0000-4000-8000-000000000001)
[Peer]
PublicKey = ${pub('ann')}
PresharedKey = ${psk('a')}
AllowedIPs = 10.66.0.5/32, fd66:6761:7465::cafe:5/128
`,
      'bob.conf': `[Interface]\nPrivateKey = ${keys.bob}\nAddress = 10.66.0.6/32, fd66:6761:7465::cafe:6/128\nDNS = 1.1.1.1, 2606:4700:4700::1111\nMTU = 1420\n\n[Peer]\nPublicKey = ${pub('server')}\nPresharedKey = ${psk('b')}\nAllowedIPs = 0.0.0.0/0, ::/0\nPersistentKeepalive = 0\nEndpoint = old.example.org:51821\n`,
    };
    const result = await bring(files);
    expect(result.kind).toBe('wg-easy');
    expect(listClients(system)).toMatchObject([
      { name: 'ann-laptop', addresses: ['10.66.0.5', 'fd66:6761:7465::cafe:5'] },
      { name: 'bob', dns: ['1.1.1.1', '2606:4700:4700::1111'], preshared_key: true },
    ]);
    expect(result.warnings.join()).toContain('answered on port 51821, this one on 51820');
  });
});

describe('files that are none of these', () => {
  test.each([
    ['nothing', { x: '' }],
    ['words', { x: 'hello\nworld\n' }],
    ['other JSON', { 'wg0.json': '{"clients": []}' }],
    ['cut JSON', { 'wg0.json': '{"server": {' }],
    ['no whole key', { 'wg0.conf': '### begin a ###\n[Peer]\nPublicKey = abc\n### end a ###\n' }],
  ])('are refused: %s', async (_, files) => {
    await expect(bring(files, { kind: 'pivpn' })).rejects.toMatchObject({ kind: 'refused' });
    await expect(bring(files)).rejects.toMatchObject({ kind: 'refused' });
    expect(await peers()).toEqual([]);
  });

  test('bring nothing in but their keys, names and addresses', async () => {
    const text = `[Interface]\nPrivateKey = ${keys.server}\nListenPort = 1\nPostUp = reboot\n### begin ../../x; \u202ereboot ###\n[Peer]\nPublicKey = ${pub('ann')}\nEndpoint = evil.example:1\nAllowedIPs = 0.0.0.0/0, 10.66.0.5/32\nPostUp = reboot\n### end x ###\n`;
    const { clients } = await bring({ 'wg0.conf': text }, { new_addresses: true });
    expect(clients).toMatchObject([
      { name: 'x-reboot', action: 'add', addresses: ['10.66.0.2', 'fd66:6761:7465::2'] },
    ]);
    expect(await vpn.device.read('etc/wireguard/peers.d/x-reboot.conf')).toMatch(
      /^\[Peer\]\n# created = \S+\nPublicKey = \S+\nAllowedIPs = 10\.66\.0\.2\/32, fd66:6761:7465::2\/128\n$/,
    );
  });
});
