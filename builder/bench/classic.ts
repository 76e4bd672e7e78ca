import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Chroot, GatewayConfig } from '../../stages/define.ts';
import { readDiskLayout } from '../base/disk-layout.ts';
import { registerBinfmt } from '../chroot/binfmt.ts';
import { Mounts } from '../chroot/mounts.ts';
import { policyRcD } from '../chroot/session.ts';
import { hostPath, run } from '../exec.ts';
import { packagesOf } from '../inspect/dpkg.ts';
import { applyConfig, updateInitramfs } from '../layer/apply.ts';
import type { PreparedStage } from '../overlay/prepare.ts';
import type { Tools } from '../tools/tools.ts';

/**
 * A copy of an image, loop-mounted, with a chroot in it whose programs QEMU runs: what tools that customise an
 * image do. QEMU is the same version as the builder's own.
 */
export class ClassicChroot {
  readonly #root: string;
  readonly #image: string;
  readonly #mounts: Mounts;
  readonly #unregister: () => Promise<void>;
  readonly #boot: { files: string; start: number };

  private constructor(
    root: string,
    image: string,
    mounts: Mounts,
    unregister: () => Promise<void>,
    boot: { files: string; start: number },
  ) {
    this.#root = root;
    this.#image = image;
    this.#mounts = mounts;
    this.#unregister = unregister;
    this.#boot = boot;
  }

  static async open(o: {
    base: string;
    scratch: string;
    tools: Tools;
    /** Package archives that are there already. */
    archives: string;
  }): Promise<ClassicChroot> {
    const folder = join(o.scratch, 'classic');
    await rm(folder, { recursive: true, force: true });
    const root = join(folder, 'root');
    const boot = join(folder, 'boot');
    await mkdir(root, { recursive: true });
    await mkdir(boot);
    const image = join(folder, 'card.img');
    await run('cp', ['--sparse=always', '--reflink=never', o.base, image]);
    const layout = await readDiskLayout(image);
    const { startBytes, sizeBytes } = layout.root;
    const unregister = await registerBinfmt(join(o.tools.root, 'usr/bin/qemu-aarch64'));
    const mounts = new Mounts();
    try {
      await mounts.mount(root, ['-o', `loop,offset=${startBytes},sizelimit=${sizeBytes}`, image]);
      // Not every kernel mounts FAT: its files come and go by mtools, as the builder's do.
      const partition = `${image}@@${layout.boot.startBytes}`;
      await run('mcopy', ['-s', '-n', '-i', partition, '::*', boot]);
      await mounts.bind(boot, join(root, 'boot/firmware'));
      for (const name of ['proc', 'sys', 'dev', 'dev/pts'])
        await mounts.bind(`/${name}`, join(root, name));
      await mounts.mount(join(root, 'run'), ['-t', 'tmpfs', 'tmpfs']);
      await mkdir(join(root, 'run/systemd/resolve'), { recursive: true });
      await copyFile('/etc/resolv.conf', join(root, 'run/systemd/resolve/stub-resolv.conf'));
      await mkdir(join(root, 'var/cache/apt/archives'), { recursive: true });
      await mounts.bind(o.archives, join(root, 'var/cache/apt/archives'));
      await writeFile(join(root, 'usr/sbin/policy-rc.d'), policyRcD, { mode: 0o755 });
    } catch (error) {
      await mounts.undo();
      await unregister();
      throw error;
    }
    return new ClassicChroot(root, image, mounts, unregister, {
      files: boot,
      start: layout.boot.startBytes,
    });
  }

  async run(command: string, args: readonly string[]): Promise<string> {
    const { stdout } = await run('chroot', [this.#root, command, ...args], {
      env: { PATH: hostPath, HOME: '/root', LC_ALL: 'C.UTF-8', DEBIAN_FRONTEND: 'noninteractive' },
    });
    return stdout;
  }

  async update(): Promise<void> {
    await this.run('apt-get', ['update']);
  }

  async install(packages: readonly string[]): Promise<void> {
    await this.run('apt-get', [
      'install',
      '--yes',
      '--no-install-recommends',
      ...['-o', 'DPkg::Options::=--force-confdef', '-o', 'DPkg::Options::=--force-confold'],
      ...packages,
    ]);
  }

  async purge(packages: readonly string[]): Promise<void> {
    if (packages.length > 0) await this.run('dpkg', ['--purge', ...packages]);
  }

  async installed(): Promise<Set<string>> {
    const text = await readFile(join(this.#root, 'var/lib/dpkg/status'), 'utf8');
    return new Set(Object.keys(packagesOf(text)));
  }

  /** Packages, files and services of the stages; their code, which is the builder's own, is left out. */
  async customise(stages: readonly PreparedStage[], config: GatewayConfig): Promise<void> {
    await this.update();
    const installed = await this.installed();
    await this.purge(stages.flatMap((stage) => stage.purge).filter((name) => installed.has(name)));
    await this.install([...new Set(stages.flatMap((stage) => stage.packages))].sort());
    for (const stage of stages) await applyConfig(this.#session(), withoutCode(stage), config);
    await updateInitramfs(this.#session());
  }

  /** Writes everything back to the image's file. */
  async close(): Promise<void> {
    await rm(join(this.#root, 'usr/sbin/policy-rc.d'), { force: true });
    const files = await readdir(this.#boot.files);
    await this.#mounts.undo();
    const partition = `${this.#image}@@${this.#boot.start}`;
    await run('mcopy', [
      ...['-s', '-o', '-Q', '-m', '-i', partition],
      ...files.map((name) => join(this.#boot.files, name)),
      '::',
    ]);
    await run('sync', [this.#image]);
    await this.#unregister();
  }

  /** Ends it whatever has happened in it. */
  async abandon(): Promise<void> {
    await this.#mounts.undo();
    await this.#unregister();
  }

  #session(): Chroot {
    const inside = (path: string) => join(this.#root, path);
    return {
      root: this.#root,
      run: (command, args = []) => this.run(command, args),
      write: async (path, content, mode = 0o644) => {
        await mkdir(dirname(inside(path)), { recursive: true });
        await writeFile(inside(path), content, { mode });
      },
      read: (path) => this.run('cat', [path]),
      exists: async () => false,
      remove: (path) => rm(inside(path), { recursive: true, force: true }),
    };
  }
}

function withoutCode(stage: PreparedStage): PreparedStage {
  const { run: _, ...definition } = stage.stage.definition;
  return { ...stage, stage: { ...stage.stage, definition } };
}
