import { chmod, lstat, mkdir, readFile, rm, rmdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Chroot } from '../../stages/define.ts';
import { BuildError, isErrno } from '../errors.ts';
import { hostPath, run } from '../exec.ts';
import { packagesOf } from '../inspect/dpkg.ts';
import { libraryDirectory, type Tools } from '../tools/tools.ts';
import { bindStep, type MountStep, Mounts, mountOverlay } from './mounts.ts';

export type Session = Chroot & {
  /** Installs packages (`name` or `name=version`) without Recommends. */
  install(packages: readonly string[]): Promise<void>;
  /** Purges those of the packages that are installed, and nothing that depends on them. */
  purge(packages: readonly string[]): Promise<void>;
  /** Opens an interactive shell in it. */
  shell(): Promise<void>;
  /** Unmounts everything; the upper directory then holds just what changed. */
  close(): Promise<void>;
};

export type SessionOptions = {
  tools: Tools;
  /** Directory of the layers and their names, lowest first. */
  directory: string;
  layers: readonly string[];
  /** An empty directory for this session's mount point, upper and work directories. */
  scratch: string;
  /** Archives and lists that all sessions share; kept out of the layer. */
  aptCache: string;
  log: string;
  sourceDateEpoch: number;
  /** apt_preferences(5): versions to take. */
  preferences?: string | undefined;
  /** sources.list(5), instead of those that the image has. */
  sources?: string | undefined;
  onLine?: (line: string) => void;
};

/** Where the chroot finds the tools tree; native-exec.c has the same path. */
export const toolsMount = '/.pi-gateway-tools';

/** deb-systemd-invoke and invoke-rc.d ask it; 101: action forbidden by policy (Debian policy-rc.d spec). */
export const policyRcD = '#!/bin/sh\nexit 101\n';

const aptConf = `APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Sandbox::User "root";
APT::Get::Assume-Yes "true";
APT::Color "0";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Acquire::Languages "none";
Acquire::Retries "5";
Acquire::Queue-Mode "host";
DPkg::Lock::Timeout "60";
DPkg::Options { "--force-unsafe-io"; "--force-confdef"; "--force-confold"; };
Dpkg::Use-Pty "0";
`;

/** Device nodes a package's scripts may use; the host's others stay out. */
const deviceNodes = ['null', 'zero', 'full', 'random', 'urandom', 'tty'];

/**
 * Opens the layers as a chroot whose changes go to `scratch`/upper. Each command runs in a PID
 * namespace of its own, so a daemon that a package starts ends with it.
 */
