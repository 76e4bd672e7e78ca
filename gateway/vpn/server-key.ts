import { vpnFacts } from '../../firstboot/image.ts';
import { serverKey } from '../../firstboot/steps/wireguard-key.ts';
import { at, readIfThere, type System, writeDurably } from '../../firstboot/system.ts';
import { newPrivateKey, publicKeyOf } from '../../firstboot/wireguard-keys.ts';
import { GatewayError } from '../errors.ts';
import { readDeviceSettings } from '../settings/read.ts';
import { isOver, timeText } from './moment.ts';
import type { ServerRotation, ServerRotationWish } from './schema.ts';
import { readClients } from './store.ts';

/**
 * The server's own key and its replacement: /usr/lib/pi-gateway/wireguard-server does the work, and goes by
 * these files, whatever becomes of the daemon.
 */
const nextFile = '/etc/wireguard/server.next';
const portFile = '/etc/wireguard/server.port';
const movedFile = '/etc/wireguard/server.moved';
const program = '/usr/lib/pi-gateway/wireguard-server';

/** Days until the old key ends by itself. */
const usualDays = 30;

/** What clients are told of the server: while its key is replaced, the key that is to come. */
export type ServerIdentity = {
  publicKey: string | undefined;
  /** Undefined: as the image says. */
  port: number | undefined;
  /** Where a router in front forwards another one to it. */
  outsidePort: number | undefined;
};

type Fields = (name: string) => string | undefined;

async function readFields(system: System, path: string): Promise<Fields | undefined> {
  const text = await readIfThere(at(system, path));
  if (text === undefined) return undefined;
  return (name) => new RegExp(`^${name}=(.+)$`, 'm').exec(text)?.[1];
}

const number = (text: string | undefined) => (text === undefined ? undefined : Number(text));

export async function readIdentity(system: System): Promise<ServerIdentity> {
  const next = await readFields(system, nextFile);
  const now = next ?? (await readFields(system, portFile));
  return {
    publicKey: next ? publicKeyOf(next('key') ?? '') : await serverKey(system),
    port: number(now?.('port')),
    outsidePort: number(now?.('endpoint_port')),
  };
}

/** How far the replacement of the server's key is; null if there is none. */
export async function readServerRotation(system: System): Promise<ServerRotation | null> {
  const next = await readFields(system, nextFile);
  if (!next) return null;
  const moved = new Set(((await readIfThere(at(system, movedFile))) ?? '').split('\n'));
  const now = Date.now();
  const clients = [...readClients(system).peers]
    .filter(([, peer]) => !peer.disabled && !isOver(peer.expires, now))
    .map(([name, peer]) => ({ name, has: moved.has(peer.publicKey) }));
  return {
    old_public_key: (await serverKey(system)) ?? null,
    port: number(next('port')) ?? 0,
    started_at: next('started') ?? null,
    deadline_at: next('deadline') ?? null,
    moved: clients.filter(({ has }) => has).map(({ name }) => name),
    waiting: clients.filter(({ has }) => !has).map(({ name }) => name),
  };
}

/** How the last replacement ended, if there was one. */
export async function readLastRotation(
  system: System,
): Promise<{ ended_at: string; cut_off: string[] } | null> {
  const ended = (await readFields(system, portFile)) ?? (() => undefined);
  const at_ = ended('ended');
  return at_ === undefined
    ? null
    : { ended_at: at_, cut_off: (ended('cut_off') ?? '').split(' ').filter(Boolean) };
}

