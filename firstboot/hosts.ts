import { addressIn } from '../builder/config/fields.ts';
import { readDaemonFacts } from '../gateway/image-facts.ts';
import { vpnFacts } from './image.ts';
import type { System } from './system.ts';

/**
 * Where a gateway is found without any name in the internet's DNS: home.arpa is for homes (RFC 8375), internal
 * for private use (ICANN, 2024). No resolver of others answers for either.
 */
export const localNames = (name: string): string[] => [`${name}.home.arpa`, `${name}.internal`];

/** At the end of each line of hosts(5) that is of a service behind the proxy: gateway/proxy/sites.ts. */
export const hostsMark = '# pi-gateway proxy';

/** Addresses that others reach the dashboard and the API at; none on an image without them. */
export async function servedAddresses(system: System): Promise<string[]> {
  const facts = await readDaemonFacts(system).catch(() => undefined);
  return (facts?.addresses ?? []).filter((one) => one !== '::1' && !one.startsWith('127.'));
}

/**
 * Where VPN clients find the dashboard: by name if it is the gateway that they ask for names, else by its address.
 * @returns undefined on an image without a dashboard or VPN.
 */
export async function dashboardUrl(system: System, name: string): Promise<string | undefined> {
  const facts = await readDaemonFacts(system).catch(() => undefined);
  const vpn = await vpnFacts(system);
  if (!facts?.dashboard || !vpn) return undefined;
  const [local] = localNames(name.toLowerCase());
  const own = addressIn(vpn.network4, 1);
  return `https://${vpn.dns.split(', ').includes(own) ? local : own}:${facts.port}/`;
}

/**
 * hosts(5) with the device's own name. systemd-resolved, which VPN clients and served zones ask, answers by
 * this file, so the name stands there with the addresses that they reach; 127.0.1.1 would lead them to
 * themselves. What the proxy has added for its services stays.
 * @param before the file as it is; other lines stay.
 */
export function hostsWith(before: string, name: string, addresses: readonly string[]): string {
  const isOwn = (line: string) =>
    line.startsWith('127.0.1.1') || addresses.some((one) => line.startsWith(`${one} `));
  const lines = before.split('\n').filter((line) => line !== '');
  const services = lines.filter((line) => line.endsWith(hostsMark));
  const others = lines.filter((line) => !line.endsWith(hostsMark) && !isOwn(line));
  const names = [...localNames(name), name].join(' ');
  const own =
    addresses.length > 0 ? addresses.map((one) => `${one} ${names}`) : [`127.0.1.1 ${name}`];
  return `${[...others, ...own, ...services].join('\n')}\n`;
}
