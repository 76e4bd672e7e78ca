import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lab } from '../../builder/lab/harness.ts';
import { outside } from '../../builder/lab/lab.ts';
import { openTunnel } from '../../builder/lab/wireguard-peer.ts';
import { newPrivateKey, publicKeyOf } from '../../firstboot/wireguard-keys.ts';
import type { VpnClient } from '../../gateway/vpn/operations.ts';
import type { ImportResult } from '../../gateway/vpn/schema.ts';

/**
 * Clients of PiVPN and wg-easy come to the running device by its command line, from files as those tools
 * write them (PiVPN: scripts/wireguard/makeCONF.sh and disableCONF.sh; wg-easy 14: src/lib/WireGuard.js); the
 * keys are of this test. One of each then connects with the key that it had.
 */

const { facts, peer, ssh, sshResult } = lab();

type Foreigner = { privateKey: string; publicKey: string; presharedKey: string };
const make = (): Foreigner => {
  const privateKey = newPrivateKey();
  return {
    privateKey,
    publicKey: publicKeyOf(privateKey) ?? '',
    presharedKey: newPrivateKey(),
  };
};
const old = make();
const [ann, bob, tv, eva, tom] = [make(), make(), make(), make(), make()];
const net = { v4: '10.66.0', v6: 'fd66:6761:7465::' };
/** Last parts of addresses that no other test takes: the gateway gives the lowest. */
const place = { ann: 241, bob: 242, tv: 243, eva: 244, tom: 245 };
/** Names that they have here. */
const names = ['lab-ann-s-phone', 'lab-bob', 'lab-tv', 'lab-eva', 'lab-tom'];

const pivpnPeer = (name: string, keys: Foreigner, host: number, mark = '') =>
  [
    `### begin ${name} ###`,
    ...[
      '[Peer]',
      `PublicKey = ${keys.publicKey}`,
      `PresharedKey = ${keys.presharedKey}`,
      `AllowedIPs = ${net.v4}.${host}/32,${net.v6}${host}/128`,
    ].map((line) => `${mark}${line}`),
    `### end ${name} ###`,
  ].join('\n');

const pivpnClient = (keys: Foreigner, host: number, allowed: string) =>
  [
    '[Interface]',
    `PrivateKey = ${keys.privateKey}`,
    `Address = ${net.v4}.${host}/24,${net.v6}${host}/64`,
    `DNS = ${net.v4}.1, 9.9.9.9`,
    '',
    '[Peer]',
    `PublicKey = ${old.publicKey}`,
    `PresharedKey = ${keys.presharedKey}`,
    'Endpoint = old.example.org:51820',
    `AllowedIPs = ${allowed}`,
    'PersistentKeepalive = 25',
    '',
  ].join('\n');

const pivpn: Record<string, string> = {
  'wg0.conf': [
    '[Interface]',
    `PrivateKey = ${old.privateKey}`,
    `Address = ${net.v4}.1/24,${net.v6}1/64`,
    'MTU = 1420',
    'ListenPort = 51820',
    pivpnPeer("Lab_Ann's_Phone", ann, place.ann),
    pivpnPeer('lab-bob', bob, place.bob, '#[disabled] '),
    pivpnPeer('lab-tv', tv, place.tv),
    '',
  ].join('\n'),
  'configs/clients.txt': `Lab_Ann's_Phone ${ann.publicKey} 1700000000 168034561\nlab-bob ${bob.publicKey} 1710000000 168034562\n`,
  "configs/Lab_Ann's_Phone.conf": pivpnClient(ann, place.ann, '0.0.0.0/0, ::0/0'),
  'configs/lab-bob.conf': pivpnClient(bob, place.bob, `${net.v4}.0/24`),
};

const wgEasyClient = (
  id: number,
  name: string,
  keys: Foreigner,
  host: number,
  enabled: boolean,
) => {
  const uuid = `5f0c8b0e-0000-4000-8000-00000000000${id}`;
  return [
    uuid,
    {
      id: uuid,
      name,
      address: `${net.v4}.${host}`,
      privateKey: keys.privateKey,
      publicKey: keys.publicKey,
      preSharedKey: keys.presharedKey,
      createdAt: '2024-05-01T10:00:00.000Z',
      updatedAt: '2024-05-01T10:00:00.000Z',
      expiredAt: null,
      enabled,
    },
  ] as const;
};

const wgEasy: Record<string, string> = {
  'wg0.json': JSON.stringify(
    {
      server: {
        privateKey: old.privateKey,
        publicKey: old.publicKey,
        address: `${net.v4}.1`,
      },
      clients: Object.fromEntries([
        wgEasyClient(1, 'Lab Eva 📱', eva, place.eva, true),
        wgEasyClient(2, 'lab-tom', tom, place.tom, false),
      ]),
    },
    null,
    2,
  ),
};

const folder = '/root/lab-import';

async function put(files: Record<string, string>): Promise<void> {
  await ssh(`sudo sh -c 'rm -rf ${folder}; mkdir -p -m 700 ${folder}/configs'`);
  for (const [name, text] of Object.entries(files))
    await ssh(`sudo tee "${folder}/${name}" > /dev/null`, 60, Buffer.from(text));
}

async function bring(...more: string[]): Promise<ImportResult> {
  const text = await ssh(`sudo pi-gateway vpn import --json ${more.join(' ')}`, 240);
  return JSON.parse(text) as ImportResult;
}

