import {
  access,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno } from '../errors.ts';
import { run } from '../exec.ts';

export type LayerInfo = {
  /** What it is, for people: `base debian`, `packages ssh`. */
  title: string;
  /** Bytes of the files that it holds itself. */
  bytes: number;
  files: number;
  /** Seconds it took to make. */
  seconds: number;
  created: string;
  /** Facts that later steps read, such as a base's date. */
  facts: Record<string, unknown>;
};

type NewLayer = Omit<LayerInfo, 'bytes' | 'files' | 'created'>;

/** Name of a layer's description until its files are surely on the disk. */
const unsettled = 'layer.json.unsettled';

/**
 * Content-addressed layers: `<cache>/layers/<digest>/fs` is an overlayfs directory, `layer.json`
 * beside it describes it. The digest is of everything that the layer was made from, so a layer is
 * never changed once it has its name.
 */
export class LayerStore {
  readonly directory: string;
  /** Layers that may not have reached the disk yet, by digest: only this process takes them for whole. */
  readonly #fresh = new Map<string, LayerInfo>();
  #settling: Promise<void> = Promise.resolve();

  constructor(cache: string) {
    this.directory = join(cache, 'layers');
  }

  /** Path of the layer's tree relative to {@link directory}, for overlay mounts. */
  tree(digest: string): string {
    return `${shortName(digest)}/fs`;
  }

  async find(digest: string): Promise<LayerInfo | undefined> {
    const fresh = this.#fresh.get(digest);
    if (fresh) return fresh;
    const path = join(this.directory, shortName(digest));
    try {
      const info = JSON.parse(await readFile(join(path, 'layer.json'), 'utf8')) as LayerInfo;
      const now = new Date();
      await utimes(path, now, now).catch(() => undefined); // `cache prune` drops the least used
      return info;
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined;
      throw error;
    }
  }

  /** Takes a finished tree in under its digest: either whole or not at all. */
  async commit(digest: string, tree: string, info: NewLayer): Promise<LayerInfo> {
    const full = await this.add(digest, tree, info);
    await this.settle();
    return full;
  }

  /**
   * Takes a finished tree in for this process; others find it, and it outlives a power cut, after
   * {@link settle}. For many small layers in a row, since each look to the disk takes its time.
   */
  async add(digest: string, tree: string, info: NewLayer): Promise<LayerInfo> {
    const target = join(this.directory, shortName(digest));
    const staged = `${tree}.layer`;
    await rm(staged, { recursive: true, force: true });
    await mkdir(staged, { recursive: true });
    await rename(tree, join(staged, 'fs'));
    const { bytes, files } = await measure(join(staged, 'fs'));
    const full = { ...info, bytes, files, created: new Date().toISOString() };
    await writeFile(join(staged, unsettled), `${JSON.stringify(full, null, 2)}\n`);
    await mkdir(this.directory, { recursive: true });
    await rm(target, { recursive: true, force: true });
    await rename(staged, target);
    this.#fresh.set(digest, full);
    return full;
  }

  /** Lets what was added count from now on. */
  settle(): Promise<void> {
    // One after the other: builds side by side share the store.
    this.#settling = this.#settling.catch(() => undefined).then(() => this.#settle());
    return this.#settling;
  }

  async #settle(): Promise<void> {
    const fresh = [...this.#fresh.keys()];
    if (fresh.length === 0) return;
    // After a power cut the name must not stand for files that were never written.
    await run('sync', ['--file-system', this.directory]);
    for (const digest of fresh) {
      const path = join(this.directory, shortName(digest));
      await rename(join(path, unsettled), join(path, 'layer.json'));
      this.#fresh.delete(digest);
    }
  }

  /** Removes what a killed process had added and not settled. Only while no other process adds. */
  async sweep(): Promise<void> {
    for (const name of await readdir(this.directory).catch(() => [])) {
      const path = join(this.directory, name);
      if (await isThere(join(path, unsettled))) await rm(path, { recursive: true, force: true });
    }
  }

  /** All layers, the most recently used first. */
  async list(): Promise<(LayerInfo & { name: string; used: Date })[]> {
    const names = await readdir(this.directory).catch(() => []);
    const layers = await Promise.all(
      names.map(async (name) => {
        const path = join(this.directory, name);
        const text = await readFile(join(path, 'layer.json'), 'utf8').catch(() => undefined);
        if (!text) return [];
        return [{ ...(JSON.parse(text) as LayerInfo), name, used: (await stat(path)).mtime }];
      }),
    );
    return layers.flat().toSorted((a, b) => b.used.getTime() - a.used.getTime());
  }

  async remove(name: string): Promise<void> {
    await rm(join(this.directory, name), { recursive: true, force: true });
  }
}

/** Directory name of a digest: short, since mount(2) limits the list of lower directories to a page. */
export function shortName(digest: string): string {
  return digest.slice(0, 20);
}

async function isThere(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}

async function measure(tree: string): Promise<{ bytes: number; files: number }> {
  const { stdout } = await run('find', [tree, '-type', 'f', '-printf', '%s\\n']);
  const sizes = stdout.split('\n').filter(Boolean).map(Number);
  return { bytes: sizes.reduce((sum, size) => sum + size, 0), files: sizes.length };
}
