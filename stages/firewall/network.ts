import { networkOf, parseCidr } from '../../builder/config/fields.ts';
import type { Chroot } from '../define.ts';
import type { FirewallOptions } from './options.ts';
import { bridgeOf } from './zones.ts';

/** Zones that the gateway serves. */
export const served = ['lan', 'guest', 'dmz'] as const;

type ServedZone = FirewallOptions['zones'][(typeof served)[number]];

const addressesOf = (zone: ServedZone): string[] =>
  [zone.address4, zone.address6].filter((address) => address !== null);

export function hasServedZone(o: FirewallOptions): boolean {
  return served.some((name) => addressesOf(o.zones[name]).length > 0);
}

/** Interfaces that systemd-networkd looks after for the served zones. */
function servedInterfaces(o: FirewallOptions): string[] {
  return served.flatMap((name) => {
    const zone = o.zones[name];
    if (addressesOf(zone).length === 0) return [];
    return [bridgeOf(name, zone), ...zone.interfaces].filter((one) => one !== undefined);
  });
}

/**
 * systemd.network(5), systemd.netdev(5) and resolved.conf(5) files of the served zones, by path: the
 * gateway's address, DHCP, router advertisements and DNS, with what Debian has. The address is there
 * whether or not a cable is, so that what listens on it starts.
 */
export function networkFiles(o: FirewallOptions): Record<string, string> {
  const files: Record<string, string> = {};
  const put = (path: string, lines: readonly string[]) => {
    files[path] = `${lines.join('\n')}\n`;
  };
  const listeners: string[] = [];
  for (const name of served) {
    const zone = o.zones[name];
    const addresses = addressesOf(zone);
    if (addresses.length === 0) continue;
    listeners.push(...addresses.map((address) => address.split('/')[0] ?? ''));
    const bridge = bridgeOf(name, zone);
    const path = `/etc/systemd/network/30-zone-${name}`;
    if (bridge) {
      put(`${path}.netdev`, ['[NetDev]', `Name=${bridge}`, 'Kind=bridge']);
      put(`${path}-ports.network`, [
        ...['[Match]', `Name=${zone.interfaces.join(' ')}`],
        ...['[Link]', 'RequiredForOnline=no'],
        ...['[Network]', `Bridge=${bridge}`, 'LinkLocalAddressing=no'],
      ]);
    }
    const dhcp = zone.dhcp && zone.address4 !== null;
    put(`${path}.network`, [
      ...['[Match]', `Name=${bridge ?? zone.interfaces.join(' ')}`],
      ...['[Link]', 'RequiredForOnline=no'],
      '[Network]',
      ...addresses.map((address) => `Address=${address}`),
      ...['ConfigureWithoutCarrier=yes', 'IPv6AcceptRA=no'],
      `DHCPServer=${dhcp ? 'yes' : 'no'}`,
      `IPv6SendRA=${zone.address6 === null ? 'no' : 'yes'}`,
      ...(dhcp && zone.address4 ? dhcpServer(zone.address4) : []),
      ...(zone.address6 ? advertisement(zone.address6) : []),
    ]);
  }
  if (listeners.length > 0)
    put('/etc/systemd/resolved.conf.d/20-gateway-zones.conf', [
      '# Names for the zones that the gateway serves; the firewall opens port 53 to no other.',
      '[Resolve]',
      ...listeners.map((address) => `DNSStubListenerExtra=${address}`),
    ]);
  return files;
}

/** The upper half of the network, at most 1024 addresses: the lower is for fixed ones. */
function dhcpServer(address: string): string[] {
  const half = 2 ** (31 - (parseCidr(address)?.bits ?? 0));
  return [
    '[DHCPServer]',
    `PoolOffset=${half}`,
    `PoolSize=${Math.min(half - 1, 1024)}`,
    'DNS=_server_address',
    'EmitNTP=no',
  ];
}

function advertisement(address: string): string[] {
  return [
    ...['[IPv6SendRA]', `DNS=${address.split('/')[0]}`],
    ...['[IPv6Prefix]', `Prefix=${networkOf(address)}`],
  ];
}

/**
 * Puts the files on the device. On Raspberry Pi OS NetworkManager has the network: it keeps wan, and
 * systemd-networkd gets the served zones' interfaces and no others.
 */
export async function setUpNetwork(chroot: Chroot, o: FirewallOptions): Promise<void> {
  const files = networkFiles(o);
  for (const [path, content] of Object.entries(files)) await chroot.write(path, content);
  if (!hasServedZone(o) || !(await chroot.exists('/usr/sbin/NetworkManager'))) return;
  const names = servedInterfaces(o);
  await chroot.write(
    '/etc/NetworkManager/conf.d/10-gateway-zones.conf',
    `# systemd-networkd looks after these: /etc/systemd/network/30-zone-*\n[keyfile]\nunmanaged-devices=${names.map((name) => `interface-name:${name}`).join(';')}\n`,
  );
  await chroot.write(
    '/etc/systemd/network/20-not-a-zone.network',
    `# NetworkManager looks after these.\n[Match]\nName=!${names.join(' ')}\n[Link]\nUnmanaged=yes\n`,
  );
  await chroot.run('systemctl', ['enable', 'systemd-networkd.service']);
  // Zones are no way to the internet: nothing may wait for them.
  await chroot.run('systemctl', ['disable', 'systemd-networkd-wait-online.service']);
}