const clients = async () => {
  const text = await ssh('sudo pi-gateway vpn list --json');
  return new Map((JSON.parse(text) as VpnClient[]).map((one) => [one.name, one]));
};
const kernel = () => ssh('sudo wg show wg0 dump');
/** Without what traffic changes. */
const state = async () => [
  await ssh('sudo ls /etc/wireguard/peers.d'),
  await ssh('sudo wg show wg0 allowed-ips'),
];

async function removeAll(): Promise<void> {
  for (const name of names) await sshResult(`sudo pi-gateway vpn revoke ${name}`);
  await ssh(`sudo rm -rf ${folder}`);
}

let serverKey: string;
beforeAll(async () => {
  await removeAll();
  serverKey = (await ssh('sudo wg show wg0 public-key')).trim();
});
afterAll(removeAll);

/** Connects with the file that the gateway now has for the client, at the device's wan address. */
async function connects(name: string, keys: Foreigner): Promise<void> {
  const file = await ssh(`sudo pi-gateway vpn export ${name}`);
  const value = (key: string) => new RegExp(`^${key} = (.+)$`, 'm').exec(file)?.[1] ?? '';
  expect(value('PrivateKey')).toBe(keys.privateKey);
  expect(value('PresharedKey')).toBe(keys.presharedKey);
  expect(value('PublicKey')).toBe(serverKey);
  const tunnel = await openTunnel({
    host: peer,
    folder: facts.keyDirectory,
    link: 'wgimport',
    keys,
    addresses: value('Address').split(', '),
    gateway: { publicKey: serverKey, address: outside.gateway4, port: 51820 },
    via: '198.51.100.1',
  });
  try {
    await peer.run('ping', ['-c', '3', '-W', '15', `${net.v4}.1`]);
    expect(await tunnel.received()).toBeGreaterThan(0);
  } finally {
    await tunnel.close();
  }
}

describe('from PiVPN (wg0.conf, configs/, clients.txt)', () => {
  const from = [`${folder}/wg0.conf`, `${folder}/configs`];

  test('a dry run says what would be done, and does nothing', async () => {
    await put(pivpn);
    const before = await state();
    const said = await bring(...from);
    expect(said).toMatchObject({ kind: 'pivpn', done: false, server_key: 'kept' });
    expect(said.clients.map(({ action, name, was }) => ({ action, name, was }))).toEqual([
      { action: 'add', name: 'lab-ann-s-phone', was: "Lab_Ann's_Phone" },
      { action: 'add', name: 'lab-bob', was: 'lab-bob' },
      { action: 'add', name: 'lab-tv', was: 'lab-tv' },
    ]);
    expect(await state()).toEqual(before);
  });

  test('clients come with keys, addresses and dates, off if they were off, and connect', async () => {
    expect(await bring(...from, '--apply')).toMatchObject({ done: true, server_key: 'kept' });
    const found = await clients();
    expect(found.get('lab-ann-s-phone')).toMatchObject({
      note: "Lab_Ann's_Phone",
      enabled: true,
      addresses: [`${net.v4}.${place.ann}`, `${net.v6}${place.ann}`],
      public_key: ann.publicKey,
      created_at: '2023-11-14T22:13:20Z',
      tunnel: 'full',
    });
    expect(found.get('lab-bob')).toMatchObject({ enabled: false, tunnel: 'split' });
    expect(found.get('lab-tv')).toMatchObject({ enabled: true, config_held: false });
    const peers = await kernel();
    expect(peers).toContain(`${ann.publicKey}\t${ann.presharedKey}\t`);
    expect(peers).toContain(tv.publicKey);
    expect(peers).not.toContain(bob.publicKey);
    expect((await ssh('sudo wg show wg0 public-key')).trim()).toBe(serverKey);
    await connects('lab-ann-s-phone', ann);
  });

  test('the same again adds nobody', async () => {
    const again = await bring(...from, '--apply');
    expect(again.clients.map(({ action }) => action)).toEqual(['skip', 'skip', 'skip']);
  });
});

describe('from wg-easy (wg0.json)', () => {
  test('clients come with names that are names, keys and addresses, and connect', async () => {
    await put(wgEasy);
    const said = await bring(`${folder}/wg0.json`, '--apply');
    expect(said).toMatchObject({ kind: 'wg-easy', done: true, server_key: 'kept' });
    const found = await clients();
    expect(found.get('lab-eva')).toMatchObject({
      note: 'Lab Eva 📱',
      enabled: true,
      addresses: [`${net.v4}.${place.eva}`],
      public_key: eva.publicKey,
      created_at: '2024-05-01T10:00:00Z',
    });
    expect(found.get('lab-tom')).toMatchObject({ enabled: false });
    expect(await kernel()).not.toContain(tom.publicKey);
    await connects('lab-eva', eva);
  });

  test('files that are of neither are refused, and nothing is changed', async () => {
    const before = await state();
    await put({ 'wg0.json': '{"server": {' });
    const { exitCode, stderr } = await sshResult(
      `sudo pi-gateway vpn import ${folder}/wg0.json --apply`,
    );
    expect(exitCode).toBeGreaterThan(0);
    expect(stderr).toMatch(/which tool|no client/i);
    expect(await state()).toEqual(before);
  });
});
