import { readdir, stat, utimes } from 'node:fs/promises';
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { peerName } from '../../firstboot/device-fields.ts';
import { wireguardClient } from '../../firstboot/steps/wireguard-client.ts';
import { at, type System } from '../../firstboot/system.ts';
import { newPrivateKey, publicKeyOf } from '../../firstboot/wireguard-keys.ts';
import type { GatewayError } from '../errors.ts';
import {
  addClient,
  cancelRotation,
  changeClient,
  clientAsQr,
  handOver,
  listClients,
  revokeClient,
  rotateClient,
} from './clients.ts';
import { momentOf } from './command.ts';
import { clientName, newClient, note } from './schema.ts';
import { describeServer } from './server.ts';
import { VpnDevice } from './testing.ts';
import { vpnVerbs } from './verbs.ts';

let vpn: VpnDevice;
let system: System;
beforeEach(async () => {
  vpn = await VpnDevice.make();
  ({ system } = vpn);
});
afterEach(() => vpn.remove());

const read = (path: string) => vpn.device.read(path);
const peerFile = (name: string) => read(`etc/wireguard/peers.d/${name}.conf`);
const value = (text: string, key: string) =>
  new RegExp(`^${key} = (.*)$`, 'm').exec(text)?.[1] ?? '';
const failure = async (work: Promise<unknown>) =>
  await work.then(
    () => undefined,
    (error: GatewayError) => `${error.kind}: ${error.message}`,
  );

describe('a client that first boot has made', () => {
  beforeEach(() => wireguardClient.apply(system));
  const file = 'etc/wireguard/clients/owner.conf';

  test('is exported as first boot made it', async () => {
    expect(await handOver(system, 'owner', false)).toBe(await read(file));
  });

  test('has a QR code with the same in it, and no argument has', async () => {
    const text = await read(file);
    expect(await clientAsQr(system, 'owner', 'terminal')).toBe('▄▄▄');
    expect(vpn.qrInput).toBe(text);
    expect(vpn.device.calls.join('\n')).not.toContain(value(text, 'PrivateKey'));
    expect(await clientAsQr(system, 'owner', 'svg')).toBe('<svg/>');
  });

  test('has all zones, a full tunnel and no end', () => {
    expect(listClients(system)).toMatchObject([
      {
        name: 'owner',
        addresses: ['10.66.0.2', 'fd66:6761:7465::2'],
        zones: null,
        tunnel: 'full',
        expires_at: null,
        config_held: true,
      },
    ]);
  });

  test('leaves no private key behind when it is forgotten, and stays a peer', async () => {
    expect(await handOver(system, 'owner', true)).toContain('PrivateKey = ');
    expect(listClients(system)).toMatchObject([{ name: 'owner', config_held: false }]);
    await expect(handOver(system, 'owner', false)).rejects.toThrow('not on this device');
    // Nor is it made anew by a first boot that waits for its owner.
    expect(await wireguardClient.check(system)).toBe(true);
  });
});

