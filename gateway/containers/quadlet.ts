import { filesFolder, secretsFolder } from './places.ts';
import { partName, type Template, type TemplatePart } from './template.ts';

/**
 * Quadlets of an app: podman-systemd.unit(5), as Podman 5.4 has them. Each container is held to the same: no
 * capabilities but those named, no new privileges, the default seccomp filter, limits, a health check that
 * restarts it, and a file system of its own that it cannot write to.
 */

/** Image of each part, by its name: `docker.io/grafana/grafana@sha256:…`. */
export type Pinned = Readonly<Record<string, string>>;

/** Files by name, without folder. */
export function quadlets(app: string, from: Template, images: Pinned): Record<string, string> {
  const files: Record<string, string> = {};
  for (const part of from.parts) {
    const name = partName(app, part, from);
    files[`${name}.container`] = container(app, from, part, images[part.name] ?? '');
    for (const volume of part.volumes)
      files[`${app}--${volume.name}.volume`] = file(
        section('Volume', [
          ['VolumeName', `${app}--${volume.name}`],
          ['Label', `pi-gateway.app=${app}`],
        ]),
      );
    for (const network of part.networks)
      files[`${app}--${network}.network`] = file(
        section('Network', [
          ['NetworkName', `${app}--${network}`],
          ['Label', `pi-gateway.app=${app}`],
          // The internet is the dmz's alone. Each app has its own bridges, and between bridges nothing passes.
          ...(network === 'dmz' ? [] : [['Internal', 'true'] as const]),
          ['Options', 'isolate=strict'],
        ]),
      );
  }
  return files;
}

/** Units of an app, those that others need first. */
export function unitsOf(app: string, from: Template): string[] {
  return from.parts.map((part) => `${partName(app, part, from)}.service`);
}

type Line = readonly [key: string, value: string];

function container(app: string, from: Template, part: TemplatePart, image: string): string {
  const name = partName(app, part, from);
  const needs = part.needs.map((other) => `${partName(app, { name: other }, from)}.service`);
  const { health, limits } = part;
  const unit: Line[] = [
    ['Description', `${from.title}${part.name === from.id ? '' : `: ${part.name}`}`],
    ...(needs.length > 0
      ? ([
          ['After', needs.join(' ')],
          ['Requires', needs.join(' ')],
        ] as const)
      : []),
    // One that ends again and again is left alone for ten minutes: a small Pi has other work.
    ['StartLimitIntervalSec', '10min'],
    ['StartLimitBurst', '6'],
  ];
  const lines: Line[] = [
    ['ContainerName', name],
    ['Image', image],
    // What runs is what was pinned, and nothing that a registry has in its place.
    ['Pull', 'never'],
    ['Label', `pi-gateway.app=${app}`],
    ...(part.starts_as_uid
      ? ([
          ['User', String(part.uid)],
          ['Group', String(part.uid)],
        ] as const)
      : []),
    ...(part.command.length > 0 ? [['Exec', part.command.map(word).join(' ')] as const] : []),
    ['NoNewPrivileges', 'true'],
    ['DropCapability', 'all'],
    ...part.capabilities.map((one) => ['AddCapability', `CAP_${one}`] as const),
    ['ReadOnly', part.writable_because === null ? 'true' : 'false'],
    ['PidsLimit', String(limits.pids)],
    // Memory= came with Podman 5.6. Without swap of its own: a card is no memory.
    [
      'PodmanArgs',
      `--memory=${limits.memory_mib}m --memory-swap=${limits.memory_mib}m --cpus=${limits.cpus}`,
    ],
    ...part.tmpfs.map(
      ({ path, mib }) => ['Tmpfs', `${path}:rw,nosuid,nodev,size=${mib}m,mode=1777`] as const,
    ),
    ...part.volumes.map((one) => ['Volume', `${app}--${one.name}.volume:${one.path}`] as const),
    ...part.files.map(
      ({ path }) => ['Volume', `${hostFile(name, path)}:${path}:ro` as const] as const,
    ),
    ...part.secrets.map(
      ({ secret }) =>
        [
          'Volume',
          `${secretsFolder}/${app}/${part.name}/${secret}:/run/secrets/${secret}:ro`,
        ] as const,
    ),
    ...Object.entries(part.environment).map(environment),
    ...part.secrets.flatMap(({ secret, variable }) =>
      variable === null ? [] : [environment([variable, `/run/secrets/${secret}`])],
    ),
    ...part.networks.map(
      (network) => ['Network', `${app}--${network}.network:alias=${part.name}`] as const,
    ),
    ...part.ports.map(
      ({ published, port, protocol }) =>
        ['PublishPort', `${published}:${port}/${protocol}`] as const,
    ),
    ['HealthCmd', healthCommand(health.command)],
    ['HealthInterval', `${health.interval_s}s`],
    ['HealthTimeout', `${health.timeout_s}s`],
    ['HealthRetries', String(health.retries)],
    ['HealthStartPeriod', `${health.start_s}s`],
    // systemd starts it again: Restart= below.
    ['HealthOnFailure', 'kill'],
    // Started is what is well: an update that is not is taken back.
    ['Notify', 'healthy'],
    ['LogDriver', 'journald'],
  ];
  const service: Line[] = [
    ['Restart', 'always'],
    ['RestartSec', '5s'],
    // As long as failures do not count, and then until there are enough of them.
    [
      'TimeoutStartSec',
      `${health.start_s + (health.interval_s + health.timeout_s) * health.retries + 120}s`,
    ],
  ];
  return file(
    section('Unit', unit),
    section('Container', lines),
    section('Service', service),
    section('Install', [['WantedBy', 'default.target']]),
  );
}

function file(...sections: readonly string[]): string {
  return [
    '# Written by pi-gateway; changes here are lost.',
    ...sections,
    // Else each waits for network-online.target, which nothing on a gateway wants.
    section('Quadlet', [['DefaultDependencies', 'false']]),
  ].join('\n');
}

/** Where a file of a template lies on the device. */
export function hostFile(part: string, path: string): string {
  return `${filesFolder}/${part}${path}`;
}

/** Podman takes a JSON array as a command without a shell; in a shell's words it would need a shell in the image. */
function healthCommand(command: readonly string[]): string {
  return escaped(JSON.stringify(command));
}

function environment([name, value]: readonly [string, string]): Line {
  return ['Environment', word(`${name}=${value}`)];
}

/** systemd.syntax(7): a word in quotes. */
function word(text: string): string {
  return `"${escaped(text.replaceAll('\\', '\\\\').replaceAll('"', '\\"'))}"`;
}

/** Specifiers (systemd.unit(5)) and variables (systemd.service(5)) as they stand: Quadlet hands them on to systemd. */
const escaped = (text: string): string => text.replaceAll('%', '%%').replaceAll('$', () => '$$');

function section(name: string, lines: readonly Line[]): string {
  return `[${name}]\n${lines.map(([key, value]) => `${key}=${value}\n`).join('')}`;
}
