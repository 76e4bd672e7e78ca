import { at, readIfThere, type System } from '../../firstboot/system.ts';

export type Route = { device: string; router: string | undefined; metric: number };

/** The kernel's default route of IPv4 with the least metric, from proc_pid_net(5); undefined: none. */
export async function defaultRoute(system: System): Promise<Route | undefined> {
  const table = (await readIfThere(at(system, '/proc/net/route'))) ?? '';
  const routes = table.split('\n').flatMap((line): Route[] => {
    const [device = '', destination, router = '', flags = '0', , , metric = '0', mask] = line
      .trim()
      .split(/\s+/);
    // RTF_UP, route(8).
    if (destination !== '00000000' || mask !== '00000000' || !(Number.parseInt(flags, 16) & 1))
      return [];
    // In the machine's byte order, which is little-endian on all that this runs on.
    const bytes = [...Buffer.from(router, 'hex')].reverse();
    const address = bytes.join('.');
    return [
      { device, router: address === '0.0.0.0' ? undefined : address, metric: Number(metric) },
    ];
  });
  return routes.toSorted((a, b) => a.metric - b.metric)[0];
}

/** What an IPv4 address says of the line that it is on. */
export type Kind = 'public' | 'private' | 'shared' | 'ds-lite' | 'link-local';

export function kindOf(address: string): Kind {
  const [a = 0, b = 0, c = 0] = address.split('.').map(Number);
  // RFC 6598: between a provider's NAT and its customers.
  if (a === 100 && b >= 64 && b < 128) return 'shared';
  // RFC 6333, 5.7, and RFC 7335.
  if (a === 192 && b === 0 && c === 0) return 'ds-lite';
  // RFC 3927.
  if (a === 169 && b === 254) return 'link-local';
  // RFC 1918.
  if (a === 10 || (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168)) return 'private';
  return 'public';
}

/** RFC 4291 and RFC 4193: not unique local, not link-local, not loopback. */
export const isGlobal6 = (address: string): boolean => /^[23][0-9a-f]{0,3}:/i.test(address);
