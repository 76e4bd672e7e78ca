import { readdir, rm } from 'node:fs/promises';
import { writeDeviceCard } from '../../firstboot/device-card.ts';
import { clientFolder, clientPath } from '../../firstboot/steps/wireguard-client.ts';
import { at, readIfThere, type System, syncDirectory } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';

const peerFolder = '/etc/wireguard/peers.d';

export type Client = {
  name: string;
  /** Its addresses in the VPN; none if the server knows it no more. */
  addresses: string[];
  /** True while the device still holds the client's own private key. */
  held: boolean;
  /** When it was last heard of; undefined: never, or the VPN is down. */
  seen: Date | undefined;
};

/** Every client that the server knows, or whose configuration first boot has made. */
export async function listClients(system: System): Promise<Client[]> {
  const held = new Set(await namesIn(system, clientFolder));
  const names = new Set([...(await namesIn(system, peerFolder)), ...held]);
  const handshakes = await readHandshakes(system);
  const clients = [...names].sort().map(async (name): Promise<Client> => {
    const peer = (await readIfThere(at(system, `${peerFolder}/${name}.conf`))) ?? '';
    const value = (key: string) => new RegExp(`^\\s*${key}\\s*=\\s*(.+)$`, 'm').exec(peer)?.[1];
    return {
      name,
      addresses: value('AllowedIPs')?.split(/\s*,\s*/) ?? [],
      held: held.has(name),
      seen: handshakes.get(value('PublicKey') ?? ''),
    };
  });
  return await Promise.all(clients);
}

/**
 * A client's whole configuration, private key and all: wg-quick(8).
 * @throws GatewayError if the device has none of that name.
 */
export async function readClient(system: System, name: string): Promise<string> {
  const names = await namesIn(system, clientFolder);
  const text = names.includes(name) ? await readIfThere(clientPath(system, name)) : undefined;
  if (text !== undefined) return text;
  const known = (await namesIn(system, peerFolder)).includes(name);
  throw new GatewayError(
    known
      ? `The private key of '${name}' is not on this device: it was made elsewhere, or forgotten`
      : `There is no client '${name}'`,
    known
      ? `Take it from the client, or begin anew: /usr/lib/pi-gateway/wireguard-peer remove ${name}, then add`
      : names.length > 0
        ? `There is ${names.join(', ')}`
        : 'See sudo pi-gateway vpn list',
  );
}

/** The configuration as a QR code for a terminal: qrencode(1), which the WireGuard apps scan. */
export async function clientAsQr(system: System, name: string): Promise<string> {
  // On standard input: what stands in arguments everybody on the machine can read.
  return await system.run('qrencode', ['--type=ansiutf8'], {
    input: await readClient(system, name),
  });
}

/** Takes a client's private key from the device, as soon as the client has it. The peer stays. */
export async function forgetClient(system: System, name: string): Promise<void> {
  await readClient(system, name);
  await rm(clientPath(system, name));
  await syncDirectory(at(system, clientFolder));
  await writeDeviceCard(system);
}

async function namesIn(system: System, folder: string): Promise<string[]> {
  const files = await readdir(at(system, folder)).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  return files.flatMap((file) => /^([a-z0-9-]+)\.conf$/.exec(file)?.[1] ?? []);
}

/** By public key: wg(8), `show … latest-handshakes`. */
async function readHandshakes(system: System): Promise<Map<string, Date>> {
  const text = await system.run('wg', ['show', 'wg0', 'latest-handshakes']).catch(() => '');
  return new Map(
    text.split('\n').flatMap((line): [string, Date][] => {
      const [key = '', seconds] = line.split('\t');
      return Number(seconds) > 0 ? [[key, new Date(Number(seconds) * 1000)]] : [];
    }),
  );
}