export async function openSession(options: SessionOptions): Promise<Session> {
  const root = join(options.scratch, 'root');
  const upper = join(options.scratch, 'upper');
  const work = join(options.scratch, 'work');
  const mounts = new Mounts();
  await mkdir(upper, { recursive: true });
  await mkdir(work, { recursive: true });
  await mountOverlay(mounts, {
    directory: options.directory,
    layers: options.layers,
    target: root,
    upper: { directory: upper, work },
  });
  /** Paths that this session makes and that must not stay in the layer. */
  const temporary: string[] = [];
  const make = async (path: string, content: string, mode: number) => {
    await writeFile(join(root, path), content, { mode });
    await chmod(join(root, path), mode);
    temporary.push(path);
  };
  try {
    const tmpfs = (mode: string) => ['-t', 'tmpfs', '-o', `mode=${mode}`, 'tmpfs'];
    await mounts.mountAll([
      { target: join(root, 'proc'), args: ['-t', 'proc', 'proc'] },
      { target: join(root, 'sys'), args: ['-t', 'sysfs', '-o', 'ro', 'sysfs'] },
      { target: join(root, 'dev'), args: tmpfs('755') },
      { target: join(root, 'run'), args: tmpfs('755') },
      { target: join(root, 'tmp'), args: tmpfs('1777') },
    ]);
    await mkdir(join(root, 'run/lock'));
    await mkdir(join(root, 'run/pi-gateway'));
    await provideAptConf(join(root, 'run/pi-gateway'), options);
    await make('usr/sbin/policy-rc.d', policyRcD, 0o755);
    await provideResolver(root, temporary);
    await mounts.mountAll([
      ...(await populateDev(join(root, 'dev'))),
      ...(await provideAptCache(root, options.aptCache)),
      ...(await deferInitramfs(root)),
      ...(options.tools.emulates ? await provideTools(root, options.tools, temporary) : []),
    ]);
  } catch (error) {
    await mounts.undo();
    throw error;
  }

  const environment = {
    PATH: hostPath,
    HOME: '/root',
    LC_ALL: 'C.UTF-8',
    DEBIAN_FRONTEND: 'noninteractive',
    DEBCONF_NONINTERACTIVE_SEEN: 'true',
    APT_CONFIG: '/run/pi-gateway/apt.conf',
    SOURCE_DATE_EPOCH: String(options.sourceDateEpoch),
    TZ: 'UTC',
    // debconf writes its database in hash order.
    PERL_HASH_SEED: '0',
    PYTHONHASHSEED: '0',
  };
  const enter = [
    '--pid',
    '--fork',
    '--kill-child=KILL',
    '--root',
    root,
    '--wd',
    '/',
    '--mount-proc=/proc',
  ];

  const inside = (path: string) => join(root, path);
  const runIn: Chroot['run'] = async (command, args = [], extra = {}) => {
    const result = await run('unshare', ['--mount', ...enter, '--', command, ...args], {
      env: { ...environment, ...extra.env },
      log: options.log,
      ...(extra.input === undefined ? {} : { input: extra.input }),
      ...(options.onLine ? { onLine: options.onLine } : {}),
      fix: `The whole log: ${options.log}`,
    });
    return result.stdout;
  };

  return {
    root,
    run: runIn,
    install: async (packages) => {
      if (packages.length === 0) return;
      await withoutHostKeys(root, () => runIn('apt-get', ['install', '--no-remove', ...packages]));
    },
    purge: async (packages) => {
      const status = await readFile(inside('/var/lib/dpkg/status'), 'utf8');
      const present = packages.filter((name) => name in packagesOf(status));
      if (present.length > 0) await runIn('dpkg', ['--purge', ...present]);
    },
    write: async (path, content, mode = 0o644) => {
      await mkdir(dirname(inside(path)), { recursive: true });
      await rm(inside(path), { force: true });
      await writeFile(inside(path), content, { mode });
      await chmod(inside(path), mode);
    },
    read: (path) => readFile(inside(path), 'utf8'),
    exists: async (path) => {
      try {
        await lstat(inside(path));
        return true;
      } catch (error) {
        if (isErrno(error, 'ENOENT') || isErrno(error, 'ENOTDIR')) return false;
        throw error;
      }
    },
    remove: (path) => rm(inside(path), { recursive: true, force: true }),
    shell: async () => {
      const { execa } = await import('execa');
      await execa('unshare', ['--mount', ...enter, '--', '/bin/bash', '-l'], {
        stdio: 'inherit',
        reject: false,
        extendEnv: false,
        env: { ...environment, TERM: process.env.TERM ?? 'dumb' },
      });
    },
    close: async () => {
      await mounts.undo();
      for (const path of temporary.toReversed()) await removeFromUpper(upper, path);
    },
  };
}

/**
 * openssh-server makes host keys where there are none, which takes seconds and would be the same on all
 * devices: each makes its own on first boot. So while packages are installed there are some, which are empty.
 */
async function withoutHostKeys(root: string, install: () => Promise<unknown>): Promise<void> {
  const folder = join(root, 'etc/ssh');
  const made: string[] = [];
  const fresh = await mkdir(folder, { recursive: true, mode: 0o755 });
  for (const kind of ['rsa', 'ecdsa', 'ed25519']) {
    const file = join(folder, `ssh_host_${kind}_key`);
    if (await lstat(file).catch(() => undefined)) continue;
    await writeFile(file, '', { mode: 0o600 });
    made.push(file);
  }
  try {
    await install();
  } finally {
    for (const file of made) await rm(file, { force: true });
    // It stays if something came into it.
    if (fresh !== undefined) await rmdir(folder).catch(() => undefined);
  }
}

/** In /run, which is the session's own: nothing of it stays in the image. */
async function provideAptConf(
  directory: string,
  o: Pick<SessionOptions, 'preferences' | 'sources'>,
): Promise<void> {
  const conf = [aptConf];
  if (o.preferences !== undefined) {
    await writeFile(join(directory, 'preferences'), o.preferences);
    conf.push('Dir::Etc::Preferences "/run/pi-gateway/preferences";\n');
  }
  if (o.sources !== undefined) {
    await writeFile(join(directory, 'sources.list'), o.sources);
    conf.push('Dir::Etc::SourceList "/run/pi-gateway/sources.list";\n');
    conf.push('Dir::Etc::SourceParts "/dev/null";\n');
  }
  await writeFile(join(directory, 'apt.conf'), conf.join(''));
}

