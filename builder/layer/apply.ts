import {
  chmod,
  lchown,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Chroot, GatewayConfig } from '../../stages/define.ts';
import { fileDigest } from '../artifact/compress.ts';
import type { Session } from '../chroot/session.ts';
import { BuildError, exitCode } from '../errors.ts';
import { packagesOf } from '../inspect/dpkg.ts';
import type { PreparedStage } from '../overlay/prepare.ts';
import type { OverlayEntry } from '../overlay/render.ts';
import { digestOf } from '../plan/digest.ts';
import { bootMountOptions, deviceMount, sharedMemoryMount } from './fstab.ts';

/** Writes the stage's files, sets its services, runs its code. */
export async function applyConfig(
  session: Chroot,
  stage: PreparedStage,
  config: GatewayConfig,
): Promise<void> {
  await writeFiles(session, stage.files);
  const { enable, disable, mask } = stage.services;
  if (mask.length) await session.run('systemctl', ['mask', ...mask]);
  if (disable.length) await session.run('systemctl', ['disable', ...disable]);
  if (enable.length) await session.run('systemctl', ['enable', ...enable]);
  await stage.stage.definition.run?.(session, stage.options, config);
}

async function writeFiles(session: Chroot, files: readonly OverlayEntry[]): Promise<void> {
  const owners = new Owners(session);
  for (const file of files) {
    const path = join(session.root, file.path);
    await mkdir(dirname(path), { recursive: true });
    await rm(path, { force: true });
    if ('link' in file) {
      await symlink(file.link, path);
      continue;
    }
    await writeFile(path, file.content, { mode: file.mode });
    const { uid, gid } = await owners.resolve(file.owner, file.source);
    await lchown(path, uid, gid);
    await chmod(path, file.mode); // after chown, which clears setuid and setgid
  }
}

/** Looks user and group names up in the image's own passwd(5) and group(5). */
class Owners {
  readonly #session: Chroot;

  constructor(session: Chroot) {
    this.#session = session;
  }

  async resolve(owner: string, source: string): Promise<{ uid: number; gid: number }> {
    const [user = 'root', group = user] = owner.split(':');
    return {
      uid: await this.#id('/etc/passwd', user, source),
      gid: await this.#id('/etc/group', group, source),
    };
  }

  async #id(database: string, name: string, source: string): Promise<number> {
    if (name === 'root') return 0;
    const text = await this.#session.read(database);
    const id = text
      .split('\n')
      .map((line) => line.split(':'))
      .find(([entry]) => entry === name)?.[2];
    if (id === undefined)
      throw new BuildError({
        what: `The image has no '${name}' in ${database}`,
        where: source,
        fix: 'Name a user or group that a package of the stage, or an earlier stage, makes',
        code: exitCode.usage,
      });
    return Number(id);
  }
}

/**
 * Paths whose content goes into an initramfs, or into the files on bootfs that are written with it; a
 * layer that has one needs them made anew. The hooks of initramfs-tools, udev, kmod, console-setup and
 * raspi-firmware read these (/usr/share/initramfs-tools/hooks).
 */
const initramfsInputs = [
  'etc/console-setup',
  'etc/crypttab',
  'etc/default/console-setup',
  'etc/default/keyboard',
  'etc/default/raspi-extra-cmdline',
  'etc/default/raspi-firmware-custom',
  'etc/initramfs-tools',
  'etc/modprobe.d',
  'etc/modules',
  'etc/modules-load.d',
  'etc/udev',
  'usr/lib/firmware',
  'usr/lib/modprobe.d',
  'usr/lib/modules',
  'usr/share/initramfs-tools',
];

/** Of this folder udev's hook takes only what names and sets network cards (systemd.link(5)). */
const links = 'etc/systemd/network';

/** The paths of a layer's own tree that are inputs of an initramfs. */
async function initramfsPaths(tree: string): Promise<string[]> {
  const names = await readdir(join(tree, links)).catch(() => []);
  const there: string[] = [];
  for (const path of initramfsInputs)
    if (await lstat(join(tree, path)).catch(() => undefined)) there.push(path);
  return [
    ...there,
    ...names.filter((name) => name.endsWith('.link')).map((name) => join(links, name)),
  ];
}

export async function touchesInitramfs(tree: string): Promise<boolean> {
  return (await initramfsPaths(tree)).length > 0;
}

/** Names what a layer has of an initramfs's inputs: layers with the same need no other initramfs. */
export async function initramfsContent(tree: string): Promise<string> {
  const entries: unknown[] = [];
  const visit = async (path: string): Promise<void> => {
    const full = join(tree, path);
    const kind = await lstat(full);
    const head = [path, kind.mode, kind.uid, kind.gid];
    if (kind.isDirectory()) {
      entries.push(head);
      for (const name of (await readdir(full)).sort()) await visit(join(path, name));
    } else if (kind.isFile()) entries.push([...head, (await fileDigest(full)).sha256]);
    else entries.push([...head, kind.isSymbolicLink() ? await readlink(full) : kind.rdev]);
  };
  for (const path of (await initramfsPaths(tree)).sort()) await visit(path);
  return digestOf(entries);
}

/** Where an image base and the Debian base keep what the boot loader reads. */
export type BootSetup = {
  /** MBR disk identifier, eight hex digits; PARTUUIDs are made of it. */
  diskId: string;
};

