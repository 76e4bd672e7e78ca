import { type Manifest, stateFolderOf } from './manifest.ts';

export type Permission = {
  /** What it is about, in a word or two. */
  what: string;
  /** What the extension may, for the owner. */
  may: string;
  /** Whether it reaches beyond the extension's own folder and process. */
  reaches: boolean;
};

/** What the stage.ts of an extension does while the image is built; its manifest does not tell. */
export type BuildFacts = {
  /** It has a stage.ts. */
  code: boolean;
  /** Which changes the image by code, as root. */
  runs: boolean;
};

/** All that an extension may do, in the words in which every place shows it. */
export function permissionsOf(manifest: Manifest, build: BuildFacts): Permission[] {
  const { name, service, permissions, routes, backup, packages } = manifest;
  const ports = Object.values(permissions.ports);
  return [
    ...(service
      ? [
          {
            what: 'runs',
            may: `a service of its own user with at most ${service.memory_mb} MiB, ${service.start === 'boot' ? 'from boot on' : 'when it is asked for'}`,
            reaches: false,
          },
          { what: 'network', may: networkOf(manifest), reaches: permissions.network.length > 0 },
          {
            what: 'ports',
            may:
              ports
                .map((one) => `${one.port}/${one.protocol} from ${one.zones.join(', ')}`)
                .join('; ') || 'none',
            reaches: ports.length > 0,
          },
          {
            what: 'writes',
            may: [stateFolderOf(name), ...permissions.writes].join(', '),
            reaches: permissions.writes.length > 0,
          },
          {
            what: 'API',
            may: `${routes.length} of its own below /api/v1/x/${name}/; ${permissions.api.length > 0 ? `reads ${permissions.api.join(', ')}` : "none of the gateway's"}`,
            reaches: permissions.api.length > 0,
          },
          { what: 'root helper', may: 'nothing: it cannot ask it', reaches: false },
        ]
      : []),
    ...(packages.length > 0 ? [{ what: 'packages', may: packages.join(', '), reaches: true }] : []),
    ...(permissions.files.length > 0
      ? [{ what: 'files', may: `brings ${permissions.files.join(', ')}`, reaches: true }]
      : []),
    ...(permissions.units.length > 0
      ? [{ what: 'units', may: `turns on or off ${permissions.units.join(', ')}`, reaches: true }]
      : []),
    ...(build.code
      ? [
          {
            what: 'build',
            may: build.runs
              ? 'its code runs on the builder, and changes the image as root'
              : 'its code (stage.ts) runs on the builder',
            reaches: true,
          },
        ]
      : []),
    ...(backup ? [{ what: 'backup', may: backup.paths.join(', '), reaches: false }] : []),
  ];
}

function networkOf({ permissions: { network, ports } }: Manifest): string {
  if (network.includes('any')) return 'may talk to anybody, also in the home; not over loopback';
  if (network.length > 0) return `may talk to ${network.join(', ')}`;
  return Object.keys(ports).length > 0 ? 'none of its own: it answers on its ports' : 'none';
}
