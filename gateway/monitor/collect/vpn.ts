import type { KernelState, PeerState } from '../../kernel-state.ts';
import type { Sample } from '../catalogue.ts';
import type { Rates } from '../files.ts';

/** WireGuard renews a session that is in use every 2 minutes: within 3, the client is there. */
const alive = 180;

/** Clients with series of their own: those that were there last. */
export const mostClients = 100;

/** Counters of the firewall with series of their own. */
const mostCounters = 48;

/** Seconds after which names are asked for again: a client may have been renamed. */
const namesFresh = 3600;

/** Names by key. Asking for them starts the helper, so it is done rarely, and for keys that are new. */
export class ClientNames {
  readonly #ask: () => Promise<ReadonlyMap<string, string>>;
  #names: ReadonlyMap<string, string> = new Map();
  #asked: ReadonlySet<string> = new Set();
  #due = 0;

  constructor(ask: () => Promise<ReadonlyMap<string, string>>) {
    this.#ask = ask;
  }

  async know(peers: readonly PeerState[], now: number): Promise<void> {
    if (now < this.#due && peers.every(({ publicKey }) => this.#asked.has(publicKey))) return;
    // Also if it fails: it is not asked each time.
    this.#due = now + namesFresh;
    this.#asked = new Set(peers.map(({ publicKey }) => publicKey));
    if (peers.length > 0) this.#names = await this.#ask().catch(() => this.#names);
  }

  /** The name, or the key's beginning if there is none. */
  of({ publicKey }: PeerState): string {
    return this.#names.get(publicKey) ?? publicKey.slice(0, 8);
  }
}

/**
 * Who is on the VPN and how much of it.
 * @param time Seconds since 1970, as the kernel's handshakes have it; @param now seconds of a steady clock.
 */
export async function vpnSamples(
  kernel: KernelState,
  names: ClientNames,
  rates: Rates,
  time: number,
  now: number,
): Promise<Sample[]> {
  const peers = await kernel.wireguard();
  await names.know(peers, now);
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
      const label = names.of(peer);
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
        { measure: 'vpn.handshake', label, value: Math.max(0, Math.round(time - peer.handshake)) },
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
