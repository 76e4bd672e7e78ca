import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { configSchema } from '../../builder/config/schema.ts';
import { type RunResult, run } from '../../builder/exec.ts';
import { releaseTree } from '../../builder/lab/probes.ts';
import type { Owner } from './owner.ts';

const project = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

/** What the device has of Podman, and what a test needs around it. */
const packages = [
  ...['podman', 'crun', 'netavark', 'aardvark-dns', 'passt', 'uidmap', 'catatonit'],
  ...['nftables', 'iproute2', 'busybox-static', 'coreutils', 'util-linux', 'dash'],
];

export async function podmanTree(): Promise<string> {
  const { debian } = configSchema([]).parse({ stages: {} });
  return await releaseTree(join(project, 'cache'), debian, packages);
}

/**
 * The device's own Podman, in a tree of its Debian release, with storage of the test's own; it is root there, and
 * without cgroups, which a test machine may not have. Each call is in mount namespaces that end with it.
 */
export class RealPodman {
  readonly folder: string;
  readonly #tree: string;

  private constructor(tree: string, folder: string) {
    this.#tree = tree;
    this.folder = folder;
  }

  static async make(): Promise<RealPodman> {
    const tree = await podmanTree();
    const folder = await mkdtemp(join(tmpdir(), 'pi-gateway-podman-'));
    for (const name of ['storage', 'run', 'tmp', 'etc']) await mkdir(join(folder, name));
    await writeFile(join(folder, 'etc/registries.conf'), '');
    return new RealPodman(tree, folder);
  }

  /** A static one, for images. */
  get busybox(): string {
    return join(this.#tree, 'usr/bin/busybox');
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }

  /** A registry without TLS, on loopback. */
  async trust(host: string): Promise<void> {
    await writeFile(
      join(this.folder, 'etc/registries.conf'),
      `[[registry]]\nlocation = "${host}"\ninsecure = true\n`,
    );
  }

  /** What /usr/libexec/podman/quadlet makes of Quadlets in a folder: its standard output and error. */
  async quadlet(units: string): Promise<RunResult> {
    return await run(join(this.#tree, 'usr/libexec/podman/quadlet'), ['-dryrun', '-user'], {
      env: { QUADLET_UNIT_DIRS: units },
      okCodes: [1],
    });
  }

  async podman(args: readonly string[], input?: string): Promise<RunResult> {
    return await run(
      'unshare',
      ['--mount', 'sh', '-euc', entry, this.#tree, this.folder, ...args],
      {
        ...(input === undefined ? {} : { input }),
        timeout: 120_000,
      },
    );
  }

  /** As the containers' user of the device. */
  get owner(): Owner {
    return {
      run: async (_command, args) => (await this.podman(args)).stdout,
      feed: async (file, _command, args) => {
        await copyFile(file, join(this.folder, 'tmp/archive'));
        return (await this.podman([...args, '--input', '/work/tmp/archive'])).stdout;
      },
    };
  }
}

/**
 * $0: the tree; $1: the folder; then Podman's arguments. A unified hierarchy without controllers is enough for
 * containers without limits.
 */
const entry = `
tree=$0 work=$1
shift
mount --bind "$tree" "$tree"
mount -t tmpfs none "$tree/tmp"
for name in proc sys dev run work root var/tmp; do mkdir -p "$tree/$name"; done
mount --rbind /proc "$tree/proc"
mount --rbind /dev "$tree/dev"
umount -R /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount --rbind /sys "$tree/sys"
mount --bind "$work" "$tree/work"
mount -t tmpfs none "$tree/var/tmp"
export PATH=/usr/sbin:/usr/bin HOME=/work CONTAINERS_REGISTRIES_CONF=/work/etc/registries.conf
exec chroot "$tree" /usr/bin/podman --root /work/storage --runroot /work/run \\
  --cgroup-manager=cgroupfs --log-level=error "$@"
`;
