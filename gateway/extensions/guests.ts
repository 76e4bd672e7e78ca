import type { System } from '../../firstboot/system.ts';
import type { Guest } from '../api/handler.ts';
import type { InheritedSocket } from '../sockets.ts';
import { readInstalled } from './installed.ts';
import { gatewayDescriptor } from './manifest.ts';

/** Sockets over which this image's extensions may ask the API, with what their manifests let them read. */
export async function extensionGuests(
  system: System,
  sockets: readonly InheritedSocket[],
): Promise<(Guest & { socket: { fd: number } })[]> {
  if (!sockets.some(({ name }) => name.startsWith(gatewayDescriptor('')))) return [];
  const { extensions } = await readInstalled(system);
  return extensions.flatMap(({ manifest: { name, permissions } }) => {
    const socket = sockets.find((one) => one.name === gatewayDescriptor(name));
    return socket && permissions.api.length > 0
      ? [{ extension: name, scopes: permissions.api, socket: { fd: socket.fd } }]
      : [];
  });
}