/** Makes the new key; the old one works until each client has used the new one, or the deadline. */
export async function rotateServer(system: System, wish: ServerRotationWish): Promise<void> {
  if ((await readFields(system, nextFile)) !== undefined)
    throw new GatewayError(
      "The server's key is being replaced already",
      'See how far it is: sudo pi-gateway vpn server status',
      'conflict',
    );
  if (isOver(wish.deadline_at, Date.now()))
    throw new GatewayError(`${wish.deadline_at} is over already`, 'Give a time to come', 'refused');
  const ports = await portsOf(system);
  const port = wish.port ?? ports.other;
  if (port === ports.current)
    throw new GatewayError(
      `The old key answers on port ${port}`,
      'Take another one for the new key',
      'refused',
    );
  const { settings } = await readDeviceSettings(system);
  const outside = wish.endpoint_port;
  if (outside === undefined && settings.vpn.endpoint_port !== undefined)
    throw new GatewayError(
      `The router in front of this gateway forwards port ${settings.vpn.endpoint_port} (vpn.endpoint_port), and the new key has a port of its own`,
      `Forward another one to port ${port} of this gateway, and say which: sudo pi-gateway vpn server rotate --endpoint-port PORT`,
      'refused',
    );
  const now = Date.now();
  const deadline =
    wish.deadline_at === undefined
      ? timeText(new Date(now + usualDays * 86_400_000))
      : wish.deadline_at;
  const lines = [
    'phase=overlap',
    `port=${port}`,
    ...(outside === undefined ? [] : [`endpoint_port=${outside}`]),
    `key=${newPrivateKey()}`,
    `started=${timeText(new Date(now))}`,
    ...(deadline === null ? [] : [`deadline=${deadline}`]),
    '',
  ];
  await writeDurably(at(system, nextFile), lines.join('\n'), 0o600);
  await system.run(program, ['begin']);
}

async function portsOf(system: System): Promise<{ current: number; other: number }> {
  const facts = await vpnFacts(system);
  if (!facts)
    throw new GatewayError(
      'This image has no WireGuard',
      'Build one with it: stages.wireguard in gateway.yaml',
      'missing',
    );
  const env = await readFields(system, '/usr/share/pi-gateway/wireguard.env');
  const second = number(env?.('rotation_port')) ?? facts.port + 1;
  const current = number((await readFields(system, portFile))?.('port')) ?? facts.port;
  return { current, other: current === facts.port ? second : facts.port };
}

/** Ends the old key now. @throws GatewayError while clients have not moved, unless they may be cut off. */
export async function finishServerRotation(system: System, cutOff: boolean): Promise<void> {
  const { waiting } = await theRotation(system);
  if (waiting.length > 0 && !cutOff)
    throw new GatewayError(
      `${waiting.length} clients have not used the new key yet: ${some(waiting)}`,
      'Hand them their new files, or cut them off: sudo pi-gateway vpn server finish --cut-off',
      'conflict',
    );
  await system.run(program, ['finish']);
}

/** Keeps the old key. @throws GatewayError if clients have moved, unless they may be cut off. */
export async function cancelServerRotation(system: System, cutOff: boolean): Promise<void> {
  const { moved } = await theRotation(system);
  if (moved.length > 0 && !cutOff)
    throw new GatewayError(
      `${moved.length} clients use the new key already: ${some(moved)}`,
      'They need their old files back, or new ones; if that is meant: sudo pi-gateway vpn server cancel --cut-off',
      'conflict',
    );
  await system.run(program, ['cancel']);
}

async function theRotation(system: System): Promise<ServerRotation> {
  const rotation = await readServerRotation(system);
  if (rotation) return rotation;
  throw new GatewayError(
    "The server's key is not being replaced",
    'Begin it: sudo pi-gateway vpn server rotate',
    'conflict',
  );
}

const some = (names: readonly string[]) =>
  `${names.slice(0, 20).join(', ')}${names.length > 20 ? ' …' : ''}`;

/** @throws GatewayError while the key is replaced: an import would take its place. */
export async function refuseRotatingServer(system: System): Promise<void> {
  if ((await readServerRotation(system)) === null) return;
  throw new GatewayError(
    "The server's key is being replaced",
    'Finish or cancel that first: sudo pi-gateway vpn server status',
    'conflict',
  );
}
