import { randomBytes } from 'node:crypto';
import { link, mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { writeDeviceCard } from '../../firstboot/device-card.ts';
import { clientFolder } from '../../firstboot/steps/wireguard-client.ts';
import {
  at,
  makeFolder,
  readIfThere,
  type System,
  syncDirectory,
  writeDurably,
} from '../../firstboot/system.ts';
import { newPrivateKey, publicKeyOf } from '../../firstboot/wireguard-keys.ts';
import { GatewayError } from '../errors.ts';
import { allocate, checkAddresses, readRetired, retire } from './addresses.ts';
import { clientConfiguration, holderPath, noClient, readConfiguration } from './configuration.ts';
import { isOver, timeText } from './moment.ts';
import { emptyPeer, formatPeer, type PeerFile, parsePeer, shownAddresses } from './peer-file.ts';
import type { ClientChange, ClientRecord, NewClient } from './schema.ts';
import { readServer, type Server } from './server.ts';
import {
  beginChange,
  type Clients,
  peerFolder,
  peerProgram,
  putIntoForce,
  readClients,
  tellChanged,
} from './store.ts';

/**
 * Changes of VPN clients. Each is committed by one rename or one removal in /etc/wireguard/peers.d, so that a
 * power cut leaves what was before or what was asked for; what belongs to a client besides, its private key,
 * is there before its file and goes after it.
 */

const peerPath = (name: string, kind: 'conf' | 'next' = 'conf') => `${peerFolder}/${name}.${kind}`;

export function listClients(system: System): ClientRecord[] {
  const clients = readClients(system);
  return [...clients.peers]
    .map(([name, peer]) => recordOf(name, peer, clients))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function readOne(system: System, name: string): ClientRecord {
  const clients = readClients(system);
  return recordOf(name, peerOf(clients, name), clients);
}

function recordOf(name: string, peer: PeerFile, { coming, held }: Clients): ClientRecord {
  const next = coming.get(name);
  return {
    name,
    note: peer.note,
    enabled: !peer.disabled,
    addresses: shownAddresses(peer),
    public_key: peer.publicKey,
    preshared_key: peer.presharedKey !== undefined,
    zones: peer.zones ? [...peer.zones] : null,
    tunnel: peer.tunnel,
    dns: peer.dns ? [...peer.dns] : null,
    created_at: peer.created ?? null,
    expires_at: peer.expires ?? null,
    config_held: held.has(`${name}.conf`),
    rotation: next
      ? {
          started_at: next.created ?? null,
          deadline_at: next.deadline ?? null,
          public_key: next.publicKey,
          config_held: held.has(`${name}.next`),
        }
      : null,
  };
}

function peerOf({ peers, names }: Clients, name: string): PeerFile {
  const peer = peers.get(name);
  if (peer) return peer;
  if (names.has(name))
    throw new GatewayError(
      `The file of '${name}' is no [Peer] section of wg(8)`,
      `Mend it: ${peerPath(name)}; or revoke the client`,
      'conflict',
    );
  throw noClient(name, names);
}

/** @throws GatewayError if the name is taken. */
function refuseTaken({ names }: Clients, name: string): void {
  if (names.has(name))
    throw new GatewayError(
      `There is a client '${name}' already`,
      `Take another name, or see it: sudo pi-gateway vpn show ${name}`,
      'conflict',
    );
}

/** A time that is over would cut the client off at once; disabling says that better. */
function refuseOver(expires: string | null | undefined): void {
  if (isOver(expires, Date.now()))
    throw new GatewayError(
      `${expires} is over already`,
      'Give a time to come, or disable or revoke the client',
      'refused',
    );
}

/** WireGuard tells peers apart by their keys: of two with one key it would have one. */
function refuseKnownKey({ peers, coming }: Clients, server: string | undefined, key: string): void {
  const other = [...peers, ...coming].find(([, peer]) => peer.publicKey === key)?.[0];
  if (other === undefined && key !== server) return;
  throw new GatewayError(
    other === undefined ? "That is the server's own key" : `The client ${other} has this key`,
    'Make a key of its own on the client: wg genkey | tee private.key | wg pubkey',
    'conflict',
  );
}

const newPreshared = () => randomBytes(32).toString('base64');

export async function addClient(system: System, wish: NewClient): Promise<ClientRecord> {
  await sweep(system);
  const clients = readClients(system);
  refuseTaken(clients, wish.name);
  refuseOver(wish.expires_at);
  const server = await readServer(system);
  if (wish.public_key !== undefined) refuseKnownKey(clients, server.publicKey, wish.public_key);
  const allowedIps = wish.addresses
    ? checkAddresses(server.facts, wish.addresses, clients.peers)
    : allocate(server.facts, clients.peers.values(), await readRetired(system));
  const keys = ownKeys(wish.public_key);
  const { settings } = server;
  const zones = wish.zones === undefined ? settings.zones : wish.zones;
  await introduce(system, server, wish.name, keys.privateKey, {
    ...emptyPeer,
    publicKey: keys.publicKey,
    presharedKey: newPreshared(),
    allowedIps,
    created: timeText(new Date()),
    expires: wish.expires_at ?? undefined,
    zones: zones ?? undefined,
    tunnel: wish.tunnel ?? settings.tunnel,
    dns: wish.dns ?? undefined,
    note: wish.note ?? '',
  });
  await putIntoForce(system, wish.name);
  return readOne(system, wish.name);
}

function ownKeys(given: string | undefined): { publicKey: string; privateKey: string | undefined } {
  if (given !== undefined) return { publicKey: given, privateKey: undefined };
  const privateKey = newPrivateKey();
  const publicKey = publicKeyOf(privateKey);
  if (publicKey === undefined) throw new Error('a key that was just made is none');
  return { publicKey, privateKey };
}

/** Writes a new client: what it will be handed, then its file, which makes it one. */
export async function introduce(
  system: System,
  server: Server,
  name: string,
  privateKey: string | undefined,
  peer: PeerFile,
): Promise<void> {
  await makeFolder(at(system, clientFolder), 0o700);
  await makeFolder(at(system, peerFolder), 0o700);
  const configuration = await clientConfiguration(system, server, {
    peer,
    presharedKey: peer.presharedKey,
    privateKey,
  });
  await beginChange(system);
  await writeDurably(at(system, holderPath(name, 'conf')), configuration, 0o600);
  await writeDurably(at(system, peerPath(name)), formatPeer(peer), 0o600);
}

export async function changeClient(
  system: System,
  name: string,
  { name: newName, ...change }: ClientChange,
): Promise<ClientRecord> {
  if (newName !== undefined && newName !== name) {
    if (Object.values(change).some((value) => value !== undefined))
      throw new GatewayError(
        'A new name and other changes at once are two changes',
        'Give the new name alone, then the rest',
        'refused',
      );
    return await renameClient(system, name, newName);
  }
  if (change.expires_at !== undefined) refuseOver(change.expires_at);
  const clients = readClients(system);
  const old = peerOf(clients, name);
  const wanted = changed(old, change);
  if (formatPeer(wanted) === formatPeer(old)) return readOne(system, name);
  const enforced = [change.zones, change.expires_at, change.enabled].some(
    (value) => value !== undefined,
  );
  if (enforced) await beginChange(system);
  await writePeer(system, name, change, old, clients.coming.has(name));
  if (enforced) await putIntoForce(system, name);
  else await tellChanged(system);
  return readOne(system, name);
}

function changed(peer: PeerFile, change: Omit<ClientChange, 'name'>): PeerFile {
  const { zones, expires_at: expires, dns, note, tunnel, enabled } = change;
  return {
    ...peer,
    ...(note === undefined ? {} : { note }),
    ...(tunnel === undefined ? {} : { tunnel }),
    ...(enabled === undefined ? {} : { disabled: !enabled }),
    ...(zones === undefined ? {} : { zones: zones ?? undefined }),
    ...(dns === undefined ? {} : { dns: dns ?? undefined }),
    ...(expires === undefined ? {} : { expires: expires ?? undefined }),
  };
}

async function writePeer(
  system: System,
  name: string,
  change: Omit<ClientChange, 'name'>,
  old: PeerFile,
  rotates: boolean,
): Promise<void> {
  if (!rotates)
    return await writeDurably(at(system, peerPath(name)), formatPeer(changed(old, change)), 0o600);
  // Its keys may be replaced at this very moment, by another process: see follow in wireguard-peer.
  for (let peer = old; ; ) {
    try {
      const input = formatPeer(changed(peer, change));
      await system.run(peerProgram, ['put', name, peer.publicKey], { input });
      return;
    } catch (error) {
      const now = parsePeer((await readIfThere(at(system, peerPath(name)))) ?? '');
      if (!now || now.publicKey === peer.publicKey) throw error;
      peer = now;
    }
  }
}

async function renameClient(system: System, name: string, newName: string): Promise<ClientRecord> {
  const clients = readClients(system);
  peerOf(clients, name);
  refuseTaken(clients, newName);
  refuseRotating(clients, name, 'rename it then');
  const [from, to] = [holderPath(name, 'conf'), holderPath(newName, 'conf')];
  const held = clients.held.has(`${name}.conf`);
  if (held) {
    await rm(at(system, to), { force: true });
    await link(at(system, from), at(system, to));
    await syncDirectory(at(system, clientFolder));
  }
  await rename(at(system, peerPath(name)), at(system, peerPath(newName)));
  await syncDirectory(at(system, peerFolder));
  if (held) {
    await rm(at(system, from));
    await syncDirectory(at(system, clientFolder));
    await refreshCard(system, name);
  }
  await tellChanged(system);
  return readOne(system, newName);
}

function refuseRotating({ coming }: Clients, name: string, then: string): void {
  if (!coming.has(name)) return;
  throw new GatewayError(
    `The keys of '${name}' are being replaced`,
    `Wait until the client uses the new ones, or cancel that, and ${then}: sudo pi-gateway vpn rotate ${name} --cancel`,
    'conflict',
  );
}

/** Gone from the interface, the firewall and the disk, at once and for good. */
export async function revokeClient(system: System, name: string): Promise<void> {
  const clients = readClients(system);
  if (!clients.names.has(name)) throw noClient(name, clients.names);
  const peer = clients.peers.get(name);
  if (peer) await retire(system, shownAddresses(peer));
  await beginChange(system);
  await system.run(peerProgram, ['remove', name]);
  await refreshCard(system, name);
}

/** Makes new keys; the old ones work until the first handshake of the new ones, or the deadline. */
export async function rotateClient(
  system: System,
  name: string,
  wish: { deadline_at?: string | null | undefined; public_key?: string | undefined },
): Promise<ClientRecord> {
  const clients = readClients(system);
  const peer = peerOf(clients, name);
  refuseRotating(clients, name, 'begin anew');
  refuseOver(wish.deadline_at);
  const server = await readServer(system);
  if (wish.public_key !== undefined) refuseKnownKey(clients, server.publicKey, wish.public_key);
  const keys = ownKeys(wish.public_key);
  const next: PeerFile = {
    ...emptyPeer,
    publicKey: keys.publicKey,
    presharedKey: newPreshared(),
    created: timeText(new Date()),
    deadline: wish.deadline_at ?? undefined,
  };
  const before = (await readIfThere(at(system, holderPath(name, 'conf')))) ?? '';
  const configuration = await clientConfiguration(system, server, {
    peer,
    presharedKey: next.presharedKey,
    privateKey: keys.privateKey,
    endpoint: /^Endpoint = (.+)$/m.exec(before)?.[1],
  });
  await mkdir(at(system, clientFolder), { recursive: true, mode: 0o700 });
  await beginChange(system);
  await writeDurably(at(system, holderPath(name, 'next')), configuration, 0o600);
  await writeDurably(at(system, peerPath(name, 'next')), formatPeer(next), 0o600);
  await putIntoForce(system, name);
  return readOne(system, name);
}

export async function cancelRotation(system: System, name: string): Promise<ClientRecord> {
  const clients = readClients(system);
  peerOf(clients, name);
  if (!clients.coming.has(name))
    throw new GatewayError(
      `The keys of '${name}' are not being replaced`,
      `See it: sudo pi-gateway vpn show ${name}`,
      'conflict',
    );
  await system.run(peerProgram, ['cancel', name]);
  return readOne(system, name);
}

/** A client's whole configuration, private key and all; `forget` then takes that key from the device. */
export async function handOver(system: System, name: string, forget: boolean): Promise<string> {
  const { text } = await readConfiguration(system, name);
  if (forget) await forgetClient(system, name);
  return text;
}

/** The configuration as a QR code, which the WireGuard apps scan: qrencode(1). */
export async function clientAsQr(
  system: System,
  name: string,
  form: 'svg' | 'terminal',
): Promise<string> {
  const { text, hasPrivateKey } = await readConfiguration(system, name);
  if (!hasPrivateKey)
    throw new GatewayError(
      `The private key of '${name}' is on the client alone, so a QR code would be of no use`,
      `Take the file, and put the key in: sudo pi-gateway vpn export ${name}`,
      'conflict',
    );
  const type = form === 'svg' ? ['--type=svg', '--margin=2'] : ['--type=ansiutf8'];
  // On standard input: what stands in arguments everybody on the machine can read.
  return await system.run('qrencode', type, { input: text });
}

/**
 * Takes a client's private key from the device, as soon as the client has it. The peer stays.
 * @param handedOver public key of what the client was given: newer keys, made since, it does not have.
 */
export async function forgetClient(
  system: System,
  name: string,
  handedOver?: string,
): Promise<void> {
  const { holder, publicKey } = await readConfiguration(system, name);
  if (handedOver !== undefined && handedOver !== publicKey)
    throw new GatewayError(
      `'${name}' has other keys than those that were handed over`,
      `Hand over its new ones: sudo pi-gateway vpn export ${name} --forget`,
      'conflict',
    );
  await rm(at(system, holder));
  await syncDirectory(at(system, clientFolder));
  await tellChanged(system);
  await refreshCard(system, name);
}

/** The device card names the clients whose configuration is to be had; it takes a few programs to make. */
async function refreshCard(system: System, name: string): Promise<void> {
  const card = await readIfThere(at(system, '/var/lib/pi-gateway/device-card.txt'));
  if (card?.includes(`VPN client ${name}:`)) await writeDeviceCard(system);
}

/** Systems in which nothing is left to sweep; a helper lives for minutes. */
const swept = new WeakSet<System>();
/** Milliseconds: what is younger may be of a client that is being made, e.g. by first boot. */
const young = 60_000;

/**
 * Private keys that a power cut, or a helper's end in the middle, left without their client are nobody's, nor
 * are files that were not yet given their names.
 */
async function sweep(system: System): Promise<void> {
  if (swept.has(system)) return;
  let isClean = true;
  for (const folder of [clientFolder, peerFolder])
    for (const file of await readdir(at(system, folder)).catch(() => [])) {
      if (!(await isOrphan(system, folder, file))) continue;
      const path = at(system, `${folder}/${file}`);
      const facts = await stat(path).catch(() => undefined);
      if (!facts) continue;
      if (Date.now() - facts.mtimeMs < young) isClean = false;
      else await rm(path, { force: true });
    }
  if (isClean) swept.add(system);
}

/** `.NAME.conf.new` is writeDurably's, `NAME.conf.new` wireguard-peer's. */
async function isOrphan(system: System, folder: string, file: string): Promise<boolean> {
  if (/^\.?[a-z0-9-]+\.(conf|next)\.new$/.test(file)) return true;
  if (folder === peerFolder || !/^[a-z0-9-]+\.(conf|next)$/.test(file)) return false;
  return (await stat(at(system, `${peerFolder}/${file}`)).catch(() => undefined)) === undefined;
}