describe('adding a client', () => {
  test('makes its keys and the next free addresses, and puts it into force', async () => {
    const one = await addClient(system, { name: 'phone' });
    const two = await addClient(system, { name: 'laptop', zones: ['lan'], tunnel: 'split' });
    expect([one.addresses, two.addresses]).toEqual([
      ['10.66.0.2', 'fd66:6761:7465::2'],
      ['10.66.0.3', 'fd66:6761:7465::3'],
    ]);
    const configuration = await handOver(system, 'phone', false);
    expect(publicKeyOf(value(configuration, 'PrivateKey'))).toBe(one.public_key);
    expect(value(configuration, 'PublicKey')).toBe((await read('etc/wireguard/server.pub')).trim());
    expect(value(configuration, 'PresharedKey')).toBe(
      value(await peerFile('phone'), 'PresharedKey'),
    );
    expect(await vpn.interface()).toHaveLength(2);
    expect(await vpn.sets()).toMatch(/add element inet gateway vpn_wan4 \{ 10\.66\.0\.2 \}\n/);
    expect(await vpn.sets()).toMatch(/vpn_lan4 \{ 10\.66\.0\.3, 10\.66\.0\.2 \}\n/);
    for (const path of ['peers.d/phone.conf', 'clients/phone.conf'])
      expect((await stat(at(system, `/etc/wireguard/${path}`))).mode & 0o777).toBe(0o600);
  });

  test('costs one program', async () => {
    const before = vpn.device.calls.length;
    await addClient(system, { name: 'phone' });
    expect(vpn.device.calls.slice(before)).toEqual([
      '/usr/lib/pi-gateway/wireguard-peer load phone',
    ]);
  });

  test('leads a split tunnel to the VPN and the networks of its zones alone', async () => {
    const through = async (name: string, zones: ('lan' | 'wan' | 'gateway')[] | null) => {
      await addClient(system, { name, zones, tunnel: 'split' });
      return value(await handOver(system, name, false), 'AllowedIPs');
    };
    const own = '10.66.0.0/24, fd66:6761:7465::/64';
    expect(await through('a', ['gateway', 'wan'])).toBe(own);
    expect(await through('b', ['lan'])).toBe(`${own}, 192.168.10.0/24, fd10::/64`);
    expect(await through('c', null)).toBe(`${own}, 192.168.10.0/24, fd10::/64`);
  });

  test('leaves the private key to a client that makes its own', async () => {
    const publicKey = publicKeyOf(newPrivateKey()) ?? '';
    await addClient(system, { name: 'router', public_key: publicKey });
    const text = await handOver(system, 'router', false);
    expect(text).toContain('# PrivateKey = the one that the client has made\n');
    expect(text).toContain('PresharedKey = ');
    expect(await failure(clientAsQr(system, 'router', 'svg'))).toMatch(/^conflict: .*client alone/);
  });

  test('takes what the settings say of new clients', async () => {
    await vpn.device.put(
      'etc/pi-gateway/gateway.yaml',
      'vpn: {endpoint: home.example.org, endpoint_port: 443, dns: [9.9.9.9], tunnel: split, zones: [gateway], mtu: 1280, keepalive: 25}\n',
    );
    const client = await addClient(system, { name: 'phone' });
    expect(client).toMatchObject({ zones: ['gateway'], tunnel: 'split', dns: null });
    const text = await handOver(system, 'phone', false);
    for (const line of [
      'DNS = 9.9.9.9',
      'MTU = 1280',
      'Endpoint = home.example.org:443',
      'PersistentKeepalive = 25',
      'AllowedIPs = 10.66.0.0/24, fd66:6761:7465::/64',
    ])
      expect(text).toContain(`${line}\n`);
    expect(await addClient(system, { name: 'two', zones: null })).toMatchObject({ zones: null });
  });

  test('finds the name for the endpoint, and says if the internet does not know it', async () => {
    expect(await describeServer(system)).toMatchObject({
      endpoint: 'pi-gateway',
      endpoint_known: false,
    });
    await vpn.device.put(
      'etc/pi-gateway/ddns.yaml',
      'providers:\n  - {type: duckdns, hostnames: [attic.duckdns.org], token: secret}\n',
    );
    expect(await describeServer(system)).toMatchObject({
      endpoint: 'attic.duckdns.org',
      endpoint_known: true,
      zones: ['wan', 'lan', 'containers', 'gateway'],
      free: 253,
    });
  });

  test.each([
    ['a name that is there', { name: 'phone' }, 'conflict', 'already'],
    ['an end that is over', { name: 'a', expires_at: '2020-01-01T00:00:00Z' }, 'refused', 'over'],
    [
      'an address of another',
      { name: 'a', addresses: ['10.66.0.2'] },
      'conflict',
      'has the address',
    ],
    ['an address elsewhere', { name: 'a', addresses: ['10.67.0.2'] }, 'refused', 'is not in'],
    ["the gateway's address", { name: 'a', addresses: ['10.66.0.1'] }, 'refused', "gateway's own"],
    ['the broadcast address', { name: 'a', addresses: ['10.66.0.255'] }, 'refused', 'own'],
    [
      'two of a family',
      { name: 'a', addresses: ['10.66.0.7', '10.66.0.8'] },
      'refused',
      'one address',
    ],
  ])('is refused with %s, and nothing is written', async (_, wish, kind, message) => {
    await addClient(system, { name: 'phone' });
    const before = await readdir(at(system, '/etc/wireguard/peers.d'));
    expect(await failure(addClient(system, wish))).toMatch(new RegExp(`^${kind}: .*${message}`));
    expect(await readdir(at(system, '/etc/wireguard/peers.d'))).toEqual(before);
  });

  test('is refused with the key of another, or of the server', async () => {
    const { public_key } = await addClient(system, { name: 'phone' });
    expect(await failure(addClient(system, { name: 'a', public_key }))).toContain(
      'phone has this key',
    );
    const own = (await read('etc/wireguard/server.pub')).trim();
    expect(await failure(addClient(system, { name: 'a', public_key: own }))).toContain(
      "server's own key",
    );
  });
});

