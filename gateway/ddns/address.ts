import { BlockList, isIP } from 'node:net';

/** Version of the Internet Protocol: 4 is an A record, 6 an AAAA record. */
export type Family = 4 | 6;

export const families: readonly Family[] = [4, 6];

export const recordType = (family: Family): 'A' | 'AAAA' => (family === 4 ? 'A' : 'AAAA');

/** What an address is when it is none of the internet's, for people. */
type Kind = { name: string; networks: readonly string[] };

/** IANA's special-purpose address registries (RFC 6890), as far as no host on the internet is reached by them. */
const special: readonly Kind[] = [
  { name: "of a carrier's NAT (RFC 6598)", networks: ['100.64.0.0/10'] },
  { name: 'private (RFC 1918)', networks: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'] },
  { name: 'private (RFC 4193)', networks: ['fc00::/7'] },
  { name: 'link-local', networks: ['169.254.0.0/16', 'fe80::/10'] },
  { name: 'loopback', networks: ['127.0.0.0/8', '::1/128'] },
  {
    name: 'for documentation',
    networks: [
      '192.0.2.0/24',
      '198.51.100.0/24',
      '203.0.113.0/24',
      '2001:db8::/32',
      '3fff::/20', // RFC 9637
    ],
  },
  { name: 'for benchmarks', networks: ['198.18.0.0/15', '2001:2::/48'] },
  { name: 'of a tunnel (6to4, Teredo)', networks: ['192.88.99.0/24', '2002::/16', '2001::/32'] },
  { name: 'multicast', networks: ['224.0.0.0/4', 'ff00::/8'] },
  {
    name: 'reserved',
    networks: ['0.0.0.0/8', '192.0.0.0/24', '240.0.0.0/4', '2001:10::/28', '2001:20::/28'],
  },
];

const lists = special.map(({ name, networks }) => ({ name, list: blockList(networks) }));

/** RFC 4291: what of IPv6 is given out as global unicast. */
const globalUnicast = blockList(['2000::/3']);

function blockList(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', bits] = network.split('/');
    list.addSubnet(address, Number(bits), address.includes(':') ? 'ipv6' : 'ipv4');
  }
  return list;
}

export function familyOf(address: string): Family | undefined {
  const version = isIP(address);
  return version === 4 || version === 6 ? version : undefined;
}

/** One spelling for each address (RFC 5952), or undefined if the text is none. */
export function canonical(text: string): string | undefined {
  const family = familyOf(text);
  if (family === undefined || text.includes('%')) return undefined;
  return family === 4 ? text : new URL(`http://[${text}]`).hostname.slice(1, -1);
}

/** Says of an address that the internet cannot reach what it is, e.g. 'private (RFC 1918)'; undefined of a public one. */
export function specialKind(address: string): string | undefined {
  const family = familyOf(address);
  if (family === undefined) return 'no address';
  const type = family === 4 ? 'ipv4' : 'ipv6';
  const kind = lists.find(({ list }) => list.check(address, type));
  if (kind) return kind.name;
  return family === 6 && !globalUnicast.check(address, 'ipv6') ? 'reserved' : undefined;
}

/** Carriers share these among customers; nobody reaches the gateway from outside (RFC 6598). */
export function isCarrierNat(address: string): boolean {
  return specialKind(address) === special[0]?.name;
}
