import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addressIn, parseCidr } from '../config/fields.ts';
import { run } from '../exec.ts';
import { adminUser, bootSeconds, ownerFile } from '../qemu/harness-facts.ts';
import { makeSshKey, type SshKey, type SshTarget, ssh, waitForSsh } from '../qemu/ssh.ts';
import { startVm, type Vm } from '../qemu/vm.ts';
import { connect, hostIn, type LabHost, makeHost, plug, removeNamespaces } from './namespace.ts';

/** Zones that the lab has a wire to; vpn comes by WireGuard, containers live on the device. */
export const wiredZones = ['wan', 'lan', 'guest', 'dmz'] as const;
export type WiredZone = (typeof wiredZones)[number];

/** The gateway's own address with prefix length in a zone, as gateway.yaml has them. */
export type ZoneAddresses = Record<Exclude<WiredZone, 'wan'>, { v4: string; v6: string }>;

/**
 * Addresses of the lab's outside: a home network behind a home router, as most gateways have it,
 * and beyond it an internet of documentation addresses (RFC 5737, RFC 3849).
 */
export const outside = {
  network4: '172.20.0.0/24',
  network6: '2001:db8:2::/64',
  router4: '172.20.0.1',
  router6: '2001:db8:2::1',
  /** The gateway's, by DHCP. */
  gateway4: '172.20.0.2',
  /** The admin, whom the firewall and fail2ban never block. */
  admin4: '172.20.0.10',
  admin6: '2001:db8:2::10',
  /** Addresses for hosts that misbehave: each test takes its own. */
  stranger4: (n: number) => `172.20.0.${100 + n}`,
  stranger6: (n: number) => `2001:db8:2::${100 + n}`,
  /** A server on the internet. */
  server4: '203.0.113.10',
  server6: '2001:db8:ff::10',
  /** A name that the internet's DNS answers with the server's addresses. */
  name: 'www.example.test',
  /** Where a VPN client is: two hops away from the gateway. */
  peer4: '198.51.100.2',
  peer6: '2001:db8:3::2',
} as const;

/** A number of addresses that strangers have. */
const strangers = 30;

/** What the tests of one run share; plain data, so that it can cross into the test's process. */
export type LabFacts = {
  namespaces: Record<WiredZone | 'peer', string>;
  keyDirectory: string;
  publicKey: string;
  vmDirectory: string;
  zones: ZoneAddresses;
};

export type Lab = { facts: LabFacts; vm: Vm; close(): Promise<void> };

const mac = (index: number) => `52:54:00:70:69:${(index + 1).toString(16).padStart(2, '0')}`;

/** The n-th address of a zone's network; the gateway has the first. */
export function hostAddress(
  zone: { v4: string; v6: string },
  n: number,
): { v4: string; v6: string } {
  return { v4: addressIn(zone.v4, n), v6: addressIn(zone.v6, n) };
}

/**
 * Boots the image with a wire to a host in each zone. Everything is in namespaces of its own: no
 * packet of it can leave this machine.
 */
export async function openLab(o: {
  image: string;
  zones: ZoneAddresses;
  kernelArguments?: string;
}): Promise<Lab> {
  await removeNamespaces();
  const folder = await mkdtemp(join(tmpdir(), 'pi-gateway-lab-'));
  const key = await makeSshKey();
  let vm: Vm | undefined;
  const close = async () => {
    await vm?.stop();
    await removeNamespaces();
    await key.remove();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const taps = wiredZones.map((zone, index) => ({
      name: `pg${process.pid.toString(36)}${zone}`,
      mac: mac(index),
    }));
    for (const tap of taps) await run('ip', ['tuntap', 'add', 'dev', tap.name, 'mode', 'tap']);
    vm = await startVm({
      image: o.image,
      diskSize: '4G',
      taps,
      bootFiles: ownerFile(key.publicKey),
      ...(o.kernelArguments === undefined ? {} : { kernelArguments: o.kernelArguments }),
    });
    const hosts: Partial<Record<WiredZone | 'peer', LabHost>> = {};
    for (const [index, zone] of wiredZones.entries()) {
      const tap = taps[index]?.name ?? '';
      const host = await makeHost(zone);
      hosts[zone] = host;
      // The interface stays QEMU's when it moves.
      await run('ip', ['link', 'set', tap, 'netns', host.namespace]);
      await host.run('ip', ['link', 'set', tap, 'name', 'eth0']);
    }
    const { wan, lan, guest, dmz } = hosts as Record<WiredZone, LabHost>;
    const peer = await makeHost('peer');
    await setUpOutside(wan, peer, folder);
    for (const [zone, host] of [
      ['lan', lan],
      ['guest', guest],
      ['dmz', dmz],
    ] as const)
      await setUpInside(host, o.zones[zone]);
    const facts: LabFacts = {
      namespaces: {
        wan: wan.namespace,
        lan: lan.namespace,
        guest: guest.namespace,
        dmz: dmz.namespace,
        peer: peer.namespace,
      },
      keyDirectory: key.directory,
      publicKey: key.publicKey,
      vmDirectory: vm.directory,
      zones: o.zones,
    };
    await vm.whileRunning(waitForSsh(adminTarget(facts), bootSeconds));
    return { facts, vm, close };
  } catch (error) {
    if (vm) process.stderr.write(`${(await vm.consoleText()).slice(-3000)}\n`);
    await close();
    throw error;
  }
}

