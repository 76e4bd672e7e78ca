import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toolsMount } from '../chroot/session.ts';
import type { Config } from '../config/schema.ts';
import { run } from '../exec.ts';
import type { Pins } from '../lock/lock-file.ts';
import { digestOf } from '../plan/digest.ts';
import { fetchLines, hostMirrors, sourceLines } from '../tools/mirror.ts';
import { libraryDirectory, preferenceHooks, type Tools } from '../tools/tools.ts';

/**
 * What Raspberry Pi OS Lite gives and a gateway needs, from Debian's own archive; each with its
 * reason. Stages add theirs.
 */
export const basePackages = [
  'apt', // security updates
  'ca-certificates',
  'cloud-init', // switched off by the stage firstboot; brings locales and procps
  'dbus',
  'dosfstools', // checks bootfs
  'e2fsprogs', // checks and grows rootfs
  'fdisk', // sfdisk, to grow rootfs's partition
  'firmware-brcm80211', // Wi-Fi and Bluetooth of the Pi 3, 4 and 5
  'init',
  'initramfs-tools',
  'iproute2',
  'iputils-ping',
  'kmod',
  'less',
  'libpam-systemd',
  'linux-image-arm64',
  'nano',
  'netbase',
  'netplan.io', // as Raspberry Pi OS has it; renders nothing unless told to
  'raspi-firmware', // the boot loader's files, config.txt and cmdline.txt on bootfs
  'systemd',
  'systemd-resolved',
  'systemd-sysv',
  'systemd-timesyncd',
  'tzdata',
  'udev',
  'wireless-regdb',
  'wpasupplicant',
  'zstd', // packs the initramfs
];

/** Documentation is left out, licences stay (Debian policy 12.5). */
export const dpkgOptions = [
  'force-unsafe-io',
  'path-exclude=/usr/share/man/*',
  'path-exclude=/usr/share/doc/*',
  'path-include=/usr/share/doc/*/copyright',
  'path-exclude=/usr/share/locale/*',
];

/** Everything a Debian base is made from, but for the packages' versions. */
export function debianRecipe(config: Config, tools: { digest: string }): string {
  const { suite, components, packages } = config.debian;
  return digestOf([
    'debian',
    3,
    suite,
    components,
    packages,
    basePackages,
    dpkgOptions,
    tools.digest,
  ]);
}

/** Assembles the Debian base as a tree. Takes 2 to 3 minutes under emulation on two cores. */
export async function assembleDebian(
  config: Config,
  tools: Tools,
  o: {
    root: string;
    log: string;
    onLine?: (line: string) => void;
    sourceDateEpoch: number;
    /** Versions to take, whatever is the newest. */
    pins?: Pins | undefined;
  },
): Promise<void> {
  await mkdir(join(o.root, '..'), { recursive: true });
  const mirrors = await hostMirrors();
  const lines = fetchLines(config.debian, mirrors);
  await run(
    'mmdebstrap',
    [
      '--verbose',
      '--variant=minbase',
      '--mode=root',
      '--architectures=arm64',
      `--components=${config.debian.components.join(',')}`,
      `--include=${[...basePackages, ...config.debian.packages].join(',')}`,
      ...(config.debian.keyring ? [`--keyring=${config.debian.keyring}`] : []),
      '--aptopt=Acquire::Languages "none"',
      '--aptopt=Acquire::Retries "5"',
      '--aptopt=APT::Install-Recommends "false"',
      '--aptopt=APT::Install-Suggests "false"',
      ...dpkgOptions.map((option) => `--dpkgopt=${option}`),
      ...(tools.emulates ? toolHooks(tools) : []),
      ...(await preferenceHooks(o.pins, join(o.root, '..'))),
      // The second of two initramfs runs would only repeat the first: finishBase makes the one.
      `--essential-hook=mkdir -p "$1/etc/initramfs-tools"`,
      '--skip=check/qemu',
      config.debian.suite,
      o.root,
      ...lines,
    ],
    {
      log: o.log,
      env: {
        INITRD: 'No',
        SOURCE_DATE_EPOCH: String(o.sourceDateEpoch),
        PERL_HASH_SEED: '0',
        PYTHONHASHSEED: '0',
        TZ: 'UTC',
      },
      ...(o.onLine ? { onLine: o.onLine } : {}),
      fix: `Check the Debian mirror in the apt sources of this host, or set debian.mirror. The whole log: ${o.log}`,
    },
  );
  if (config.debian.snapshot !== null)
    await writeFile(
      join(o.root, 'etc/apt/sources.list'),
      sourceLines(config.debian, mirrors)
        .map((line) => `${line}\n`)
        .join(''),
    );
  await nameSigningKey(o.root);
  await writeFile(join(o.root, 'etc/fstab'), '');
  // Whose they are depends on whether apt's user could reach this path; apt makes them again.
  for (const partial of ['var/cache/apt/archives/partial', 'var/lib/apt/lists/partial'])
    await rm(join(o.root, partial), { recursive: true, force: true });
}

/** Sources in deb822 form, each with the key that signs it: apt trusts no other for them (sources.list(5)). */
async function nameSigningKey(root: string): Promise<void> {
  const list = join(root, 'etc/apt/sources.list');
  const lines = (await readFile(list, 'utf8'))
    .split('\n')
    .filter((line) => line.startsWith('deb '));
  const stanzas = lines.map((line) => {
    const [, uri = '', suite = '', ...components] = line.split(/\s+/);
    return [
      'Types: deb',
      `URIs: ${uri}`,
      `Suites: ${suite}`,
      `Components: ${components.join(' ')}`,
      'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg',
      '',
    ].join('\n');
  });
  await writeFile(join(root, 'etc/apt/sources.list.d/debian.sources'), stanzas.join('\n'));
  await rm(list);
}

/** Gives mmdebstrap's chroot the native programs, as session.ts does for the stages'. */
function toolHooks(tools: Tools): string[] {
  const quoted = `'${tools.root.replaceAll("'", "'\\''")}'`;
  const paths = [
    [`${quoted}`, toolsMount],
    [`${quoted}/${libraryDirectory}`, `/${libraryDirectory}`],
    [`${quoted}/usr/lib64`, '/usr/lib64'],
  ] as const;
  const enter = paths.map(([from, to]) => `mkdir -p "$1${to}" && mount --bind ${from} "$1${to}"`);
  const leave = paths.map(([, to]) => `umount "$1${to}" && rmdir "$1${to}"`);
  return [
    `--extract-hook=${[...enter, 'ln -s usr/lib64 "$1/lib64"'].join(' && ')}`,
    `--customize-hook=${[...leave, 'rm "$1/lib64"'].join(' && ')}`,
  ];
}
