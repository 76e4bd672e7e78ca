import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { project } from '../../builder/testing/build.ts';
import { type Networks, openNetworks } from '../../builder/testing/networks.ts';
import { newPrivateKey, publicKeyOf } from '../../firstboot/wireguard-keys.ts';
import { clientZones } from '../firewall/zones.ts';
import { renderStage } from '../testing.ts';
import { wireguard } from './stage.ts';

/**
 * /usr/lib/pi-gateway/wireguard-server with real WireGuard servers and clients (wireguard-go, as this kernel may
 * have none), nft and routes, in network namespaces of the test's own: a gateway and two clients.
 */

const programs = join(project, 'overlays/wireguard/usr/lib/pi-gateway');
const psk = Buffer.alloc(32, 7).toString('base64');
const oldKey = newPrivateKey();
const newKey = newPrivateKey();
const clients = {
  c0: { name: 'phone', key: newPrivateKey(), address: '10.66.0.9', outside: '192.0.2.2' },
  c1: { name: 'laptop', key: newPrivateKey(), address: '10.66.0.10', outside: '192.0.2.3' },
} as const;
type Client = keyof typeof clients;

let networks: Networks;
let folder = '';
/** wg0.conf, as the image has it. */
let configuration = '';
/** A copy of the programs whose steps a test can cut off: before each change of the card. */
let tools = '';
const etc = () => join(folder, 'wireguard');
const sh = (command: string, where = 'gw', okCodes = [0]) =>
  networks.run(
    where,
    [
      ...['env', `PEERS=${etc()}/peers.d`, `RUN=${folder}/run`, `SETTINGS=${folder}/env`],
      ...['PAUSE=0.1', `PATH=${tools}:/usr/sbin:/usr/bin:/sbin:/bin`, 'sh', '-eu', '-c', command],
    ],
    { okCodes },
  );
const server = (word: string, okCodes = [0]) =>
  sh(`sh ${programs}/wireguard-server ${word}`, 'gw', okCodes);
const peer = (words: string) => sh(`sh ${programs}/wireguard-peer ${words}`);
const wg = async (words: string) => (await sh(`wg show ${words}`)).stdout.trim();
const file = (name: string) => readFile(join(etc(), name), 'utf8').catch(() => undefined);
const ports = async () =>
  (await sh('nft list set inet gateway wireguard_ports')).stdout.match(/\b5\d{4}\b/g);
const hasSecond = async () =>
  (await sh('test -e /sys/class/net/wg0next', 'gw', [0, 1])).exitCode === 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-server-'));
  tools = join(folder, 'tools');
  await mkdir(tools);
  const files = await renderStage(wireguard);
  await writeFile(join(folder, 'env'), files.text('/usr/share/pi-gateway/wireguard.env'));
  configuration = files.text('/etc/wireguard/wg0.conf');
  await writeFile(
    join(folder, 'rules.nft'),
    `table inet gateway
delete table inet gateway
table inet gateway {
${clientZones.map((zone) => `set vpn_${zone}4 { type ipv4_addr; }\nset vpn_${zone}6 { type ipv6_addr; }`).join('\n')}
set wireguard_ports { type inet_service; elements = { 51820 } }
chain sources { type filter hook prerouting priority raw; iifname "wg0*" fib saddr . iif oif missing drop; }
chain input { type filter hook input priority filter; policy drop; iifname "wg0*" accept; iif lo accept; ct state established accept; udp dport @wireguard_ports accept; }
}`,
  );
  networks = await openNetworks();
  await networks.sh(`
    mkdir -p /run/wireguard
    ip netns add gw
    ip -n gw link add br0 type bridge
    ip -n gw address add 192.0.2.1/24 dev br0
    ip -n gw link set br0 up
    ip -n gw link set lo up
    for one in c0 c1; do
      ip netns add $one
      ip -n gw link add to$one type veth peer name eth0 netns $one
      ip -n gw link set to$one master br0 up
      ip -n $one link set lo up
      ip -n $one link set eth0 up
    done
    ip -n c0 address add 192.0.2.2/24 dev eth0
    ip -n c1 address add 192.0.2.3/24 dev eth0
  `);
  await sh(`nft -f ${folder}/rules.nft`);
  for (const [one, { address }] of Object.entries(clients))
    await sh(
      `wireguard-go w${one} > /dev/null 2>&1; ip address add ${address}/24 dev w${one}; ip link set w${one} up`,
      one,
    );
});
afterAll(async () => {
  await networks?.close();
  if (folder) await rm(folder, { recursive: true });
});

/** As at a start of the gateway: what is in the kernel is gone, the card is as it is. */
async function start(): Promise<void> {
  await stop();
  await rm(join(folder, 'run'), { recursive: true, force: true });
  await sh(`nft -f ${folder}/rules.nft`);
  await server('recover');
  await server('start');
}
async function stop(): Promise<void> {
  await sh(`sh ${programs}/wireguard-server stop 2> /dev/null || :`);
  await expect.poll(() => sh('ls /run/wireguard').then((r) => r.stdout)).not.toContain('wg0');
}