/** The way in for the admin: from the home network, by the address that DHCP gives. */
export function adminTarget(facts: LabFacts): SshTarget {
  const key: SshKey = {
    directory: facts.keyDirectory,
    path: join(facts.keyDirectory, 'key'),
    publicKey: facts.publicKey,
    remove: async () => undefined,
  };
  return {
    user: adminUser,
    port: 22,
    key,
    host: outside.gateway4,
    namespace: facts.namespaces.wan,
    from: outside.admin4,
  };
}

/** The home router, its DHCP, router advertisements and DNS, and the internet behind it. */
async function setUpOutside(wan: LabHost, peer: LabHost, folder: string): Promise<void> {
  const more = Array.from({ length: strangers }, (_, n) => [
    `${outside.stranger4(n)}/24`,
    `${outside.stranger6(n)}/64`,
  ]).flat();
  await plug(wan, 'eth0', [
    `${outside.router4}/24`,
    `${outside.router6}/64`,
    `${outside.admin4}/24`,
    `${outside.admin6}/64`,
    ...more,
  ]);
  await wan.run('ip', ['address', 'add', `${outside.server4}/32`, 'dev', 'lo']);
  await wan.run('ip', ['address', 'add', `${outside.server6}/128`, 'dev', 'lo']);
  await connect(
    { host: wan, link: 'peer', addresses: ['198.51.100.1/24', '2001:db8:3::1/64'] },
    { host: peer, link: 'eth0', addresses: [`${outside.peer4}/24`, `${outside.peer6}/64`] },
  );
  await peer.run('ip', ['route', 'add', 'default', 'via', '198.51.100.1']);
  await peer.run('ip', ['-6', 'route', 'add', 'default', 'via', '2001:db8:3::1']);
  await wan.run('sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
  const config = join(folder, 'dnsmasq.conf');
  await writeFile(
    config,
    [
      'no-resolv',
      'no-hosts',
      'no-daemon',
      'user=root',
      'interface=eth0',
      'bind-interfaces',
      'log-queries',
      'dhcp-authoritative',
      `dhcp-range=${outside.gateway4},static,255.255.255.0,1h`,
      `dhcp-host=${mac(0)},${outside.gateway4}`,
      `dhcp-leasefile=${join(folder, 'leases')}`,
      'enable-ra',
      `dhcp-range=${outside.network6.replace('/64', '')},ra-stateless,64,1h`,
      `address=/${outside.name}/${outside.server4}`,
      `address=/${outside.name}/${outside.server6}`,
      '',
    ].join('\n'),
  );
  await wan.start('dnsmasq', [`--conf-file=${config}`]).said('started', 10);
}

/** A host of an inner zone: the tenth address, and the gateway as its router. */
async function setUpInside(host: LabHost, zone: { v4: string; v6: string }): Promise<void> {
  const own = hostAddress(zone, 10);
  await plug(host, 'eth0', [
    `${own.v4}/${parseCidr(zone.v4)?.bits}`,
    `${own.v6}/${parseCidr(zone.v6)?.bits}`,
  ]);
  await host.run('ip', ['route', 'add', 'default', 'via', zone.v4.split('/')[0] ?? '']);
  await host.run('ip', ['-6', 'route', 'add', 'default', 'via', zone.v6.split('/')[0] ?? '']);
}

/** The lab's hosts by name, in the process of a test. */
export function labHost(facts: LabFacts, name: WiredZone | 'peer'): LabHost {
  return hostIn(facts.namespaces[name]);
}

/** The address that the gateway has at wan for IPv6, from router advertisements. */
export async function gateway6(facts: LabFacts): Promise<string> {
  const text = await ssh(
    adminTarget(facts),
    `ip -6 -o address show scope global | grep -o '2001:db8:2:[0-9a-f:]*' | tail -n 1`,
  );
  return text.trim();
}

/** Everything that the device's serial console has shown. */
export async function consoleText(facts: LabFacts): Promise<string> {
  return await readFile(join(facts.vmDirectory, 'console.log'), 'utf8').catch(() => '');
}