describe('the network', () => {
  test('that is full is told so', async () => {
    await vpn.device.put(
      'usr/share/pi-gateway/wireguard.env',
      (await read('usr/share/pi-gateway/wireguard.env')).replace('10.66.0.0/24', '10.66.0.0/29'),
    );
    for (const name of ['a', 'b', 'c', 'd', 'e']) await addClient(system, { name });
    expect(await failure(addClient(system, { name: 'f' }))).toMatch(
      /^conflict: The VPN's network 10\.66\.0\.0\/29 is full: it has 5 clients/,
    );
    // An address that rests is better than none.
    await revokeClient(system, 'c');
    expect(await addClient(system, { name: 'f' })).toMatchObject({
      addresses: ['10.66.0.4', 'fd66:6761:7465::4'],
    });
  });

  test('of more than 254 clients goes on where a byte ends', async () => {
    await vpn.device.put(
      'usr/share/pi-gateway/wireguard.env',
      (await read('usr/share/pi-gateway/wireguard.env')).replace('10.66.0.0/24', '10.66.0.0/16'),
    );
    for (let i = 2; i < 256; i++)
      await vpn.device.put(
        `etc/wireguard/peers.d/c${i}.conf`,
        `[Peer]\nPublicKey = ${publicKeyOf(newPrivateKey())}\nAllowedIPs = 10.66.0.${i}/32, fd66:6761:7465::${i.toString(16)}/128\n`,
      );
    expect(await addClient(system, { name: 'more' })).toMatchObject({
      addresses: ['10.66.1.0', 'fd66:6761:7465::100'],
    });
  });

  test('gives the address of a revoked client to nobody for a day', async () => {
    await addClient(system, { name: 'phone' });
    await revokeClient(system, 'phone');
    expect((await addClient(system, { name: 'next' })).addresses[0]).toBe('10.66.0.3');
    const text = await read('etc/wireguard/retired');
    await vpn.device.put(
      'etc/wireguard/retired',
      text.replaceAll(/ \S+$/gm, ' 2026-01-01T00:00:00Z'),
    );
    expect((await addClient(system, { name: 'later' })).addresses[0]).toBe('10.66.0.2');
  });

  test("far up in the IPv6 network is no other client's either", async () => {
    const far = 'fd66:6761:7465:0:8000::1';
    await addClient(system, { name: 'phone', addresses: [far] });
    expect(await failure(addClient(system, { name: 'tablet', addresses: [far] }))).toMatch(
      /^conflict: The client phone has the address/,
    );
    expect(
      await addClient(system, { name: 'tablet', addresses: ['fd66:6761:7465:0:8000::2'] }),
    ).toMatchObject({ addresses: ['fd66:6761:7465:0:8000::2'] });
  });

  test('of a peer by hand keeps its addresses from others', async () => {
    await vpn.device.put(
      'etc/wireguard/peers.d/site.conf',
      `[Peer]\nPublicKey = ${publicKeyOf(newPrivateKey())}\nAllowedIPs = 10.66.0.0/30\n`,
    );
    expect((await addClient(system, { name: 'phone' })).addresses[0]).toBe('10.66.0.4');
  });
});

