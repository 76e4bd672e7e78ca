import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { addressIn, parseCidr } from '../../builder/config/fields.ts';
import { type VpnFacts, vpnFacts } from '../image.ts';
import { readSettings, type Settings } from '../settings.ts';
import { OwnerError, type Step } from '../step.ts';
import { at, makeFolder, readIfThere, type System, writeDurably } from '../system.ts';
import { isKey, newPrivateKey, publicKeyOf } from '../wireguard-keys.ts';
import { serverKey } from './wireguard-key.ts';

export const clientFolder = '/etc/wireguard/clients';
const peerFolder = '/etc/wireguard/peers.d';

/** Name of the first client if the owner gives none. */
const defaultClient = 'owner';

/** What of a client must never change once somebody may have it. */
type Secrets = { privateKey: string; preshared: string; addresses: readonly string[] };

/**
 * The first client's whole configuration, made here, so that a VPN works as soon as the device does.
 * It is on disk before the server's half, which is derived from it: a cut between them changes no key.
 */
export const wireguardClient: Step = {
  name: 'wireguard-client',
  needs: ['entropy', 'settings', 'wireguard-key'],
  check: async (system) => {
    const wanted = await wantedClient(system);
    if (!wanted) return true;
    if (await isHandedOver(system, wanted.name)) return true;
    const secrets = await readSecrets(system, wanted.name);
    if (!secrets) return false;
    return (
      (await readIfThere(clientPath(system, wanted.name))) === wanted.client(secrets) &&
      (await readIfThere(peerPath(system, wanted.name))) === peer(wanted.name, secrets)
    );
  },
  apply: async (system) => {
    const wanted = await wantedClient(system);
    if (!wanted) return;
    await makeFolder(at(system, clientFolder), 0o700);
    await makeFolder(at(system, peerFolder), 0o700);
    const secrets = (await readSecrets(system, wanted.name)) ?? {
      privateKey: newPrivateKey(),
      preshared: randomBytes(32).toString('base64'),
      addresses: freeAddresses(wanted.vpn, await takenAddresses(system)),
    };
    await writeDurably(clientPath(system, wanted.name), wanted.client(secrets), 0o600);
    await writeDurably(peerPath(system, wanted.name), peer(wanted.name, secrets), 0o600);
  },
};

async function wantedClient(
  system: System,
): Promise<{ name: string; vpn: VpnFacts; client(secrets: Secrets): string } | undefined> {
  const vpn = await vpnFacts(system);
  const settings = await readSettings(system);
  const name = settings.wireguard?.first_client ?? defaultClient;
  if (!vpn || name === false) return undefined;
  const server = await serverKey(system);
  if (!server) throw new Error('the server has no whole key pair in /etc/wireguard');
  const endpoint = await endpointOf(system, settings);
  return { name, vpn, client: (secrets) => clientText(secrets, vpn, server, endpoint) };
}

/** Under which name clients look for the device: what the owner says, the first of its DDNS names, its own. */
async function endpointOf(system: System, settings: Settings): Promise<string> {
  const own = settings.hostname ?? (await readIfThere(at(system, '/etc/hostname')))?.trim();
  return (
    settings.wireguard?.endpoint ?? settings.ddns?.providers[0]?.hostnames[0] ?? own ?? 'pi-gateway'
  );
}

function clientText(secrets: Secrets, vpn: VpnFacts, server: string, endpoint: string): string {
  const host = endpoint.includes(':') ? `[${endpoint}]` : endpoint;
  return [
    ...['[Interface]', `PrivateKey = ${secrets.privateKey}`],
    `Address = ${secrets.addresses.join(', ')}`,
    ...[`DNS = ${vpn.dns}`, `MTU = ${vpn.mtu}`, ''],
    ...['[Peer]', `PublicKey = ${server}`, `PresharedKey = ${secrets.preshared}`],
    `Endpoint = ${host}:${vpn.port}`,
    ...['AllowedIPs = 0.0.0.0/0, ::/0', ''],
  ].join('\n');
}

/** As /usr/lib/pi-gateway/wireguard-peer writes it. */
function peer(name: string, secrets: Secrets): string {
  return [
    ...['[Peer]', `# ${name}`, `PublicKey = ${publicKeyOf(secrets.privateKey)}`],
    ...[`PresharedKey = ${secrets.preshared}`, `AllowedIPs = ${secrets.addresses.join(', ')}`, ''],
  ].join('\n');
}

/** What a client's file holds already; undefined unless all of it is whole. */
async function readSecrets(system: System, name: string): Promise<Secrets | undefined> {
  const text = (await readIfThere(clientPath(system, name))) ?? '';
  const value = (key: string) => new RegExp(`^${key} = (.+)$`, 'm').exec(text)?.[1] ?? '';
  const [privateKey, preshared] = [value('PrivateKey'), value('PresharedKey')];
  const addresses = value('Address').split(', ');
  if (!isKey(privateKey) || !isKey(preshared) || !addresses.every((one) => parseCidr(one)))
    return undefined;
  return { privateKey, preshared, addresses };
}

/**
 * True if the owner took the client's file from the device (pi-gateway vpn export --forget): the peer is
 * written after that file, so it is alone only then.
 */
async function isHandedOver(system: System, name: string): Promise<boolean> {
  const client = await readIfThere(clientPath(system, name));
  const known = await readIfThere(peerPath(system, name));
  return client === undefined && known !== undefined && known !== '';
}

/** Host addresses, with prefix, of all peers that are there. */
async function takenAddresses(system: System): Promise<Set<string>> {
  const files = await readdir(at(system, peerFolder));
  const texts = await Promise.all(
    files
      .filter((file) => file.endsWith('.conf'))
      .map((file) => readIfThere(at(system, `${peerFolder}/${file}`))),
  );
  return new Set(texts.flatMap((text) => (text ?? '').match(/[0-9a-f.:]+\/(?:32|128)\b/gi) ?? []));
}

/**
 * The first place that is free in both networks; 1 is the gateway's own.
 * @throws OwnerError if the first 254 are taken.
 */
export function freeAddresses(
  vpn: Pick<VpnFacts, 'network4' | 'network6'>,
  taken: ReadonlySet<string>,
): string[] {
  const places = Math.min(254, 2 ** (32 - (parseCidr(vpn.network4)?.bits ?? 32)) - 2);
  for (let place = 2; place <= places; place += 1) {
    const pair = [`${addressIn(vpn.network4, place)}/32`, `${addressIn(vpn.network6, place)}/128`];
    if (pair.every((address) => !taken.has(address))) return pair;
  }
  throw new OwnerError(
    `All addresses of the VPN's network ${vpn.network4} are taken`,
    'Remove a peer (/usr/lib/pi-gateway/wireguard-peer remove NAME), or build the image with a larger stages.wireguard.network4',
  );
}

export function clientPath(system: System, name: string): string {
  return at(system, `${clientFolder}/${name}.conf`);
}

function peerPath(system: System, name: string): string {
  return at(system, `${peerFolder}/${name}.conf`);
}
