import { isIP } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';

/**
 * Whether a Host header names this gateway. A page of another site whose name is made to lead here (DNS
 * rebinding) comes with that name; the browser takes its requests for the page's own, so only this stops them.
 */
export function isOwnHost(
  header: string | undefined,
  names: ReadonlySet<string>,
  localAddress: string | undefined,
): boolean {
  const host = hostOf(header);
  if (host === undefined) return false;
  if (isIP(host) === 0) return names.has(host) || names.has(host.replace(/\.$/, ''));
  const bare = plain(host);
  if (localAddress !== undefined && plain(localAddress) === bare) return true;
  return Object.values(networkInterfaces()).some((list) =>
    list?.some(({ address }) => plain(address) === bare),
  );
}

/** Names by which any gateway is reached, besides those of its certificate and settings. */
export function usualNames(): string[] {
  const name = hostname().toLowerCase();
  return ['localhost', name, `${name}.local`];
}

/** Without the port, in small letters; RFC 9110 §7.2. */
function hostOf(header: string | undefined): string | undefined {
  const match = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9_.-]+))(?::\d{1,5})?$/i.exec(header ?? '');
  return (match?.[1] ?? match?.[2])?.toLowerCase();
}

/** One way of writing for each address; IPv4 that came over an IPv6 socket is IPv4. */
function plain(address: string): string {
  const bare = address
    .toLowerCase()
    .replace(/%.*$/, '')
    .replace(/^::ffff:(?=\d+\.)/, '');
  return isIP(bare) === 6 ? new URL(`http://[${bare}]`).hostname.slice(1, -1) : bare;
}
