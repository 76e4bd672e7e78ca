import { createHash } from 'node:crypto';
import { link, mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BuildError, exitCode, isErrno } from '../errors.ts';
import { type RunOptions, type RunResult, run } from '../exec.ts';
import { driftOf, refuseDrift } from '../lock/compare.ts';
import { aptPreferences, type Pins } from '../lock/lock-file.ts';
import { digestOf } from '../plan/digest.ts';
import { type DebianSource, type FetchSource, fetchLines, hostMirrors } from './mirror.ts';

/**
 * A tree of Debian programs for this host's processor, of the same release as the image: what makes
 * the image's bytes (mke2fs, mtools, tar, xz) is then the same version on every host, and what the
 * chroot runs (native-exec.c) is the same source as in the image.
 */
export type Tools = {
  root: string;
  /** Names what is in it; part of every image's digest. */
  digest: string;
  /** Version of each Debian package in the tree. */
  versions: Record<string, string>;
  /** False on arm64 hosts, where the chroot runs natively. */
  emulates: boolean;
  /** Runs one of its programs, by path below the tree's root, without entering the tree. */
  run(program: string, args: readonly string[], options?: RunOptions): Promise<RunResult>;
  /** The command line that runs a program of it; for pipelines. */
  command(program: string): string[];
};

/** Programs that make the image. */
const imagePackages = [
  'e2fsprogs', // mke2fs 1.47.2: reads a tar archive (-d -) and honours SOURCE_DATE_EPOCH
  'libarchive13t64', // mke2fs loads it for the above
  'mtools', // writes the FAT partition without mounting it
  'dosfstools', // mkfs.fat --invariant, fsck.fat
  'tar',
  'xz-utils',
  'zstd',
];

/** Programs that chroots run natively instead of under QEMU. */
const nativePackages = [
  'apt',
  'bash',
  'coreutils',
  'cpio',
  'dash',
  'debianutils',
  'diffutils',
  'dpkg',
  'dracut-install',
  'findutils',
  'grep',
  'gzip',
  'kmod',
  'mawk',
  'nftables', // QEMU has no netlink for it
  'perl-base',
  'python3-minimal',
  'sed',
  'systemd', // systemctl and the two of nativeOfSystemd: each stage and many packages call them
];

/** The emulator, and a compiler with a small libc for native-exec.c. */
const emulationPackages = ['qemu-user', 'tcc', 'musl-dev'];

/**
 * Programs that must stay the image's own: they tell or depend on the architecture, or work on the image's
 * C library.
 */
const neverNative = new Set([
  'arch',
  'chroot',
  'getconf',
  'getent',
  'iconv',
  'kernel-install',
  'ldconfig',
  'locale',
  'localedef',
  'losetup',
  'mount',
  'start-stop-daemon',
  'swapoff',
  'swapon',
  'tcc',
  'umount',
  'uname',
]);

/** Of systemd's many programs, these only read and write files below their root. */
const nativeOfSystemd = new Set(['systemctl', 'systemd-sysusers', 'systemd-tmpfiles']);

/**
 * dpkg's programs have the architecture that they are of as one string in them; in these copies it is the image's.
 * dpkg unpacks, and computes the MD5 of all that it unpacks: under emulation that is much of a build.
 */
const ofArchitecture = new Set(['dpkg', 'dpkg-divert', 'dpkg-query', 'dpkg-split', 'dpkg-trigger']);

const nativeFolders = [
  'usr/bin',
  'usr/sbin',
  'usr/lib/apt',
  'usr/lib/apt/methods',
  'usr/lib/dracut',
];

const shimSource = fileURLToPath(new URL('native-exec.c', import.meta.url));

export const hostArchitecture = process.arch === 'arm64' ? 'arm64' : 'amd64';
const imageArchitecture = 'arm64';
const triplet = process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu';

/** Library directory of the tree, which the chroot must see at the same path. */
export const libraryDirectory = `usr/lib/${triplet}`;
const loader = process.arch === 'arm64' ? 'ld-linux-aarch64.so.1' : 'ld-linux-x86-64.so.2';

function handle(root: string, digest: string, versions: Record<string, string>): Tools {
  const libraries = join(root, libraryDirectory);
  const command = (program: string) => [
    join(libraries, loader),
    '--library-path',
    libraries,
    join(root, program),
  ];
  return {
    root,
    digest,
    versions,
    emulates: hostArchitecture !== 'arm64',
    command,
    run: (program, args, options) => {
      const [ld = '', ...rest] = command(program);
      return run(ld, [...rest, ...args], {
        ...options,
        env: {
          MKE2FS_CONFIG: join(root, 'etc/mke2fs.conf'),
          MTOOLS_SKIP_CHECK: '1',
          TZ: 'UTC',
          ...options?.env,
        },
      });
    },
  };
}