describe('changing a client', () => {
  test('is in its file and in force, each thing by itself', async () => {
    await addClient(system, { name: 'phone' });
    const before = await peerFile('phone');
    expect(await changeClient(system, 'phone', { zones: ['lan', 'gateway'] })).toMatchObject({
      zones: ['lan', 'gateway'],
    });
    expect(await vpn.sets()).not.toContain('vpn_wan4 {');
    expect(await vpn.sets()).toContain('vpn_gateway4 { 10.66.0.2 }');
    expect(await changeClient(system, 'phone', { enabled: false })).toMatchObject({
      enabled: false,
    });
    expect(await vpn.interface()).toEqual([]);
    expect(await vpn.sets()).not.toContain('10.66.0.2');
    await changeClient(system, 'phone', { enabled: true, zones: null });
    expect(await vpn.interface()).toHaveLength(1);
    await changeClient(system, 'phone', {
      note: 'x',
      dns: ['9.9.9.9'],
      tunnel: 'split',
      expires_at: '2999-01-01T00:00:00Z',
    });
    expect(await peerFile('phone')).toContain(
      '# expires = 2999-01-01T00:00:00Z\n# tunnel = split\n# dns = 9.9.9.9\n# note = x\n',
    );
    await changeClient(system, 'phone', { note: '', dns: null, tunnel: 'full', expires_at: null });
    expect(await peerFile('phone')).toBe(before);
  });

  test('runs no program for what neither the interface nor the firewall knows', async () => {
    await addClient(system, { name: 'phone' });
    const before = vpn.device.calls.length;
    const stamp = () => stat(at(system, '/run/pi-gateway/vpn/stamp'), { bigint: true });
    const { mtimeNs } = await stamp();
    await changeClient(system, 'phone', { note: 'mine' });
    expect(vpn.device.calls).toHaveLength(before);
    // But the daemon, which remembers the list, sees that it is another.
    expect((await stamp()).mtimeNs).toBeGreaterThan(mtimeNs);
  });

  test('keeps what somebody has written into the file by hand', async () => {
    await vpn.device.put(
      'etc/wireguard/peers.d/hand.conf',
      `[Peer]\n# hand\npublickey=${publicKeyOf(newPrivateKey())}\nAllowedIPs=10.66.0.9/32\nPersistentKeepalive = 25\n`,
    );
    await changeClient(system, 'hand', { note: 'mine' });
    expect(await peerFile('hand')).toMatch(
      /^\[Peer\]\n# hand\n# note = mine\nPublicKey = \S+\nAllowedIPs = 10\.66\.0\.9\/32\nPersistentKeepalive = 25\n$/,
    );
  });

  test('gives it another name, with its configuration', async () => {
    await addClient(system, { name: 'phone', note: 'mine' });
    const text = await handOver(system, 'phone', false);
    expect(await changeClient(system, 'phone', { name: 'mobile' })).toMatchObject({
      name: 'mobile',
      note: 'mine',
      config_held: true,
    });
    expect(await handOver(system, 'mobile', false)).toBe(text);
    expect(await readdir(at(system, '/etc/wireguard/clients'))).toEqual(['mobile.conf']);
    expect(await failure(changeClient(system, 'phone', { note: '' }))).toMatch(/^missing/);
    await addClient(system, { name: 'other' });
    expect(await failure(changeClient(system, 'mobile', { name: 'other' }))).toMatch(/^conflict/);
    expect(await failure(changeClient(system, 'mobile', { name: 'x', note: '' }))).toMatch(
      /^refused/,
    );
  });
});

