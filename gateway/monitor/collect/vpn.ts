import type { KernelState } from '../../kernel-state.ts';
import type { Sample } from '../catalogue.ts';
import type { Rates } from '../files.ts';

/** WireGuard renews a session that is in use every 2 minutes: within 3, the client is there. */
const alive = 180;

/** Clients with series of their own: those that were there last. */
export const mostClients = 100;

/** Counters of the firewall with series of their own. */
const mostCounters = 48;

/**
 * Who is on the VPN and how much of it.
 * @param time Seconds since 1970, as the kernel's handshakes have it; @param now seconds of a steady clock.
 */
export async function vpnSamples(
  kernel: KernelState,
  names: ReadonlyMap<string, string>,
  rates: Rates,
  time: number,
  now: number,
): Promise<Sample[]> {
  const peers = await kernel.wireguard();
  const active = peers
    .filter((peer) => peer.handshake > 0)
    .toSorted((a, b) => b.handshake - a.handshake)
    .slice(0, mostClients);
  return [
    { measure: 'vpn.clients', value: peers.length },
    {
      measure: 'vpn.connected',
      value: peers.filter((peer) => peer.handshake > time - alive).length,
    },
    ...active.flatMap((peer): Sample[] => {
      const label = names.get(peer.publicKey) ?? peer.publicKey.slice(0, 8);
      const rate = (measure: 'vpn.received' | 'vpn.sent', total: number): Sample => ({
        measure,
        label,
        // By key: a name may be given to another client.
        value: rates.per(`${measure} ${peer.publicKey}`, total, now),
        total,
      });
      return [
        rate('vpn.received', peer.received),
        rate('vpn.sent', peer.sent),
        { measure: 'vpn.handshake', label, value: Math.max(0, time - peer.handshake) },
      ];
    }),
  ];
}

export async function firewallSamples(
  kernel: KernelState,
  rates: Rates,
  now: number,
): Promise<Sample[]> {
  return Object.entries(await kernel.counters())
    .slice(0, mostCounters)
    .map(([label, { packets }]) => ({
      measure: 'firewall.packets',
      label,
      value: rates.per(`firewall ${label}`, packets, now),
      total: packets,
    }));
}