beforeEach(async () => {
  await rm(etc(), { recursive: true, force: true });
  await mkdir(join(etc(), 'peers.d'), { recursive: true });
  await writeFile(join(etc(), 'wg0.conf'), configuration);
  await writeFile(join(etc(), 'server.key'), `${oldKey}\n`);
  await writeFile(join(etc(), 'server.pub'), `${publicKeyOf(oldKey)}\n`);
  for (const { name, key, address } of Object.values(clients))
    await writeFile(
      join(etc(), `peers.d/${name}.conf`),
      `[Peer]\nPublicKey = ${publicKeyOf(key)}\nPresharedKey = ${psk}\nAllowedIPs = ${address}/32\n`,
    );
  await start();
});
afterEach(stop);

test('its start gives wg0 its addresses, MTU, port and peers', async () => {
  const [{ mtu, addr_info }] = JSON.parse((await sh('ip -json address show wg0')).stdout);
  expect(mtu).toBe(1420);
  const addresses = (addr_info as { scope: string; local: string; prefixlen: number }[])
    .filter(({ scope }) => scope === 'global')
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`);
  expect(addresses.toSorted()).toEqual(['10.66.0.1/24', 'fd66:6761:7465::1/64']);
  expect(await wg('wg0 listen-port')).toBe('51820');
  expect(await wg('wg0 public-key')).toBe(publicKeyOf(oldKey));
  expect((await wg('wg0 peers')).split('\n')).toHaveLength(2);
  expect((await sh('ip -json link show up dev wg0')).stdout).toContain('"wg0"');
});

test('a start that fails leaves no interface without its key', async () => {
  await stop();
  await rm(join(etc(), 'server.key'));
  const failed = await server('start', [1]);
  expect(failed.stderr).toContain('server.key');
  await expect.poll(() => sh('ls /sys/class/net').then((r) => r.stdout)).not.toContain('wg0');
});

/** Gives a client the file that names this key of the server. */
async function use(client: Client, key: string, port: number): Promise<void> {
  const path = join(folder, `${client}.conf`);
  await writeFile(
    path,
    `[Interface]\nPrivateKey = ${clients[client].key}\n[Peer]\nPublicKey = ${publicKeyOf(key)}\nPresharedKey = ${psk}\nEndpoint = 192.0.2.1:${port}\nAllowedIPs = 10.66.0.0/24\n`,
  );
  await sh(`wg setconf w${client} ${path}`, client);
}
const reaches = async (client: Client, seconds = 8) =>
  (
    await sh(
      `for i in $(seq ${seconds * 2}); do ping -c 1 -W 0.5 10.66.0.1 > /dev/null && exit 0; done; exit 1`,
      client,
      [0, 1],
    )
  ).exitCode === 0;
/** From the gateway to the client: it is routed where the client is. */
const isReached = async (client: Client) =>
  (await sh(`ping -c 1 -W 2 ${clients[client].address}`, 'gw', [0, 1])).exitCode === 0;

const next = (lines = '') =>
  writeFile(
    join(etc(), 'server.next'),
    `phase=overlap\nport=51821\nkey=${newKey}\nstarted=2026-01-01T00:00:00Z\n${lines}`,
  );
async function begin(lines = ''): Promise<void> {
  await next(lines);
  await server('begin');
}

describe("replacing the server's key", () => {
  test('cuts nobody off: old files work, new files work, and the end is that of the old key alone', async () => {
    await use('c0', oldKey, 51820);
    await use('c1', oldKey, 51820);
    expect(await reaches('c0')).toBe(true);
    expect(await ports()).toEqual(['51820']);

    await begin();
    expect(await ports()).toEqual(['51820', '51821']);
    expect(await wg('wg0 public-key')).toBe(publicKeyOf(oldKey));
    expect(await wg('wg0next public-key')).toBe(publicKeyOf(newKey));
    const following = server('follow');
    expect(await reaches('c0')).toBe(true);
    expect(await reaches('c1')).toBe(true);

    // The one takes its new file; the other does not, and is not disturbed.
    await use('c0', newKey, 51821);
    expect(await reaches('c0')).toBe(true);
    expect(await isReached('c0')).toBe(true);
    expect(await reaches('c1')).toBe(true);
    expect(await isReached('c1')).toBe(true);
    expect(await file('server.moved')).toBe(`${publicKeyOf(clients.c0.key)}\n`);
    expect(await readFile(join(folder, 'run/vpn/server'), 'utf8')).toContain('waiting=laptop\n');

    // It goes back to its old file, and over again: it is where it was heard last.
    await use('c0', oldKey, 51820);
    await new Promise((resolve) => setTimeout(resolve, 1100));
    expect(await reaches('c0')).toBe(true);
    expect(await file('server.moved')).toBe('');
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await use('c0', newKey, 51821);
    expect(await reaches('c0')).toBe(true);

    // The last one moves over, and the overlap ends by itself.
    await use('c1', newKey, 51821);
    expect(await reaches('c1')).toBe(true);
    await following;
    expect(await hasSecond()).toBe(false);
    expect(await wg('wg0 public-key')).toBe(publicKeyOf(newKey));
    expect(await wg('wg0 listen-port')).toBe('51821');
    expect(await ports()).toEqual(['51821']);
    expect((await file('server.key'))?.trim()).toBe(newKey);
    expect((await file('server.pub'))?.trim()).toBe(publicKeyOf(newKey));
    expect((await stat(join(etc(), 'server.key'))).mode & 0o777).toBe(0o600);
    expect(await file('server.next')).toBeUndefined();
    expect((await sh('ip rule show')).stdout).not.toContain('6620');
    // The gateway has called both back: no wait for a time-out of 15 s.
    expect(await reaches('c0', 3)).toBe(true);
    expect(await reaches('c1', 3)).toBe(true);
    // The old key opens nothing any more.
    await use('c0', oldKey, 51820);
    expect(await reaches('c0', 2)).toBe(false);
    // And it stays so.
    await start();
    expect(await wg('wg0 listen-port')).toBe('51821');
    await use('c0', newKey, 51821);
    expect(await reaches('c0')).toBe(true);
  }, 90_000);

  test('goes on over a restart of the gateway, with who had moved', async () => {
    await begin();
    const following = sh(
      `echo $$ > ${folder}/pid; exec sh ${programs}/wireguard-server follow`,
      'gw',
      [0, 143],
    ).catch(() => undefined);
    await use('c0', newKey, 51821);
    expect(await reaches('c0')).toBe(true);
    await sh(`kill $(cat ${folder}/pid)`);
    await following;
    await start();
    expect(await ports()).toEqual(['51820', '51821']);
    expect((await sh('ip route show table 6620')).stdout).toContain('10.66.0.9 dev wg0next');
    await use('c1', oldKey, 51820);
    expect(await reaches('c1')).toBe(true);
    // It finds out that its session is gone: REKEY_TIMEOUT and KEEPALIVE_TIMEOUT of WireGuard, 15 s.
    expect(await reaches('c0', 25)).toBe(true);
  }, 60_000);

  test('ends at its deadline, and says who is cut off', async () => {
    await begin('deadline=2026-01-01T00:00:00Z\n');
    expect(await hasSecond()).toBe(false);
    expect(await wg('wg0 public-key')).toBe(publicKeyOf(newKey));
    expect(await file('server.port')).toMatch(
      /^port=51821\nended=20\d\d-\d\d-\d\dT[\d:]{8}Z\ncut_off=laptop phone\n$/,
    );
    expect(await readFile(join(folder, 'run/vpn/server'), 'utf8')).toMatch(/cut_off=laptop phone/);
    await use('c0', newKey, 51821);
    expect(await reaches('c0')).toBe(true);
  }, 60_000);

  test('is not ended by a start whose peers are not loaded yet', async () => {
    await next();
    await sh(
      `rm -f ${folder}/run/vpn/active; wg show wg0 peers | xargs -n 1 -I{} wg set wg0 peer {} remove`,
    );
    await server('begin');
    expect(await file('server.next')).toBeDefined();
    expect((await wg('wg0next peers')).split('\n')).toHaveLength(2);
  });

  test('is called off: the old key alone is left', async () => {
    await use('c0', oldKey, 51820);
    await begin();
    await server('cancel');
    expect(await hasSecond()).toBe(false);
    expect(await ports()).toEqual(['51820']);
    expect((await readdir(etc())).sort()).toEqual([
      'peers.d',
      'server.key',
      'server.pub',
      'wg0.conf',
    ]);
    expect(await reaches('c0')).toBe(true);
    expect((await server('finish', [0, 1])).stderr).toContain('not being replaced');
  });

  test('follows changes of clients: who is revoked is gone from both, who is new is on both', async () => {
    await begin();
    await peer('remove laptop');
    expect(await wg('wg0next peers')).toBe(publicKeyOf(clients.c0.key));
    await peer(`add tablet ${publicKeyOf(newPrivateKey())} 10.66.0.11`).then(({ stdout }) => {
      expect(stdout).toContain(`PublicKey = ${publicKeyOf(newKey)}\n`);
      expect(stdout).toContain('Endpoint = ...:51821\n');
    });
    expect(await wg('wg0next allowed-ips')).toContain('10.66.0.11/32');
    expect(await wg('wg0 allowed-ips')).toContain('10.66.0.11/32');
  });

  test("takes a client's own new keys along, used with the server's new key", async () => {
    await begin();
    const fresh = newPrivateKey();
    await writeFile(
      join(etc(), 'peers.d/phone.next'),
      `[Peer]\nPublicKey = ${publicKeyOf(fresh)}\nPresharedKey = ${psk}\n`,
    );
    await peer('load phone');
    const both = Promise.all([server('follow'), peer('follow')]);
    await use('c0', newKey, 51821);
    await sh(
      `printf %s '${fresh}' > ${folder}/fresh; wg set wc0 private-key ${folder}/fresh`,
      'c0',
    );
    expect(await reaches('c0')).toBe(true);
    expect(await file('peers.d/phone.conf')).toContain(publicKeyOf(fresh));
    await expect.poll(() => file('server.moved')).toBe(`${publicKeyOf(fresh)}\n`);
    await peer('remove laptop');
    await both;
    expect(await wg('wg0 public-key')).toBe(publicKeyOf(newKey));
    expect(await reaches('c0', 3)).toBe(true);
  }, 60_000);
});

/** Has a shell command run before each program that changes the card. */
async function beforeEachChange(command: string): Promise<void> {
  for (const name of ['mv', 'rm', 'sync'])
    await writeFile(join(tools, name), `#!/bin/sh\n${command}\nexec /bin/${name} "$@"\n`, {
      mode: 0o755,
    });
}
async function undisturbed(): Promise<void> {
  for (const name of ['mv', 'rm', 'sync']) await rm(join(tools, name));
}

