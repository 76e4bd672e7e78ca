import { mkdir, readdir, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { registerBinfmt, unregisterBinfmt } from './chroot/binfmt.ts';
import { takeBuildLock } from './chroot/lock.ts';
import { Mounts } from './chroot/mounts.ts';
import { checkCacheDisk, freshScratch } from './chroot/scratch.ts';
import { run } from './exec.ts';
import { LayerStore } from './layer/store.ts';
import { Gate, Once } from './matrix/gate.ts';
import { Meter } from './resources.ts';
import { readArchiveState, writeArchiveState } from './state.ts';
import { shimPath, type Tools } from './tools/tools.ts';

export type HostRequest = {
  /** Absolute path of the cache. */
  cache: string;
  /** Names the package archives' state to build at; else the cache's own. */
  archiveState?: string | undefined;
  /** Ask for the newest base and packages. */
  refresh: boolean;
  /** False skips the check for free space. */
  spaceCheck: boolean;
  /** Steps that may run at the same time; 1 for a single image. */
  slots: number;
};

/** What the builds of one process share: lock, cache, scratch, emulation, cores. */
export class BuildHost {
  readonly cache: string;
  readonly scratch: string;
  readonly store: LayerStore;
  /** Names the state of the package archives that layers are made at. */
  readonly archiveState: string;
  /** Mounts that last as long as the host does: those of image bases. */
  readonly mounts = new Mounts();
  readonly meter = new Meter();
  readonly #o: HostRequest;
  readonly #gate: Gate;
  readonly #once = new Once();
  #ready: Promise<void> | undefined;
  #registered: Promise<() => Promise<void>> | undefined;

  private constructor(o: HostRequest, scratch: string, archiveState: string) {
    this.#o = o;
    this.cache = o.cache;
    this.scratch = scratch;
    this.store = new LayerStore(o.cache);
    this.archiveState = archiveState;
    this.#gate = new Gate(o.slots);
    this.meter.watch(scratch);
    this.meter.start();
  }

  /** Takes the build lock and clears what a killed build left. Needs the private namespace. */
  static async open(o: HostRequest): Promise<BuildHost> {
    await takeBuildLock();
    await unregisterBinfmt();
    const scratch = await freshScratch(o.cache);
    await new LayerStore(o.cache).sweep();
    const state =
      o.archiveState ?? (o.refresh ? new Date().toISOString() : await readArchiveState(o.cache));
    return new BuildHost(o, scratch, state);
  }

  async close(): Promise<void> {
    this.meter.stop();
    if (this.#registered) await (await this.#registered)();
    await this.mounts.undo();
    await rm(this.scratch, { recursive: true, force: true });
  }

  /** Checks the host once, before anything is made. */
  prepare(): Promise<void> {
    this.#ready ??= this.#o.spaceCheck
      ? this.store
          .list()
          .then((layers) => checkCacheDisk(this.cache, this.scratch, layers.length > 0))
      : Promise.resolve();
    return this.#ready;
  }

  /** Registers the interpreter for arm64 programs, once, if this host needs one. */
  async emulate(tools: Tools): Promise<void> {
    if (!tools.emulates) return;
    this.#registered ??= registerBinfmt(shimPath(tools));
    await this.#registered;
  }

  /** Says that a base of the wished-for archive state is there: later builds start from it. */
  async keepArchiveState(): Promise<void> {
    if (this.#o.refresh) await writeArchiveState(this.cache, this.archiveState);
  }

  /** Runs work that takes cores and memory, when it is its turn. */
  slot<T>(work: () => Promise<T>): Promise<T> {
    return this.#gate.run(work);
  }

  /** Runs work that several builds need only for the first that asks; the others get its result. */
  once<T>(key: string, work: () => Promise<T>): Promise<T> {
    return this.#once.run(key, work);
  }

  /**
   * Hands apt's lists and archives of `kind` of base to `work`. Where several images are built side by
   * side each gets hard links of its own, since apt locks these folders; new archives are kept for all.
   */
  async withAptCache<T>(kind: string, work: (folder: string) => Promise<T>): Promise<T> {
    const shared = join(this.cache, 'apt', kind);
    if (this.#o.slots === 1) return await work(shared);
    const own = join(this.scratch, `apt-${crypto.randomUUID()}`);
    const archives = join(shared, 'archives');
    await mkdir(archives, { recursive: true });
    await run('cp', ['--archive', '--link', shared, own]);
    for (const name of ['archives/lock', 'lists/lock']) await rm(join(own, name), { force: true });
    try {
      return await work(own);
    } finally {
      const before = new Set(await readdir(archives));
      const fresh = (await readdir(join(own, 'archives')).catch(() => [])).filter(
        (name) => name.endsWith('.deb') && !before.has(name),
      );
      for (const name of fresh)
        await run('cp', ['--link', '--no-clobber', join(own, 'archives', name), archives]);
      await rm(own, { recursive: true, force: true });
    }
  }

  /** A folder below the scratch folder that only this image's build uses. */
  async scratchOf(name: string): Promise<string> {
    const folder = join(this.scratch, basename(name));
    await mkdir(folder, { recursive: true });
    return folder;
  }
}