async function recipe(source: DebianSource): Promise<string> {
  const shim = await readFile(shimSource, 'utf8');
  const parts = [hostArchitecture, source.suite, imagePackages, nativePackages, emulationPackages];
  return createHash('sha256')
    .update(
      JSON.stringify([
        ...parts,
        [...neverNative],
        [...nativeOfSystemd],
        [...ofArchitecture],
        nativeFolders,
        shim,
      ]),
    )
    .digest('hex')
    .slice(0, 16);
}

type ToolsRecord = { digest: string; versions: Record<string, string> };

/** Names the tools tree in the cache: of what it is made, but for the packages' versions. */
export async function toolsPlace(
  cache: string,
  source: DebianSource,
): Promise<{ name: string; directory: string }> {
  const name = await recipe(source);
  return { name, directory: join(cache, 'tools', name) };
}

/** True if a directory holds a tools tree of this name with an honest record. */
export async function isToolsTree(directory: string, name: string): Promise<boolean> {
  const text = await readFile(join(directory, 'tools.json'), 'utf8').catch(() => 'null');
  const record = JSON.parse(text) as ToolsRecord | null;
  return record !== null && record.digest === recordDigest(name, record.versions);
}

function recordDigest(name: string, versions: Record<string, string>): string {
  return createHash('sha256')
    .update(JSON.stringify([name, versions]))
    .digest('hex');
}

/** The tools tree if the cache holds it; with pins, only one of just these packages. */
export async function findTools(
  cache: string,
  source: DebianSource,
  pins?: Pins,
): Promise<Tools | undefined> {
  const { directory } = await toolsPlace(cache, source);
  for (const folder of pins ? [directory, pinnedFolder(directory, pins)] : [directory]) {
    const tools = await readTools(folder);
    if (tools && (!pins || areThese(tools.versions, pins))) return tools;
  }
  return undefined;
}

/** Where a tree of these packages lies if the usual place has one of others. */
function pinnedFolder(directory: string, pins: Pins): string {
  return `${directory}-${digestOf(pins).slice(0, 8)}`;
}

function areThese(versions: Record<string, string>, pins: Pins): boolean {
  const names = new Set([...Object.keys(versions), ...Object.keys(pins)]);
  return [...names].every((name) => versions[name] === pins[name]?.version);
}

