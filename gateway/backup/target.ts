import { chmod, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { at, readIfThere, type System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { type Repository, troubleWith } from './restic.ts';
import type { BackupSettings, Target, TargetOf } from './settings.ts';
import { nameOf } from './settings.ts';
import { sshPrivateKey, sshSeed } from './ssh-key.ts';

export const passwordPath = '/etc/pi-gateway/backup/password';
/** In memory, root's alone: files with secrets for as long as a target is in use, and its mounts. */
export const runtimeFolder = '/run/pi-gateway-backup';
export const cacheFolder = '/var/cache/pi-gateway-backup';

/** The disk or the server is not there now: no failure of the backup, unless it lasts. */
export class AwayError extends GatewayError {
  constructor(message: string, fix: string) {
    super(message, fix);
    this.name = 'AwayError';
  }
}

export type OpenTarget = {
  repository: Repository;
  /** Ends its mount and removes its files with secrets. */
  close(): Promise<void>;
};

/** What a target needs of the device beyond its settings; a restore on a fresh card brings its own. */
export type Credentials = {
  /** File with the repository's password, below the root. */
  passwordFile: string;
  /** Seed of the SFTP key. */
  sshSeed(): Promise<string>;
};

export const deviceCredentials = (system: System): Credentials => ({
  passwordFile: at(system, passwordPath),
  sshSeed: () => sshSeed(system),
});

type Opened = { location: string; url: string; args?: string[]; env?: Record<string, string> };

/**
 * Makes a target ready for restic: mounts its disk or share, and puts its secrets into files that restic, ssh and
 * mount read. None is in an argument or a variable of the environment: those others may read in /proc.
 * @throws AwayError if its disk is not there; GatewayError for other failures of a mount.
 */
export async function openTarget(
  system: System,
  target: Target,
  limits: BackupSettings['limits'],
  credentials: Credentials = deviceCredentials(system),
): Promise<OpenTarget> {
  const name = nameOf(target);
  // Two of one target may be open at once: a person looks while the timer works.
  const place = `${runtimeFolder}/${name}-${process.pid}`;
  const mounted: string[] = [];
  const close = async () => {
    for (const one of mounted) await unmount(system, one);
    await rm(at(system, place), { recursive: true, force: true });
  };
  try {
    for (const folder of [runtimeFolder, cacheFolder])
      await mkdir(at(system, folder), { recursive: true, mode: 0o700 });
    await sweep(system);
    await mkdir(at(system, place), { mode: 0o700 });
    const opened = await open({ system, target, place, mounted, credentials });
    const speed = (key: 'upload' | 'download') => {
      const kib = limits[`${key}_kib`];
      return kib === undefined ? [] : [`--limit-${key}`, String(kib)];
    };
    const cache = at(system, cacheFolder);
    return {
      repository: {
        name,
        location: opened.location,
        args: [
          ...['--repo', opened.url, '--password-file', credentials.passwordFile],
          ...['--cache-dir', cache, '--cleanup-cache'],
          ...[...speed('upload'), ...speed('download'), ...(opened.args ?? [])],
        ],
        // Not /tmp: what is packed and encrypted there may be more than the memory that it is.
        env: { ...opened.env, HOME: cache, TMPDIR: cache },
      },
      close,
    };
  } catch (error) {
    await close().catch(() => undefined);
    throw error;
  }
}

/** Ends mounts and removes files with secrets of processes that were killed. */
async function sweep(system: System): Promise<void> {
  for (const name of await readdir(at(system, runtimeFolder))) {
    const [, owner] = /^[a-z0-9-]+-(\d+)$/.exec(name) ?? [];
    if (owner === undefined || (owner !== String(process.pid) && runs(Number(owner)))) continue;
    const place = `${runtimeFolder}/${name}`;
    if (await isMounted(system, `${place}/mount`)) await unmount(system, `${place}/mount`);
    await rm(at(system, place), { recursive: true, force: true });
  }
}

/** Signal 0 only asks: kill(2). */
function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/** Where a target is, for people; without a secret. */
export function locationOf(target: Target): string {
  switch (target.type) {
    case 'disk':
      return `disk ${target.label ?? target.uuid ?? target.mount}: ${target.folder}`;
    case 'sftp':
      return `sftp://${target.user}@${target.host}:${target.port}/${target.path.replace(/^\//, '')}`;
    case 'nfs':
      return `nfs://${target.server}${target.export}/${target.folder}`;
    case 'smb':
      return `smb://${target.server}/${target.share}/${target.folder}`;
    case 's3':
      return `${target.endpoint.replace(/\/$/, '')}/${target.bucket}/${target.prefix}`;
    case 'b2':
      return `b2:${target.bucket}/${target.prefix}`;
  }
}

type Opening<T extends Target = Target> = {
  system: System;
  target: T;
  place: string;
  /** What has been mounted so far. */
  mounted: string[];
  credentials: Credentials;
};

async function open(o: Opening): Promise<Opened> {
  const { target } = o;
  const location = locationOf(target);
  switch (target.type) {
    case 'disk':
      return { location, url: join(at(o.system, await openDisk({ ...o, target })), target.folder) };
    case 'nfs': {
      const what = `${bracketed(target.server)}:${target.export}`;
      const where = await mount(o, what, 'nfs', 'soft,timeo=150,retrans=3,vers=4');
      return { location, url: join(at(o.system, where), target.folder) };
    }
    case 'smb': {
      const lines = [
        ...(target.user === undefined
          ? []
          : [`username=${target.user}`, `password=${target.password}`]),
        ...(target.domain === undefined ? [] : [`domain=${target.domain}`]),
      ];
      const file = await secretFile(o, 'smb', `${lines.join('\n')}\n`);
      const who = target.user === undefined ? 'guest' : `credentials=${file}`;
      const options = `${who},vers=3,soft,uid=0,gid=0,file_mode=0600,dir_mode=0700`;
      const where = await mount(o, `//${target.server}/${target.share}`, 'cifs', options);
      return { location, url: join(at(o.system, where), target.folder) };
    }
    case 'sftp':
      return { location, ...(await openSftp({ ...o, target })) };
    case 's3':
      return {
        location,
        ...(await openS3(o, {
          url: `s3:${target.endpoint.replace(/\/$/, '')}/${target.bucket}/${target.prefix}`,
          id: target.access_key_id,
          key: target.secret_access_key,
          region: target.region,
          ca: target.ca,
        })),
      };
    case 'b2':
      // By its S3 interface: restic's own for B2 takes its key from the environment alone, and its manual
      // ("Backblaze B2") advises against it.
      return {
        location,
        ...(await openS3(o, {
          url: `s3:https://s3.${target.region}.backblazeb2.com/${target.bucket}/${target.prefix}`,
          id: target.key_id,
          key: target.application_key,
          region: target.region,
          ca: undefined,
        })),
      };
  }
}

const bracketed = (host: string) => (host.includes(':') ? `[${host}]` : host);

async function secretFile({ system, place }: Opening, name: string, text: string): Promise<string> {
  const path = at(system, `${place}/${name}`);
  await writeFile(path, text, { mode: 0o600 });
  await chmod(path, 0o600);
  return path;
}

async function openDisk(o: Opening<TargetOf<'disk'>>): Promise<string> {
  const { system, target } = o;
  const name = nameOf(target);
  if (target.mount !== undefined) {
    // Without this the backup would fill the card, under the folder that the disk is to be mounted on.
    if (await isMounted(system, target.mount)) return target.mount;
    throw new AwayError(
      `${name}: nothing is mounted on ${target.mount}, so nothing was written`,
      'Plug the disk in; or name it by label: or uuid:, and it is mounted when it is needed',
    );
  }
  const [kind, value] =
    target.label === undefined
      ? (['uuid', target.uuid] as const)
      : (['label', target.label] as const);
  const device = `/dev/disk/by-${kind}/${value}`;
  // The backup's own sandbox has no /dev: systemd knows each disk that is there as a unit.
  const isThere = await system
    .run('systemctl', ['is-active', '--quiet', '--', unitOf(device)])
    .then(
      () => true,
      () => false,
    );
  if (!isThere)
    throw new AwayError(
      `${name}: there is no disk with the ${kind} ${value}`,
      'Plug it in; lsblk -f lists the file systems that are there. The next try is within the hour',
    );
  return await mount(o, device, 'auto', 'noatime');
}

async function isMounted(system: System, folder: string): Promise<boolean> {
  const table = (await readIfThere(at(system, '/proc/self/mounts'))) ?? '';
  return table.split('\n').some((line) => unescaped(line.split(' ')[1] ?? '') === folder);
}

/** The unit of a device: systemd.unit(5), "String Escaping for Inclusion in Unit Names". */
const unitOf = (device: string) =>
  `${device.slice(1).replaceAll('-', '\\x2d').replaceAll('/', '-')}.device`;

/** In /proc/self/mounts a blank is \040: proc_pid_mounts(5). */
const unescaped = (text: string) =>
  text.replaceAll(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );

/** Seconds; a server that is off is not waited for. */
const mountTimeout = 60;

/** By systemd, as the backup's own sandbox may not mount: systemd-mount(1). @returns where. */
async function mount(o: Opening, what: string, type: string, options: string): Promise<string> {
  const where = `${o.place}/mount`;
  const name = nameOf(o.target);
  await mkdir(at(o.system, where), { mode: 0o700 });
  try {
    await o.system.run(
      'systemd-run',
      [
        // Outside the sandbox, too: it looks for the device in its own /dev.
        ...['--quiet', '--collect', '--wait', '--pipe', '--', 'systemd-mount'],
        ...['--quiet', '--collect', '--no-ask-password', `--property=TimeoutSec=${mountTimeout}s`],
        ...[
          `--type=${type}`,
          `--options=nosuid,nodev,noexec,${options}`,
          what,
          at(o.system, where),
        ],
      ],
      { timeout: (mountTimeout + 30) * 1000 },
    );
  } catch (error) {
    throw new AwayError(
      `${name}: ${what} cannot be mounted: ${error instanceof Error ? error.message : String(error)}`,
      `See why: journalctl -b -t mount -u '${runtimeFolder.slice(1).replaceAll('-', '\\x2d').replaceAll('/', '-')}*'`,
    );
  }
  o.mounted.push(where);
  // Where a sandbox does not see it, all would be written beneath it, into memory.
  if (!(await isMounted(o.system, where)))
    throw new GatewayError(
      `${name}: ${what} was mounted, and cannot be seen here`,
      "See sudo journalctl -b -u 'pi-gateway-backup@*'",
    );
  return where;
}

async function unmount(system: System, where: string): Promise<void> {
  await system
    .run('systemd-mount', ['--quiet', '--umount', at(system, where)])
    .catch((error: unknown) => system.say(`${where} cannot be unmounted: ${String(error)}`));
}

async function openSftp(o: Opening<TargetOf<'sftp'>>): Promise<Omit<Opened, 'location'>> {
  const { system, target, place } = o;
  const key = await secretFile(o, 'key', sshPrivateKey(await o.credentials.sshSeed()));
  const keys = [target.host_key].flat().map((one) => one.trim().split(/\s+/).slice(0, 2).join(' '));
  // Under a name of our own, whatever the address: HostKeyAlias of ssh_config(5).
  const known = await secretFile(
    o,
    'known_hosts',
    keys.map((one) => `pi-gateway ${one}\n`).join(''),
  );
  const types = keys.map((one) => one.split(' ')[0] ?? '');
  // RSA keys of known_hosts are used with SHA-2 alone (RFC 8332).
  const algorithms = types.flatMap((type) =>
    type === 'ssh-rsa' ? ['rsa-sha2-512', 'rsa-sha2-256'] : [type],
  );
  const options = {
    IdentitiesOnly: 'yes',
    IdentityFile: key,
    UserKnownHostsFile: known,
    GlobalKnownHostsFile: '/dev/null',
    HostKeyAlias: 'pi-gateway',
    HostKeyAlgorithms: algorithms.join(','),
    StrictHostKeyChecking: 'yes',
    BatchMode: 'yes',
    ConnectTimeout: '30',
    ServerAliveInterval: '30',
    ServerAliveCountMax: '4',
    ControlMaster: 'no',
  };
  const args = [
    ...['-F', 'none', '-p', String(target.port), '-l', target.user],
    ...Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]),
    ...[target.host, '-s', 'sftp'],
  ];
  // Without it, what ssh has against the server is lost: restic 0.18 says that its session has ended, and no more.
  await system.run('ssh', args, { timeout: 90_000 }).catch((error: unknown) => {
    const stderr = error instanceof Error ? error.message.replace(/^ssh failed: /, '') : '';
    // Without a word it is the server's program, which may end with 1 when its input ends at once: we are in.
    if (stderr === '' || stderr.startsWith('Command failed')) return;
    throw troubleWith({ name: nameOf(target), location: locationOf(target) }, { code: 1, stderr });
  });
  // restic splits it at blanks; no value has any: fields.ts, and the folder is ours.
  if (at(system, place).includes(' ')) throw new Error(`${place} has a blank in its name`);
  return {
    url: `sftp:${target.user}@${bracketed(target.host)}:${target.path}`,
    args: ['-o', `sftp.command=${['ssh', ...args].join(' ')}`],
  };
}

async function openS3(
  o: Opening,
  s3: { url: string; id: string; key: string; region: string | undefined; ca: string | undefined },
): Promise<Omit<Opened, 'location'>> {
  const file = await secretFile(
    o,
    'aws',
    `[default]\naws_access_key_id = ${s3.id}\naws_secret_access_key = ${s3.key}\n`,
  );
  const ca = s3.ca === undefined ? [] : ['--cacert', await secretFile(o, 'ca.pem', s3.ca)];
  const region = s3.region === undefined ? [] : ['-o', `s3.region=${s3.region}`];
  return { url: s3.url, args: [...ca, ...region], env: { AWS_SHARED_CREDENTIALS_FILE: file } };
}
