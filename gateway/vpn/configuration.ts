import { clientFolder } from '../../firstboot/steps/wireguard-client.ts';
import { at, readIfThere, type System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import type { PeerFile } from './peer-file.ts';
import { endpointOf, networksOf, readServer, type Server } from './server.ts';
import { readClients } from './store.ts';

/** Where a client's private key waits until it is handed over; `next`: that of keys that are to come. */
export const holderPath = (name: string, kind: 'conf' | 'next'): string =>
  `${clientFolder}/${name}.${kind}`;

/** In place of a private key that only the client has. */
const keptByClient = '# PrivateKey = the one that the client has made';

/**
 * A client's configuration: wg-quick(8). It is made anew each time, of what is known now; only its private
 * key, and where it looked for the gateway, come from what was stored.
 */
export async function clientConfiguration(
  system: System,
  server: Server,
  o: {
    peer: PeerFile;
    presharedKey: string | undefined;
    privateKey: string | undefined;
    endpoint?: string | undefined;
  },
): Promise<string> {
  const { facts, settings, publicKey } = server;
  if (publicKey === undefined)
    throw new GatewayError(
      'The server has no whole key pair in /etc/wireguard',
      'Make one: sudo systemctl restart pi-gateway-wireguard-key.service',
    );
  const { host, port } = await endpointOf(system, server, o.endpoint);
  const dns = o.peer.dns?.join(', ') ?? settings.dns?.join(', ') ?? facts.dns;
  const through =
    o.peer.tunnel === 'full'
      ? ['0.0.0.0/0', '::/0']
      : await networksOf(system, server, o.peer.zones);
  return [
    '[Interface]',
    o.privateKey === undefined ? keptByClient : `PrivateKey = ${o.privateKey}`,
    `Address = ${o.peer.allowedIps.join(', ')}`,
    ...(dns === '' ? [] : [`DNS = ${dns}`]),
    ...[`MTU = ${settings.mtu ?? facts.mtu}`, ''],
    ...['[Peer]', `PublicKey = ${publicKey}`],
    ...(o.presharedKey === undefined ? [] : [`PresharedKey = ${o.presharedKey}`]),
    `Endpoint = ${host.includes(':') ? `[${host}]` : host}:${port}`,
    `AllowedIPs = ${through.join(', ')}`,
    ...(settings.keepalive > 0 ? [`PersistentKeepalive = ${settings.keepalive}`] : []),
    '',
  ].join('\n');
}

export type Configuration = {
  text: string;
  /** False if only the client has it. */
  hasPrivateKey: boolean;
  /** Of the keys that it is of. */
  publicKey: string;
  /** The file with the private key, on the device. */
  holder: string;
};

/**
 * A client's configuration, of its new keys if those are to come.
 * @throws GatewayError if there is no such client, or the device does not have its private key.
 */
export async function readConfiguration(system: System, name: string): Promise<Configuration> {
  const { peers, coming, names } = readClients(system);
  const peer = peers.get(name);
  if (!peer) throw noClient(name, names);
  const next = coming.get(name);
  const holder = holderPath(name, next ? 'next' : 'conf');
  const stored = await readIfThere(at(system, holder));
  if (stored === undefined)
    throw new GatewayError(
      `The private key of '${name}' is not on this device: it was made elsewhere, or forgotten`,
      `Take it from the client, or give it new keys: sudo pi-gateway vpn rotate ${name}`,
      'conflict',
    );
  const value = (key: string) => new RegExp(`^${key} = (.+)$`, 'm').exec(stored)?.[1];
  const privateKey = value('PrivateKey');
  const text = await clientConfiguration(system, await readServer(system), {
    peer,
    presharedKey: (next ?? peer).presharedKey,
    privateKey,
    endpoint: value('Endpoint'),
  });
  const { publicKey } = next ?? peer;
  return { text, hasPrivateKey: privateKey !== undefined, publicKey, holder };
}

export function noClient(name: string, names: ReadonlySet<string>): GatewayError {
  const some = [...names].slice(0, 20).join(', ');
  return new GatewayError(
    `There is no client '${name}'`,
    some
      ? `There is ${some}${names.size > 20 ? ' …' : ''}`
      : 'Add one: sudo pi-gateway vpn add phone',
    'missing',
  );
}