describe('revoking a client', () => {
  test('leaves nothing of it, and the others alone', async () => {
    await addClient(system, { name: 'phone' });
    const other = await addClient(system, { name: 'laptop' });
    const { public_key } = await rotateClient(system, 'phone', {});
    await revokeClient(system, 'phone');
    expect(await vpn.interface()).toEqual([expect.stringContaining(other.public_key)]);
    for (const folder of ['peers.d', 'clients'])
      expect(await readdir(at(system, `/etc/wireguard/${folder}`))).toEqual(['laptop.conf']);
    expect(await vpn.sets()).not.toMatch(/10\.66\.0\.2\b/);
    expect(await failure(revokeClient(system, 'phone'))).toMatch(/^missing: .*'phone'/);
    // Its key opens nothing, and may be that of a new client.
    await addClient(system, { name: 'again', public_key });
  });

  test('is possible of a file that makes no sense', async () => {
    await vpn.device.put('etc/wireguard/peers.d/bad.conf', 'rubbish\n');
    expect(listClients(system)).toEqual([]);
    expect(await failure(addClient(system, { name: 'bad' }))).toMatch(/^conflict/);
    await revokeClient(system, 'bad');
    await addClient(system, { name: 'bad' });
  });
});

describe("replacing a client's keys", () => {
  test('hands out the new ones, while the old ones work', async () => {
    const before = await addClient(system, { name: 'phone' });
    const old = await handOver(system, 'phone', false);
    const during = await rotateClient(system, 'phone', { deadline_at: '2999-01-01T00:00:00Z' });
    expect(during).toMatchObject({
      public_key: before.public_key,
      rotation: { deadline_at: '2999-01-01T00:00:00Z', config_held: true },
    });
    const text = await handOver(system, 'phone', true);
    expect(publicKeyOf(value(text, 'PrivateKey'))).toBe(during.rotation?.public_key);
    expect(value(text, 'Address')).toBe(value(old, 'Address'));
    expect(value(text, 'PresharedKey')).not.toBe(value(old, 'PresharedKey'));
    expect(await vpn.interface()).toEqual(
      [
        `${before.public_key} ${value(old, 'PresharedKey')} 10.66.0.2/32,fd66:6761:7465::2/128`,
        `${during.rotation?.public_key} ${value(text, 'PresharedKey')} `,
      ].sort(),
    );
    expect(await failure(rotateClient(system, 'phone', {}))).toMatch(/^conflict/);
    expect(await failure(changeClient(system, 'phone', { name: 'x' }))).toMatch(/^conflict/);
  });

  test('lets changes of the client through meanwhile', async () => {
    await addClient(system, { name: 'phone' });
    await rotateClient(system, 'phone', {});
    await changeClient(system, 'phone', { zones: ['lan'], note: 'mine' });
    expect(await vpn.sets()).not.toContain('vpn_wan4 {');
    // The keys are replaced by another process between reading and writing.
    const peers = at(system, '/etc/wireguard/peers.d');
    const key = publicKeyOf(newPrivateKey()) ?? '';
    const replacing: System = {
      ...system,
      run: async (command, args, options) => {
        if (args[0] === 'put' && args[2] !== key) {
          const text = await peerFile('phone');
          await vpn.device.put(
            'etc/wireguard/peers.d/phone.conf',
            text.replace(/^PublicKey.*$/m, `PublicKey = ${key}`),
          );
        }
        return await system.run(command, args, options);
      },
    };
    await changeClient(replacing, 'phone', { note: 'still mine' });
    expect(await peerFile('phone')).toContain('# note = still mine\n');
    expect(await peerFile('phone')).toContain(`PublicKey = ${key}\n`);
    expect(await readdir(peers)).toContain('phone.next');
  });

  test('is called off', async () => {
    const before = await addClient(system, { name: 'phone' });
    await rotateClient(system, 'phone', {});
    expect(await cancelRotation(system, 'phone')).toEqual(before);
    expect(await vpn.interface()).toHaveLength(1);
    expect(await failure(cancelRotation(system, 'phone'))).toMatch(/^conflict/);
  });
});

