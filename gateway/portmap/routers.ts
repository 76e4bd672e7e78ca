import { networkInterfaces } from 'node:os';
import { at, readIfThere, type System } from '../../firstboot/system.ts';
import type { ZoneReport } from '../../stages/firewall/zones.ts';
import { defaultRoute, isGlobal6, kindOf } from '../doctor/route.ts';
import type { Interfaces } from '../status/facts.ts';

/** The uplink in one family: the device's own address, and the router that stands before it. */
export type Uplink = {
  family: 4 | 6;
  device: string;
  own: string;
  /** Of IPv6 with its interface, `fe80::1%eth0`; undefined: the line has none. */
  router: string | undefined;
  /** The internet reaches the own address itself; of IPv6 that is usual, but for the router's firewall. */
  direct: boolean;
};

/**
 * The default router of each family, as long as it is on the wan: none of the zones behind the gateway is ever
 * asked for anything.
 */
export async function uplinksOf(
  system: System,
  interfaces: Interfaces = networkInterfaces(),
): Promise<Uplink[]> {
  const inside = await innerInterfaces(system);
  const isOutside = (device: string) =>
    !inside.some((name) =>
      name.endsWith('*') ? device.startsWith(name.slice(0, -1)) : device === name,
    );
  const route4 = await defaultRoute(system);
  const route6 = await defaultRoute6(system);
  const found: Uplink[] = [];
  if (route4 && isOutside(route4.device)) {
    const own = interfaces[route4.device]?.find((one) => one.family === 'IPv4')?.address;
    if (own !== undefined)
      found.push({ family: 4, ...route4, own, direct: kindOf(own) === 'public' });
  }
  if (route6 && isOutside(route6.device)) {
    const own = interfaces[route6.device]?.find(
      (one) => one.family === 'IPv6' && isGlobal6(one.address),
    )?.address;
    if (own !== undefined) found.push({ family: 6, ...route6, own, direct: false });
  }
  return found;
}

async function innerInterfaces(system: System): Promise<string[]> {
  const text = await readIfThere(at(system, '/usr/share/pi-gateway/firewall.json'));
  if (text === undefined) return [];
  const { zones } = JSON.parse(text) as Pick<ZoneReport, 'zones'>;
  return zones.flatMap(({ interfaces }) => interfaces);
}

/** The kernel's default route of IPv6 with the least metric: /proc/net/ipv6_route (net/ipv6/route.c, rt6_seq_show). */
async function defaultRoute6(
  system: System,
): Promise<{ device: string; router: string | undefined } | undefined> {
  const table = (await readIfThere(at(system, '/proc/net/ipv6_route'))) ?? '';
  const routes = table.split('\n').flatMap((line) => {
    const [target, prefix, , , hop = '', metric = '', , , flags = '0', device = ''] = line
      .trim()
      .split(/\s+/);
    // RTF_UP, and not RTF_REJECT: the kernel has an unreachable default route of its own.
    const bits = Number.parseInt(flags, 16);
    if (!/^0{32}$/.test(target ?? '') || prefix !== '00' || !(bits & 1) || bits & 0x200) return [];
    const groups = hop.match(/.{4}/g) ?? [];
    const address = new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
    const router = /^0*$/.test(hop)
      ? undefined
      : address.startsWith('fe80:')
        ? `${address}%${device}`
        : address;
    return [{ device, router, metric: Number.parseInt(metric, 16) }];
  });
  return routes.toSorted((a, b) => a.metric - b.metric)[0];
}