describe('a power cut at any instant', () => {
  test.each([
    ['while it is finished', 'finish'],
    ['while it is called off', 'cancel'],
  ])(
    '%s leaves the old key or the new one, with its port',
    async (_, word) => {
      await begin();
      const cuts = join(folder, `cuts-${word}`);
      await mkdir(cuts);
      await beforeEachChange(
        `[ -n "\${QUIET:-}" ] || QUIET=1 cp -a ${etc()} ${cuts}/$(date +%s%N)`,
      );
      await server(word);
      await undisturbed();
      const names = (await readdir(cuts)).sort();
      expect(names.length).toBeGreaterThan(word === 'finish' ? 9 : 2);
      const seen = new Set<string>();
      for (const name of names) {
        await rm(etc(), { recursive: true });
        await cp(join(cuts, name), etc(), { recursive: true });
        await start();
        const overlap = await hasSecond();
        const state = `${(await wg('wg0 public-key')) === publicKeyOf(newKey) ? 'new' : 'old'} ${await wg('wg0 listen-port')}${overlap ? ' both' : ''}`;
        seen.add(state);
        expect(
          word === 'finish' ? ['old 51820 both', 'new 51821'] : ['old 51820 both', 'old 51820'],
          name,
        ).toContain(state);
        expect(await file('server.pub'), name).toBe(`${await wg('wg0 public-key')}\n`);
        expect(await ports(), name).toEqual(overlap ? ['51820', '51821'] : [state.split(' ')[1]]);
      }
      expect(seen.size).toBe(2);
    },
    120_000,
  );

  test.each(['finish', 'cancel'])(
    'a %s that is killed at any step is done to its end by what watches',
    async (word) => {
      await begin();
      const before = join(folder, `before-${word}`);
      await cp(etc(), before, { recursive: true });
      for (let step = 1; step < 40; step++) {
        await rm(join(folder, 'count'), { force: true });
        await beforeEachChange(
          `echo >> ${folder}/count; if [ $(wc -l < ${folder}/count) -eq ${step} ]; then kill -9 $PPID; exit 1; fi`,
        );
        const { exitCode } = await server(word, [0, 1, 137]).catch(() => ({ exitCode: 137 }));
        await undisturbed();
        if (exitCode === 0) return expect(step).toBeGreaterThan(4);
        // As systemd does: the path unit while server.next is there, the timer each minute.
        if (
          (await file('server.next')) !== undefined &&
          /phase=finish/.test((await file('server.next')) ?? '')
        )
          await server('begin');
        await peer('expire');
        const state = `${(await wg('wg0 public-key')) === publicKeyOf(newKey) ? 'new' : 'old'} ${await wg('wg0 listen-port')}${(await hasSecond()) ? ' both' : ''}`;
        expect(['old 51820 both', 'new 51821', 'old 51820'], `step ${step}`).toContain(state);
        expect(await ports(), `step ${step}`).toEqual(
          state.includes('both') ? ['51820', '51821'] : [state.split(' ')[1]],
        );
        expect((await wg('wg0 peers')).split('\n'), `step ${step}`).toHaveLength(2);
        await rm(etc(), { recursive: true });
        await cp(before, etc(), { recursive: true });
        await start();
      }
      throw new Error('it never ends');
    },
    120_000,
  );
});