/** Fills /dev; returns what is mounted in it. */
async function populateDev(dev: string): Promise<MountStep[]> {
  for (const node of deviceNodes) await writeFile(join(dev, node), '');
  await mkdir(join(dev, 'pts'));
  await mkdir(join(dev, 'shm'), { mode: 0o1777 });
  await symlink('pts/ptmx', join(dev, 'ptmx'));
  await symlink('/proc/self/fd', join(dev, 'fd'));
  await symlink('/proc/self/fd/0', join(dev, 'stdin'));
  await symlink('/proc/self/fd/1', join(dev, 'stdout'));
  await symlink('/proc/self/fd/2', join(dev, 'stderr'));
  return [
    ...deviceNodes.map((node) => bindStep(join('/dev', node), join(dev, node))),
    {
      target: join(dev, 'pts'),
      args: ['-t', 'devpts', '-o', 'newinstance,ptmxmode=0666,mode=620', 'devpts'],
    },
  ];
}

/**
 * Lets the chroot resolve names as the host does. On images with systemd-resolved, resolv.conf is a
 * link into /run, which is ours; elsewhere a missing file is put in for the session.
 */
async function provideResolver(root: string, temporary: string[]): Promise<void> {
  const content = await readFile('/etc/resolv.conf', 'utf8').catch(() => '');
  const path = join(root, 'etc/resolv.conf');
  const kind = await lstat(path).catch(() => undefined);
  if (kind?.isSymbolicLink()) {
    const stub = join(root, 'run/systemd/resolve');
    await mkdir(stub, { recursive: true });
    await writeFile(join(stub, 'stub-resolv.conf'), content);
    await writeFile(join(stub, 'resolv.conf'), content);
  } else if (!kind || kind.size === 0) {
    await writeFile(path, content);
    temporary.push('etc/resolv.conf');
  }
}

async function provideAptCache(root: string, cache: string): Promise<MountStep[]> {
  const steps: MountStep[] = [];
  for (const [shared, path] of [
    ['archives', 'var/cache/apt/archives'],
    ['lists', 'var/lib/apt/lists'],
  ] as const) {
    await mkdir(join(cache, shared, 'partial'), { recursive: true });
    await mkdir(join(root, path), { recursive: true });
    steps.push(bindStep(join(cache, shared), join(root, path)));
  }
  return steps;
}

/** One initramfs is made when all stages are done, not one for each package that asks. */
async function deferInitramfs(root: string): Promise<MountStep[]> {
  const conf = 'etc/initramfs-tools/update-initramfs.conf';
  if (!(await lstat(join(root, conf)).catch(() => undefined))) return [];
  const stub = join(root, 'run/pi-gateway/update-initramfs.conf');
  await writeFile(stub, 'update_initramfs=no\nbackup_initramfs=no\n');
  return [bindStep(stub, join(root, conf))];
}

/** See native-exec.c: the tools tree, and its C library where its programs look for it. */
async function provideTools(root: string, tools: Tools, temporary: string[]): Promise<MountStep[]> {
  for (const path of [toolsMount.slice(1), libraryDirectory, 'usr/lib64']) {
    await mkdir(join(root, path));
    temporary.push(path);
  }
  if (!(await lstat(join(root, 'lib64')).catch(() => undefined))) {
    await symlink('usr/lib64', join(root, 'lib64'));
    temporary.push('lib64');
  }
  return [
    bindStep(tools.root, join(root, toolsMount)),
    bindStep(join(tools.root, libraryDirectory), join(root, libraryDirectory)),
    bindStep(join(tools.root, 'usr/lib64'), join(root, 'usr/lib64')),
  ];
}

/** Takes back a path that the session made; what a lower layer has stays untouched. */
async function removeFromUpper(upper: string, path: string): Promise<void> {
  const target = join(upper, path);
  const kind = await lstat(target).catch(() => undefined);
  if (!kind) return;
  if (!kind.isDirectory()) await rm(target);
  else
    await rmdir(target).catch((cause) => {
      throw new BuildError({
        what: `A package wrote to /${path}, which the build keeps for its own tools`,
        where: target,
        cause,
      });
    });
}
