import { addressIn, networksOverlap, parseCidr } from '../../builder/config/fields.ts';
import { at, readIfThere, type System, writeDurably } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import type { PeerFile } from './peer-file.ts';

/**
 * Addresses of clients that were revoked, and until when nobody gets them: whoever still has something open
 * with such an address, or a name for it in a log or a DNS cache, means the old client.
 */
const retiredFile = '/etc/wireguard/retired';
const rest = 24 * 60 * 60 * 1000;

export type Networks = { network4: string; network6: string };

const asCidr = (address: string) =>
  address.includes('/') ? address : `${address}/${address.includes(':') ? 128 : 32}`;

/** Whether it is the address of one host, without prefix. */
export function isAddress(text: string): boolean {
  return !text.includes('/') && parseCidr(asCidr(text)) !== undefined;
}

/** Where in the network an address is: 1 is the gateway's own; undefined if it is not in it. */
export function placeIn(network: string, address: string): number | undefined {
  const net = parseCidr(network);
  const one = parseCidr(asCidr(address));
  if (!net || !one || net.family !== one.family) return undefined;
  let place = 0;
  for (const [i, byte] of one.bytes.entries()) {
    const kept = Math.min(8, Math.max(0, net.bits - i * 8));
    const mask = (0xff << (8 - kept)) & 0xff;
    if ((byte & mask) !== ((net.bytes[i] ?? 0) & mask)) return undefined;
    place = place * 256 + (byte & ~mask & 0xff);
  }
  return place;
}

/** Places that clients can have: of IPv4 without network, gateway and broadcast. */
export function lastPlace({ network4, network6 }: Networks): number {
  const room4 = 2 ** (32 - (parseCidr(network4)?.bits ?? 32)) - 2;
  const room6 = 2 ** (128 - (parseCidr(network6)?.bits ?? 128)) - 1;
  return Math.min(room4, room6);
}

/** Places that peers have, in either network; a peer's network takes all of its own. */
function takenPlaces(networks: Networks, peers: Iterable<PeerFile>): Set<number> {
  const taken = new Set<number>();
  const last = lastPlace(networks);
  for (const { allowedIps } of peers)
    for (const one of allowedIps) {
      const network = one.includes(':') ? networks.network6 : networks.network4;
      const place = placeIn(network, one);
      if (place === undefined) continue;
      const { bytes = [], bits = 0 } = parseCidr(asCidr(one)) ?? {};
      const size = 2 ** (bytes.length * 8 - bits);
      for (let at = place; at < Math.min(place + size, last + 1); at++) taken.add(at);
    }
  return taken;
}

export type Retired = ReadonlyMap<string, number>;

/** Addresses that rest, and until when (milliseconds since 1970). */
export async function readRetired(system: System, now = Date.now()): Promise<Map<string, number>> {
  const text = (await readIfThere(at(system, retiredFile))) ?? '';
  return new Map(
    text.split('\n').flatMap((line): [string, number][] => {
      const [address = '', time = ''] = line.split(' ');
      const until = Date.parse(time);
      // A clock that was wrong must not hold an address for years.
      return until > now && until <= now + rest ? [[address, until]] : [];
    }),
  );
}

/** Before the client's file goes: a cut in between holds back an address that is in use, which does no harm. */
export async function retire(system: System, addresses: readonly string[]): Promise<void> {
  const now = Date.now();
  const retired = await readRetired(system, now);
  for (const address of addresses) {
    retired.delete(address);
    retired.set(address, now + rest);
  }
  // The newest, if there are more than anybody revokes in a day.
  const lines = [...retired]
    .slice(-5000)
    .map(([address, until]) => `${address} ${new Date(until).toISOString()}\n`);
  await writeDurably(at(system, retiredFile), lines.join(''), 0o600);
}

export function freePlaces(networks: Networks, peers: Iterable<PeerFile>): number {
  return Math.max(0, lastPlace(networks) - 1 - takenPlaces(networks, peers).size);
}

/**
 * The first place that is free in both networks. If none is but those that rest, the one that has rested
 * longest.
 * @throws GatewayError if the network is full.
 */
export function allocate(
  networks: Networks,
  peers: Iterable<PeerFile>,
  retired: Retired,
): [string, string] {
  const taken = takenPlaces(networks, peers);
  const resting = new Map<number, number>();
  for (const [address, until] of retired) {
    const place = placeIn(address.includes(':') ? networks.network6 : networks.network4, address);
    if (place !== undefined) resting.set(place, Math.max(until, resting.get(place) ?? 0));
  }
  const last = lastPlace(networks);
  for (let place = 2; place <= last; place++)
    if (!taken.has(place) && !resting.has(place)) return pairAt(networks, place);
  const [oldest] = [...resting]
    .filter(([place]) => place >= 2 && place <= last && !taken.has(place))
    .sort((a, b) => a[1] - b[1]);
  if (oldest) return pairAt(networks, oldest[0]);
  throw new GatewayError(
    `The VPN's network ${networks.network4} is full: it has ${Math.max(0, last - 1)} clients`,
    'Revoke some, or build the image with a larger stages.wireguard.network4, e.g. 10.66.0.0/16',
    'conflict',
  );
}

const pairAt = (networks: Networks, place: number): [string, string] => [
  `${addressAt(networks.network4, place)}/32`,
  `${addressAt(networks.network6, place)}/128`,
];

/** The address at a place of a network; also where the place is more than its last byte can say. */
function addressAt(network: string, place: number): string {
  const { bytes: start = [], family } = parseCidr(network) ?? {};
  const bytes = [...start];
  let left = place;
  for (let i = bytes.length - 1; i >= 0; i--) {
    left += bytes[i] ?? 0;
    bytes[i] = left % 256;
    left = Math.floor(left / 256);
  }
  if (family === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, i) =>
    (((bytes[i * 2] ?? 0) << 8) | (bytes[i * 2 + 1] ?? 0)).toString(16),
  );
  return addressIn(`${groups.join(':')}/128`, 0);
}

/**
 * Checks addresses that somebody wishes for.
 * @returns them as AllowedIPs.
 * @throws GatewayError if one is taken, or none that a client can have.
 */
export function checkAddresses(
  networks: Networks,
  wished: readonly string[],
  clients: ReadonlyMap<string, PeerFile>,
): string[] {
  const refuse = (
    message: string,
    fix: string,
    kind: 'refused' | 'conflict' = 'refused',
  ): never => {
    throw new GatewayError(message, fix, kind);
  };
  const range = `in ${networks.network4} and ${networks.network6}; without addresses the gateway takes the next free ones`;
  if (new Set(wished.map((one) => one.includes(':'))).size !== wished.length)
    refuse('A client has at most one address of each family', `Give one ${range}`);
  return wished.map((address) => {
    const network = address.includes(':') ? networks.network6 : networks.network4;
    const place = placeIn(network, address);
    if (place === undefined) return refuse(`${address} is not in ${network}`, `Give one ${range}`);
    const ending = address.includes(':') ? Number.POSITIVE_INFINITY : lastPlace4(network);
    if (place < 2 || place > ending)
      refuse(`${address} is the network's or the gateway's own`, `Give another one ${range}`);
    // Not by their places: a /64 has more than a number can tell apart.
    for (const [name, { allowedIps }] of clients)
      if (allowedIps.some((one) => networksOverlap(one, address)))
        refuse(
          `The client ${name} has the address ${address}`,
          `Give another one ${range}`,
          'conflict',
        );
    return asCidr(address);
  });
}

const lastPlace4 = (network4: string) => 2 ** (32 - (parseCidr(network4)?.bits ?? 32)) - 2;
