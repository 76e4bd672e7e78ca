import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeContainer } from '../../builder/lab/container.ts';
import { lab } from '../../builder/lab/harness.ts';
import { gateway6, hostAddress, outside } from '../../builder/lab/lab.ts';
import { listen, send } from '../../builder/lab/traffic.ts';
import {
  makePeerKeys,
  openTunnel,
  type PeerKeys,
  type Tunnel,
} from '../../builder/lab/wireguard-peer.ts';
import { readZoneTable, wrongCells } from '../../builder/lab/zone-cells.ts';

const { facts, peer, ssh, wan, lan, guest, dmz } = lab();
const own = ['10.66.0.2/32', 'fd66:6761:7465::2/128'];
const gatewayIn = { v4: '10.66.0.1', v6: 'fd66:6761:7465::1' };

const addressesOf = (cidrs: readonly string[]) => cidrs.map((cidr) => cidr.split('/')[0] ?? '');

let keys: PeerKeys;
let tunnel: Tunnel;

async function connect(link: string, with_: PeerKeys): Promise<Tunnel> {
  return await openTunnel({
    host: peer,
    folder: facts.keyDirectory,
    link,
    keys: with_,
    addresses: own,
    gateway: {
      publicKey: (await ssh('sudo cat /etc/wireguard/server.pub')).trim(),
      address: outside.gateway4,
      port: 51820,
    },
    via: '198.51.100.1',
  });
}

beforeAll(async () => {
  keys = await makePeerKeys();
  await ssh(
    [
      'sudo tee /etc/wireguard/peers.d/lab.conf > /dev/null <<END',
      '[Peer]',
      `PublicKey = ${keys.publicKey}`,
      `PresharedKey = ${keys.presharedKey}`,
      `AllowedIPs = ${own.join(', ')}`,
      'END',
      'sudo chmod 600 /etc/wireguard/peers.d/lab.conf',
      'sudo /usr/lib/pi-gateway/wireguard-peer load lab',
    ].join('\n'),
  );
});
afterAll(async () => {
  await tunnel?.close();
  await ssh('sudo /usr/lib/pi-gateway/wireguard-peer remove lab');
});

test('a peer that the gateway does not know gets no answer at all, not even an error', async () => {
  const stranger = await connect('wgx', await makePeerKeys());
  await new Promise((resolve) => setTimeout(resolve, 12_000)); // two tries: wireguard sends one each 5 s
  expect(await stranger.received()).toBe(0);
  await stranger.close();
  expect(await send(peer, { protocol: 'udp', to: outside.gateway4, port: 51820, wait: 5 })).toEqual(
    { kind: 'silence' },
  );
});

test('a known peer reaches the gateway, in IPv4 and IPv6', async () => {
  tunnel = await connect('wg0', keys);
  for (const to of Object.values(gatewayIn)) await peer.run('ping', ['-c', '2', '-W', '10', to]);
  expect(await tunnel.received()).toBeGreaterThan(0);
});

test('it gets names from the gateway', async () => {
  const program = `
    import { Resolver } from 'node:dns/promises';
    const resolver = new Resolver({ timeout: 10_000 });
    resolver.setServers([process.argv[1]]);
    console.log(...(await resolver.resolve4('${outside.name}')), ...(await resolver.resolve6('${outside.name}')));`;
  for (const server of [gatewayIn.v4, `[${gatewayIn.v6}]`]) {
    const { stdout } = await peer.run(process.execPath, [
      '--input-type=module',
      '-e',
      program,
      '--',
      server,
    ]);
    expect(stdout.trim()).toBe(`${outside.server4} ${outside.server6}`);
  }
});

test("it reaches the internet, which sees the gateway's addresses and not the peer's", async () => {
  const server = await listen(wan, 8080, [outside.server4, outside.server6]);
  const seen = {
    v4: await send(peer, { protocol: 'tcp', to: outside.server4, port: 8080, wait: 15 }),
    v6: await send(peer, { protocol: 'tcp', to: outside.server6, port: 8080, wait: 15 }),
    udp: await send(peer, { protocol: 'udp', to: outside.server4, port: 8080, wait: 15 }),
  };
  await server.stop();
  expect(seen.v4).toEqual({ kind: 'answer', seenAs: outside.gateway4 });
  expect(seen.v6).toEqual({ kind: 'answer', seenAs: await gateway6(facts) });
  expect(seen.udp).toEqual({ kind: 'answer', seenAs: outside.gateway4 });
});

test('whom it reaches within, and who reaches it, is as the zone table says', async () => {
  const table = await readZoneTable(ssh);
  const port = 7003;
  const mine = await listen(peer, port, addressesOf(own));
  const wrong: string[] = [];
  for (const [zone, host] of Object.entries({ lan, guest, dmz })) {
    const theirs = Object.values(hostAddress(facts.zones[zone as keyof typeof facts.zones], 10));
    const server = await listen(host, port, theirs);
    for (const [from, to, asking, addresses] of [
      ['vpn', zone, peer, theirs],
      [zone, 'vpn', host, addressesOf(own)],
    ] as const) {
      const cells = addresses.map((address) => ({ from, to, address }));
      wrong.push(
        ...(await wrongCells(table, cells, port, (_, question) => send(asking, question))),
      );
    }
    await server.stop();
  }
  await mine.stop();
  expect(wrong).toEqual([]);
});

test('it reaches a container', async () => {
  const container = await makeContainer(ssh, 7004);
  for (const to of Object.values(container.addresses))
    for (const protocol of ['tcp', 'udp'] as const)
      expect(
        (await send(peer, { protocol, to, port: 7004, wait: 20 })).kind,
        `${protocol} ${to}`,
      ).toBe('answer');
  await container.remove();
});

test('a zone that is taken from it ends what it has there within 2 s, and others are not touched', async () => {
  const theirs = hostAddress(facts.zones.lan, 10).v4;
  const server = await listen(lan, 7005, [theirs]);
  const ask = (wait: number) => send(peer, { protocol: 'tcp', to: theirs, port: 7005, wait });
  expect((await ask(15)).kind).toBe('answer');
  const file = '/etc/wireguard/peers.d/lab.conf';
  await ssh(
    `sudo sed -i '1a # zones = wan gateway' ${file}; sudo /usr/lib/pi-gateway/wireguard-peer load lab`,
  );
  expect((await ask(3)).kind).toBe('silence');
  await peer.run('ping', ['-c', '2', '-W', '10', gatewayIn.v4]);
  await ssh(`sudo sed -i 2d ${file}; sudo /usr/lib/pi-gateway/wireguard-peer load lab`);
  expect((await ask(15)).kind).toBe('answer');
  await server.stop();
});

test("large packets pass: the tunnel's MTU fits the path", async () => {
  // 1420 less the IPv4 and ICMP headers; -M do forbids fragments.
  await peer.run('ping', ['-c', '1', '-W', '10', '-M', 'do', '-s', '1392', gatewayIn.v4]);
});
