import { vpnFacts } from '../image.ts';
import type { Step } from '../step.ts';
import { at, readIfThere, type System } from '../system.ts';
import { publicKeyOf } from '../wireguard-keys.ts';

/** The server's key pair, which pi-gateway-wireguard-key.service has made; here it is made sure of. */
export const wireguardKey: Step = {
  name: 'wireguard-key',
  needs: ['entropy'],
  check: async (system) =>
    (await vpnFacts(system)) === undefined || (await serverKey(system)) !== undefined,
  apply: async (system) => {
    await system.run('/usr/lib/pi-gateway/wireguard-key', []);
  },
};

/** The server's public key; undefined unless both halves parse and belong together. */
export async function serverKey(system: System): Promise<string | undefined> {
  const half = async (name: string) =>
    ((await readIfThere(at(system, `/etc/wireguard/${name}`))) ?? '').trim();
  const derived = publicKeyOf(await half('server.key'));
  return derived !== undefined && derived === (await half('server.pub')) ? derived : undefined;
}
