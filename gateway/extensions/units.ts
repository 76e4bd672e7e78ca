import { type Manifest, unitOf } from './manifest.ts';

/** systemd's names of what an extension's runtime part is made of. */
export function unitsOf({ name, service, permissions }: Manifest): {
  service: string | undefined;
  /** The one that the gateway speaks over. */
  socket: string | undefined;
  /** Of its ports, by their names in the manifest. */
  ports: ReadonlyMap<string, string>;
  /** The daemon's, for its questions to the gateway; it stays, as systemd opens none while the daemon runs. */
  gateway: string | undefined;
  /** All others, in the order in which they stop. */
  all: readonly string[];
} {
  if (!service)
    return { service: undefined, socket: undefined, ports: new Map(), gateway: undefined, all: [] };
  const unit = unitOf(name);
  const ports = new Map(
    Object.keys(permissions.ports).map((port) => [port, `${unit}-port-${port}.socket`]),
  );
  const gateway = permissions.api.length > 0 ? `${unit}-gateway.socket` : undefined;
  const own = { service: `${unit}.service`, socket: `${unit}.socket`, ports, gateway };
  return { ...own, all: [own.socket, ...ports.values(), own.service] };
}