describe('hostile words', () => {
  test.each([
    '../server',
    'a b',
    'a;reboot',
    '$(reboot)',
    '-rf',
    'a\nb',
    'Phone',
    '',
    'a'.repeat(33),
    'ａ',
    'phone.conf',
  ])('%j is no name of a client', (name) => {
    expect(clientName.safeParse(name).success).toBe(false);
    expect(peerName.safeParse(name).success).toBe(false);
  });

  test.each(['nobody', '../server', 'owner.conf', '', '__proto__', 'constructor'])(
    '%j is told to be no client',
    async (name) => {
      await expect(handOver(system, name, false)).rejects.toThrow('There is no client');
    },
  );

  test.each([
    'a\nPublicKey = x',
    'a\u0000',
    'a\u2028b',
    'a\u202eb',
    '\ud800',
    'x'.repeat(201),
    'a\rb',
  ])('%j is no note', (text) => expect(note.safeParse(text).success).toBe(false));

  test('of any note that is one change nothing but the note', async () => {
    await addClient(system, { name: 'phone', zones: ['lan'] });
    const before = listClients(system)[0];
    const sets = await vpn.sets();
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.string({ unit: 'grapheme' }),
          fc.constantFrom(
            '# zones = wan',
            'disabled = true',
            '[Peer]',
            '"; flush ruleset; "',
            '} add element inet gateway vpn_wan4 { 10.66.0.9 }',
            "'$(touch /tmp/x)`id`",
            'AllowedIPs = 0.0.0.0/0',
          ),
        ),
        async (text) => {
          const parsed = note.safeParse(text);
          if (!parsed.success) return;
          await changeClient(system, 'phone', { note: parsed.data, zones: ['lan'] });
          expect(listClients(system)[0]).toEqual({ ...before, note: parsed.data });
          expect(await vpn.sets()).toBe(sets);
        },
      ),
      { numRuns: 40 },
    );
  });

  test('as arguments of the verbs are refused by their schemas', () => {
    for (const wish of [
      { name: 'a', zones: ['wan; drop'] },
      { name: 'a', dns: ['9.9.9.9\nPostUp = x'] },
      { name: 'a', addresses: ['10.66.0.2/0'] },
      { name: 'a', expires_at: 'tomorrow' },
      { name: 'a', public_key: 'x'.repeat(44) },
      { name: 'a', public_key: `${'A'.repeat(43)}=` },
      { name: 'a', more: 1 },
    ])
      expect(newClient.safeParse(wish).success, JSON.stringify(wish)).toBe(false);
    expect(vpnVerbs['vpn.add'].args.safeParse({ name: 'a', zones: [] }).success).toBe(true);
  });
});

test('times on the command line are spans, dates or never', () => {
  const now = Date.parse('2026-01-01T12:00:00Z');
  expect(momentOf('30d', now)).toBe('2026-01-31T12:00:00Z');
  expect(momentOf('12h', now)).toBe('2026-01-02T00:00:00Z');
  expect(momentOf('2027-01-31', now)).toBe('2027-01-31T00:00:00Z');
  expect(momentOf('2027-01-31T01:00:00+01:00', now)).toBe('2027-01-31T00:00:00Z');
  expect(momentOf('never', now)).toBeNull();
  for (const text of ['soon', '30', '2027-13-01', '-1d'])
    expect(() => momentOf(text, now)).toThrow();
});

test('what a helper that was killed left without its name, or without its client, goes', async () => {
  const left = [
    'etc/wireguard/clients/.gone.conf.new',
    'etc/wireguard/clients/gone.conf',
    'etc/wireguard/peers.d/.gone.conf.new',
    'etc/wireguard/peers.d/gone.conf.new',
  ];
  for (const file of left) await vpn.device.put(file, 'a key');
  const there = async () =>
    await Promise.all(left.map((file) => read(file).catch(() => undefined)));
  // They may be another's that is being written now.
  await addClient(system, { name: 'one' });
  expect(await there()).toEqual(['a key', 'a key', 'a key', 'a key']);
  const old = Date.now() / 1000 - 120;
  for (const file of left) await utimes(at(system, file), old, old);
  await addClient(system, { name: 'two' });
  expect(await there()).toEqual([undefined, undefined, undefined, undefined]);
  expect(await peerFile('one')).toContain('PublicKey');
});