async function readTools(directory: string): Promise<Tools | undefined> {
  try {
    const record = JSON.parse(await readFile(join(directory, 'tools.json'), 'utf8')) as ToolsRecord;
    return handle(join(directory, 'root'), record.digest, record.versions);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** The tools tree, made on first use (about 20 s; 270 MB). */
export async function ensureTools(
  cache: string,
  source: FetchSource,
  options: { keyring?: string | null; log: string; scratch: string; pins?: Pins | undefined },
): Promise<Tools> {
  const { pins } = options;
  const known = await findTools(cache, source, pins);
  if (known) return known;
  const emulates = hostArchitecture !== 'arm64';
  const { name, directory: usual } = await toolsPlace(cache, source);
  const directory = pins && (await readTools(usual)) ? pinnedFolder(usual, pins) : usual;
  const work = join(options.scratch, 'tools');
  const root = join(work, 'root');
  await mkdir(work, { recursive: true });
  const packages = emulates
    ? [...imagePackages, ...nativePackages, ...emulationPackages]
    : imagePackages;
  const lines = fetchLines({ ...source, components: ['main'] }, await hostMirrors());
  const exclude = [
    '/usr/bin/qemu-*',
    '/usr/share/doc/*',
    '/usr/share/man/*',
    '/usr/share/locale/*',
  ];
  await run(
    'mmdebstrap',
    [
      '--variant=extract',
      '--mode=root',
      `--architectures=${hostArchitecture}`,
      `--include=${packages.join(',')}`,
      ...(options.keyring ? [`--keyring=${options.keyring}`] : []),
      '--aptopt=Acquire::Languages "none"',
      '--aptopt=Acquire::Retries "5"',
      ...exclude.map((path) => `--dpkgopt=path-exclude=${path}`),
      '--dpkgopt=path-include=/usr/bin/qemu-aarch64',
      '--skip=output/dev',
      ...(await preferenceHooks(pins, work)),
      `--extract-hook=ls "$1/var/cache/apt/archives" > "$1/${packageList}"`,
      source.suite,
      root,
      ...lines,
    ],
    {
      log: options.log,
      fix: 'Check the Debian mirror in the apt sources of this host, or set debian.mirror',
    },
  );
  const versions = await packageVersions(root);
  if (pins) refuseDrift(driftOf(versions, pins, true), 'tools', 'the lock');
  if (emulates) {
    await linkNativePrograms(root);
    await compileShim(root, options.log);
  }
  const digest = recordDigest(name, versions);
  await writeFile(
    join(work, 'tools.json'),
    JSON.stringify({ digest, versions } satisfies ToolsRecord),
  );
  await rm(directory, { recursive: true, force: true });
  await mkdir(dirname(directory), { recursive: true });
  await rename(work, directory);
  return handle(join(directory, 'root'), digest, versions);
}

/** mmdebstrap(1) hooks that have apt take the pinned versions, and leave nothing of it in the tree. */
export async function preferenceHooks(pins: Pins | undefined, scratch: string): Promise<string[]> {
  if (!pins) return [];
  const file = join(scratch, 'preferences');
  await writeFile(file, aptPreferences(pins));
  const quoted = `'${file.replaceAll("'", "'\\''")}'`;
  const target = '"$1/etc/apt/preferences.d/pi-gateway-lock"';
  return [
    `--setup-hook=mkdir -p "$1/etc/apt/preferences.d" && cp ${quoted} ${target}`,
    `--customize-hook=rm ${target}`,
  ];
}

/** Written while mmdebstrap runs: a tree that was only unpacked has no dpkg database. */
const packageList = 'packages.list';

/** Package versions, from the names of the archives: name_version_architecture.deb. */
async function packageVersions(root: string): Promise<Record<string, string>> {
  const names = await readFile(join(root, packageList), 'utf8');
  const versions: Record<string, string> = {};
  for (const file of names.split('\n').filter((name) => name.endsWith('.deb'))) {
    const [name, version] = file.split('_');
    if (name && version) versions[name] = decodeURIComponent(version);
  }
  return versions;
}

/** Puts every program that may run natively below native/, where native-exec.c looks. */
async function linkNativePrograms(root: string): Promise<void> {
  for (const folder of nativeFolders) {
    await mkdir(join(root, 'native', folder), { recursive: true });
    for (const entry of await readdir(join(root, folder), { withFileTypes: true })) {
      if (!entry.isFile() || !mayRunNatively(entry.name)) continue;
      const [program, native] = [
        join(root, folder, entry.name),
        join(root, 'native', folder, entry.name),
      ];
      if (ofArchitecture.has(entry.name)) await copyForImage(program, native);
      else if (await isElf(program)) await link(program, native);
    }
  }
}

function mayRunNatively(name: string): boolean {
  if (/^systemd-|ctl$/.test(name)) return nativeOfSystemd.has(name);
  return !neverNative.has(name) && !name.startsWith('qemu');
}

async function copyForImage(program: string, copy: string): Promise<void> {
  const bytes = ofImage(await readFile(program));
  if (bytes) await writeFile(copy, bytes, { mode: 0o755 });
}

/** A program of dpkg's that takes the image's architecture for its own; undefined if that is not one string in it. */
export function ofImage(program: Uint8Array, own: string = hostArchitecture): Buffer | undefined {
  const bytes = Buffer.from(program);
  const word = Buffer.from(`\0${own}\0`);
  const at = bytes.indexOf(word);
  if (at < 0 || bytes.indexOf(word, at + 1) >= 0 || own.length !== imageArchitecture.length)
    return undefined;
  bytes.write(imageArchitecture, at + 1, 'latin1');
  return bytes;
}

async function isElf(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const { buffer } = await file.read(Buffer.alloc(4), 0, 4, 0);
    return buffer.equals(Buffer.from('\x7fELF', 'latin1'));
  } finally {
    await file.close();
  }
}

/** Path of the compiled interpreter in the tools tree. */
export function shimPath(tools: Tools): string {
  return join(tools.root, 'native-exec');
}

/** A static program, since chroots have no library of this host when the kernel starts it. */
async function compileShim(root: string, log: string): Promise<void> {
  await writeFile(join(root, 'native-exec.c'), await readFile(shimSource));
  const musl = '/usr/lib/x86_64-linux-musl';
  await run(
    'chroot',
    [
      root,
      '/usr/bin/tcc',
      '-static',
      '-nostdinc',
      '-nostdlib',
      '-I/usr/include/x86_64-linux-musl',
      '-o',
      '/native-exec',
      `${musl}/crt1.o`,
      `${musl}/crti.o`,
      '/native-exec.c',
      `${musl}/libc.a`,
      '/usr/lib/x86_64-linux-gnu/tcc/libtcc1.a',
      `${musl}/crtn.o`,
    ],
    { log },
  );
}

/** Fails early when the tools of another architecture are asked for. */
export function requireKnownHost(): void {
  if (process.arch !== 'x64' && process.arch !== 'arm64')
    throw new BuildError({
      what: `Images are built on amd64 and arm64 hosts, not on ${process.arch}`,
      code: exitCode.host,
    });
}
