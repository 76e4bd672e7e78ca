import { isGlobal6, kindOf } from '../doctor/route.ts';
import type { PeerState } from '../kernel-state.ts';
import type { Reached } from './view.ts';

/**
 * Proof that the way in works: the latest handshake of a VPN client whose packets came from the internet, and not
 * by way of the router's own address (hairpin).
 */
export function reachedBy(peers: readonly PeerState[], routers: readonly string[]): Reached {
  const outside = peers.flatMap(({ endpoint, handshake }) => {
    const address = /^\[?([0-9a-f.:]+?)\]?:\d+$/i.exec(endpoint ?? '')?.[1];
    if (address === undefined || handshake === 0 || routers.includes(address)) return [];
    const isPublic = address.includes(':') ? isGlobal6(address) : kindOf(address) === 'public';
    return isPublic ? [{ handshake, address }] : [];
  });
  const last = outside.toSorted((a, b) => b.handshake - a.handshake)[0];
  return last ? { at: new Date(last.handshake * 1000).toISOString(), from: last.address } : null;
}
