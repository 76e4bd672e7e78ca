import type { System } from '../../firstboot/system.ts';
import type { MtuReport } from './view.ts';

/** The largest packet that gets through a path whole, and what is left of it inside the VPN. */

/** Bytes around the payload of an echo request: header of IP and of ICMP. */
const pingHeaders = { 4: 20 + 8, 6: 40 + 8 } as const;

/** Bytes that WireGuard adds: header of IP and of UDP, and its own 16 and 16 (WireGuard's paper, 5.4.6). */
export const vpnOverhead = { 4: 20 + 8 + 32, 6: 40 + 8 + 32 } as const;

/** RFC 8200, 5: what every link of IPv6 carries; less is none of the internet's. */
const least = 1280;
const most = 1500;

const familyOf = (address: string): 4 | 6 => (address.includes(':') ? 6 : 4);

type Found = Pick<MtuReport['paths'][number], 'by' | 'mtu'>;

/**
 * Looks for the path's MTU: by echo requests that may not be cut up (RFC 8899's way: what is answered has got
 * there), or where the far end answers none, by what routers on the way tell (tracepath(8)).
 */
export async function pathMtu(system: System, address: string): Promise<Found> {
  /** What a router has told of a smaller link, by the kernel's refusal to send more. */
  let told: number | undefined;
  const passes = async (size: number): Promise<boolean> => {
    const data = String(size - pingHeaders[familyOf(address)]);
    const args = ['-n', '-M', 'do', '-c', '1', '-W', '1', '-s', data, address];
    // One may be lost for another reason.
    for (let left = 2; left > 0; left -= 1) {
      const refusal = await system.run('ping', args, { timeout: 10_000 }).then(
        () => undefined,
        (error: unknown) => String(error),
      );
      if (refusal === undefined) return true;
      const limit = /mtu[:=] ?(\d+)/.exec(refusal)?.[1];
      if (limit === undefined) continue;
      told = Number(limit);
      return false;
    }
    return false;
  };
  if (!(await passes(least))) return await byRouters(system, address);
  if (await passes(most)) return { by: 'ping', mtu: most };
  let [low, high] = [least, most];
  const hint: number | undefined = told;
  if (hint !== undefined && hint > low && hint < high) {
    if (await passes(hint)) low = hint;
    else high = hint;
    // More may get through: the kernel remembers for ten minutes what a router has told of an older way.
    if (low === hint && !(await passes(hint + 1))) high = hint + 1;
  }
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (await passes(middle)) low = middle;
    else high = middle;
  }
  return { by: 'ping', mtu: low };
}

async function byRouters(system: System, address: string): Promise<Found> {
  const text = await system
    .run('tracepath', ['-n', '-m', '12', address], { timeout: 40_000 })
    .catch(() => '');
  const told = [...text.matchAll(/pmtu (\d{3,5})/g)].map((one) => Number(one[1]));
  // The first line is the own link's MTU; without an answer from farther away nothing is known.
  const isAnswered = text
    .split('\n')
    .some((line) => /^\s*\d+:\s+[0-9a-f]+[.:]/.test(line) && !line.includes('!'));
  const smallest = Math.min(...told);
  return isAnswered && Number.isFinite(smallest)
    ? { by: 'routers', mtu: smallest }
    : { by: null, mtu: null };
}

/** The report for some far ends: what the VPN's MTU should be is what fits all of them. */
export async function probeMtu(
  system: System,
  addresses: readonly string[],
  current: number | null,
  now = new Date(),
): Promise<MtuReport> {
  const paths: MtuReport['paths'] = [];
  for (const address of addresses) {
    const found = await pathMtu(system, address);
    const left = found.mtu === null ? null : found.mtu - vpnOverhead[familyOf(address)];
    paths.push({ address, ...found, vpn_mtu: left });
  }
  const known = paths.flatMap((one) => one.vpn_mtu ?? []);
  return {
    checked_at: now.toISOString(),
    paths,
    current,
    suggestion: known.length === 0 ? null : Math.max(least, Math.min(...known)),
  };
}