/**
 * Debian base only: fstab, kernel command line and initramfs, for a root partition that is known by
 * PARTUUID. The disk identifier is never changed later, so none of them can point into the void.
 * raspi-firmware's hook writes config.txt and cmdline.txt, now and at each kernel update.
 */
export async function setUpDebianBoot(session: Session, setup: BootSetup): Promise<void> {
  await session.write(
    '/etc/fstab',
    [
      'proc                  /proc           proc    defaults                                   0 0',
      `PARTUUID=${setup.diskId}-01  /boot/firmware  vfat    ${bootMountOptions},shortname=mixed  0 2`,
      `PARTUUID=${setup.diskId}-02  /               ext4    defaults,noatime                           0 1`,
      sharedMemoryMount,
      deviceMount,
      '',
    ].join('\n'),
  );
  // CMA=0: the package's default of 64M keeps a Pi 4 from booting (its own comment); a gateway
  // has no use for it. ttyS1 is the mini UART of the Pi 3 and 4 under Debian's kernel.
  await session.write(
    '/etc/default/raspi-firmware',
    [
      '# Read by /etc/kernel/postinst.d/z50-raspi-firmware, which writes cmdline.txt and config.txt.',
      `ROOTPART="PARTUUID=${setup.diskId}-02"`,
      'CONSOLES="tty0 ttyS1,115200"',
      'CMA=0',
      '',
    ].join('\n'),
  );
  const kernels = await readdir(join(session.root, 'usr/lib/modules'));
  for (const kernel of kernels.sort()) {
    await session.run('update-initramfs', ['-c', '-k', kernel]);
  }
}

/** Image bases: only when a stage changed what goes in. */
export async function updateInitramfs(session: Chroot): Promise<void> {
  await session.run('update-initramfs', ['-u', '-k', 'all']);
}

/** What package installation leaves and no device needs, or what differs from build to build. */
const leftovers = [
  '/etc/.pwd.lock',
  '/etc/group-',
  '/etc/gshadow-',
  '/etc/passwd-',
  '/etc/shadow-',
  '/etc/subgid-',
  '/etc/subuid-',
  '/var/cache/apt/pkgcache.bin',
  '/var/cache/apt/srcpkgcache.bin',
  '/var/cache/debconf/config.dat-old',
  '/var/cache/debconf/templates.dat-old',
  '/var/cache/ldconfig/aux-cache',
  '/var/lib/dbus/machine-id',
  '/var/lib/dpkg/available-old',
  '/var/lib/dpkg/diversions-old',
  '/var/lib/dpkg/lock',
  '/var/lib/dpkg/lock-frontend',
  '/var/lib/dpkg/status-old',
  '/var/lib/dpkg/statoverride-old',
  '/var/lib/systemd/catalog/database',
  '/var/lib/systemd/random-seed',
];

/**
 * Makes the tree an image of no device in particular: no machine-id, host keys, logs or caches.
 * "uninitialized" and not an empty machine-id, since only that counts as first boot
 * (machine-id(5), ConditionFirstBoot= in systemd.unit(5)).
 */
export async function seal(session: Session, facts: { image: unknown }): Promise<void> {
  await keepDisabled(session);
  for (const path of leftovers) await session.remove(path);
  for (const name of await readdir(join(session.root, 'etc/ssh')).catch(() => []))
    if (/^ssh_host_.*key/.test(name)) await session.remove(`/etc/ssh/${name}`);
  await emptyLogs(join(session.root, 'var/log'));
  await session.write('/etc/machine-id', 'uninitialized\n');
  await session.write(
    '/usr/share/pi-gateway/image.json',
    `${JSON.stringify(facts.image, null, 2)}\n`,
  );
  // systemd-timesyncd takes this file's date for the earliest possible time (a Pi has no clock that
  // runs without power): systemd-timesyncd.service(8), /usr/lib/clock-epoch.
  await session.write('/usr/lib/clock-epoch', '');
}

/**
 * On its first boot systemd enables every unit that no preset disables (systemd.preset(5), machine-id(5)):
 * all that the stages have left off would come on. Units of packages that come later are not named here.
 */
async function keepDisabled(session: Session): Promise<void> {
  const listing = await session.run('systemctl', [
    'list-unit-files',
    '--state=disabled',
    '--no-legend',
    '--no-pager',
  ]);
  const units = listing.split('\n').flatMap((line) => line.trim().split(/\s+/)[0] || []);
  await session.write(
    '/usr/lib/systemd/system-preset/50-pi-gateway.preset',
    `# What the image leaves off stays off on first boot.\n${units.map((unit) => `disable ${unit}\n`).join('')}`,
  );
}

/** Removes files and keeps folders with their owners: services expect them. */
async function emptyLogs(directory: string): Promise<void> {
  for (const entry of await readdir(directory, { withFileTypes: true }).catch(() => [])) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) await emptyLogs(path);
    else await rm(path);
  }
}

/** Installed packages and their versions, from dpkg's status file of a tree. */
export async function installedPackages(root: string): Promise<Record<string, string>> {
  return packagesOf(await readFile(join(root, 'var/lib/dpkg/status'), 'utf8'));
}
