import { readdirSync, readFileSync, statSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { clientFolder } from '../../firstboot/steps/wireguard-client.ts';
import { at, makeFolder, type System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { type PeerFile, parsePeer } from './peer-file.ts';
import { stampFile, stateFolder } from './schema.ts';

export const peerFolder = '/etc/wireguard/peers.d';
const changingFile = `${stateFolder}/changing`;
export const peerProgram = '/usr/lib/pi-gateway/wireguard-peer';

/** All clients as the files have them. */
export type Clients = {
  /** By name; files that make no sense are not in it. */
  peers: ReadonlyMap<string, PeerFile>;
  /** Keys that are to come, by name. */
  coming: ReadonlyMap<string, PeerFile>;
  /** Every name that has a file, whatever is in it. */
  names: ReadonlySet<string>;
  /** Clients whose configuration, private key and all, is on the device: as `phone.conf`, `phone.next`. */
  held: ReadonlySet<string>;
};

type Known = { stamp: string; peer: PeerFile | undefined };
const known = new WeakMap<System, Map<string, Known>>();

/**
 * Reads what has changed since the last time: of a thousand files their dates are looked at, which takes a
 * few milliseconds, and mostly one is read. (Synchronous, as each turn through node's thread pool would cost
 * more than the work.)
 */
export function readClients(system: System): Clients {
  const before = known.get(system) ?? new Map<string, Known>();
  const now = new Map<string, Known>();
  known.set(system, now);
  const peers = new Map<string, PeerFile>();
  const coming = new Map<string, PeerFile>();
  const names = new Set<string>();
  for (const file of filesOf(system, peerFolder)) {
    const [, name = '', kind] = /^([a-z0-9][a-z0-9-]*)\.(conf|next)$/.exec(file) ?? [];
    if (name === '') continue;
    const path = at(system, `${peerFolder}/${file}`);
    const stamp = stampOf(path);
    if (stamp === undefined) continue;
    if (kind === 'conf') names.add(name);
    const old = before.get(file);
    const one = old?.stamp === stamp ? old : { stamp, peer: parsePeer(textOf(path) ?? '') };
    now.set(file, one);
    if (one.peer) (kind === 'conf' ? peers : coming).set(name, one.peer);
  }
  return { peers, coming, names, held: new Set(filesOf(system, clientFolder)) };
}

function filesOf(system: System, folder: string): string[] {
  try {
    return readdirSync(at(system, folder)).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function stampOf(path: string): string | undefined {
  const facts = statSync(path, { bigint: true, throwIfNoEntry: false });
  return facts && `${facts.ino} ${facts.size} ${facts.ctimeNs}`;
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * Says, until the change is in force, that the files are newer than that: if this process is killed in
 * between, pi-gateway-wireguard-expire.timer makes up for it.
 */
export async function beginChange(system: System): Promise<void> {
  await makeFolder(at(system, stateFolder), 0o755);
  await writeFile(at(system, changingFile), '', { mode: 0o600 });
}

/** Puts into force what the files say of these clients; no other is disturbed. */
export async function putIntoForce(system: System, ...names: readonly string[]): Promise<void> {
  try {
    await system.run(peerProgram, ['load', ...names]);
  } catch (cause) {
    throw new GatewayError(
      `It is saved, but could not be put into force: ${cause instanceof Error ? cause.message : String(cause)}`,
      `Try again: sudo ${peerProgram} load ${names.join(' ')}; it is tried each minute, too`,
    );
  }
}

/** For changes that neither the interface nor the firewall knows of. */
export async function tellChanged(system: System): Promise<void> {
  await makeFolder(at(system, stateFolder), 0o755);
  await writeFile(at(system, stampFile), '', { mode: 0o600 });
}
