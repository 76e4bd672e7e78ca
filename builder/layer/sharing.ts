import { mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import * as z from 'zod';
import { type DebianFacts, debianFacts, debianLayer } from '../base/base.ts';
import type { Config } from '../config/schema.ts';
import { openRemote } from '../oci/remote.ts';
import { openSeal } from '../oci/seal.ts';
import { isToolsTree, type Tools, toolsPlace } from '../tools/tools.ts';
import type { Step } from '../ui/progress.ts';
import { installedPackages, touchesInitramfs } from './apply.ts';
import { type Shareable, SharedLayers, type Wanted } from './shared.ts';
import type { LayerStore } from './store.ts';

/** A layer of the store by the digest of what it is made of. */
export type LayerName = { id: string; digest: string };

/** Shows work as a step of the build. */
export type ShowStep = (name: string, work: (ui: Step) => Promise<void>) => Promise<void>;

/** What a layer on top of a base records. */
const layerFacts = z.strictObject({ initramfs: z.boolean() });

/** What is recorded of a tools tree. */
const toolsFacts = z.object({ digest: z.string().regex(/^[0-9a-f]{64}$/) });

/** Brings tools, base and layers of the cache to other machines, and theirs here. */
export class Sharing {
  readonly #shared: SharedLayers;
  readonly #store: LayerStore;
  readonly #cache: string;
  /** Each is asked for once a build; who comes later waits for it. */
  readonly #asked = new Map<string, Promise<void>>();

  constructor(shared: SharedLayers, store: LayerStore, cache: string) {
    this.#shared = shared;
    this.#store = store;
    this.#cache = cache;
  }

  /** As the configuration says; `scratch` is a folder on the cache's file system. */
  static async open(o: {
    root: string;
    config: Config;
    cache: string;
    store: LayerStore;
    scratch: string;
    say: (text: string) => void;
  }): Promise<Sharing> {
    const { push, pull, plain_http: plainHttp, sign_key, verify_key } = o.config.cache;
    const path = (file: string | null) => (file === null ? null : resolve(o.root, file));
    const authFile = path(o.config.cache.auth_file);
    const seal = await openSeal({ signKey: path(sign_key), verifyKey: path(verify_key) });
    const remotes = new Map(
      [...pull, ...(push ? [push] : [])].map((name) => [
        name,
        openRemote(name, { root: o.root, plainHttp, authFile }),
      ]),
    );
    const find = (name: string) => remotes.get(name) ?? [];
    const { scratch, say } = o;
    const shared = new SharedLayers({
      push: push ? remotes.get(push) : undefined,
      pull: pull.flatMap(find),
      scratch,
      seal,
      say,
    });
    return new Sharing(shared, o.store, o.cache);
  }

  /**
   * The tools tree, if some store has it; with a state of the archives also the Debian base that was made with
   * these tools, at the same time.
   */
  async pullTools(config: Config, archiveState: string | undefined, show: ShowStep): Promise<void> {
    if (!this.#shared.pulls) return;
    const { name, directory } = await toolsPlace(this.#cache, config.debian);
    const tools: Wanted<unknown> = {
      tag: toolsTag(name),
      facts: z.unknown(),
      fits: (tree) => isToolsTree(tree, name),
      place: async (tree) => {
        await rm(directory, { recursive: true, force: true });
        await mkdir(dirname(directory), { recursive: true });
        await rename(tree, directory);
      },
    };
    const wanted: Wanted<unknown>[] = [tools];
    if (archiveState !== undefined && config.base[0] === 'debian') {
      // The base's name is made of the tools' digest, which who pushed them has recorded.
      const facts = toolsFacts.safeParse(await this.#shared.facts(tools.tag));
      if (facts.success) {
        const base = debianLayer(config, facts.data, archiveState);
        if (!(await this.#store.find(base))) wanted.push(this.#base(base) as Wanted<unknown>);
      }
    }
    await this.#pull('tools', wanted, show);
  }

  /** The Debian base's layer, if some store has it. */
  async pullBase(digest: string, show: ShowStep): Promise<void> {
    await this.#pull('base debian', [this.#base(digest)], show);
  }

  #base(digest: string): Wanted<DebianFacts> {
    return this.#layer(digest, debianFacts, async (tree, facts) =>
      isDeepStrictEqual(await installedPackages(tree), facts.versions),
    );
  }

  /** Those of the layers that the cache lacks and some store has. */
  async pullLayers(name: string, digests: readonly string[], show: ShowStep): Promise<void> {
    const fits = async (tree: string, facts: z.output<typeof layerFacts>) =>
      (await touchesInitramfs(tree)) === facts.initramfs;
    const missing: string[] = [];
    for (const digest of digests) if (!(await this.#store.find(digest))) missing.push(digest);
    await this.#pull(
      name,
      missing.map((digest) => this.#layer(digest, layerFacts, fits)),
      show,
    );
  }

  /** Puts the tools and layers that a build used where `cache.push` says, as far as they are not there. */
  async push(
    o: { tools: Tools; source: Config['debian']; layers: readonly LayerName[] },
    show: ShowStep,
  ): Promise<{ trees: number; bytes: number }> {
    let pushed = { trees: 0, bytes: 0 };
    if (!this.#shared.pushes) return pushed;
    const { name, directory } = await toolsPlace(this.#cache, o.source);
    const trees: Shareable[] = [
      {
        tag: toolsTag(name),
        title: 'tools',
        seconds: 20,
        facts: { digest: o.tools.digest },
        tree: directory,
      },
    ];
    for (const { digest } of o.layers) {
      const info = await this.#store.find(digest);
      if (!info) continue;
      const tree = join(this.#store.directory, this.#store.tree(digest));
      const { title, seconds, facts } = info;
      trees.push({ tag: digest, title, seconds, facts, tree });
    }
    const tar = o.tools.command('usr/bin/tar');
    await show('push layers', async (ui) => {
      pushed = await this.#shared.push(trees, { tar, onTree: (title) => ui.note(title) });
      ui.note(`${pushed.trees} new`);
    });
    return pushed;
  }

  async #pull<Facts>(
    name: string,
    wanted: readonly Wanted<Facts>[],
    show: ShowStep,
  ): Promise<void> {
    if (!this.#shared.pulls) return;
    const fresh = wanted.filter(({ tag }) => !this.#asked.has(tag));
    const running = this.#pullFresh(name, fresh, show);
    for (const { tag } of fresh) this.#asked.set(tag, running);
    await Promise.all(new Set(wanted.map(({ tag }) => this.#asked.get(tag))));
  }

  async #pullFresh<Facts>(
    name: string,
    fresh: readonly Wanted<Facts>[],
    show: ShowStep,
  ): Promise<void> {
    const offered = await this.#shared.offered(fresh.map(({ tag }) => tag));
    if (offered.size === 0) return;
    await show(`pull ${name}`, async (ui) => {
      const [done, total] = [new Map<string, number>(), new Map<string, number>()];
      await this.#shared.pull(
        fresh.filter(({ tag }) => offered.has(tag)),
        (tag, bytes, size) => {
          done.set(tag, bytes);
          total.set(tag, size);
          ui.progress(sum(done), total.size === offered.size ? sum(total) : undefined);
        },
      );
      await this.#store.settle();
    });
  }

  #layer<Facts extends Record<string, unknown>>(
    digest: string,
    facts: z.ZodType<Facts>,
    fits: Wanted<Facts>['fits'],
  ): Wanted<Facts> {
    return {
      tag: digest,
      facts,
      fits,
      place: async (tree, { title, seconds, facts: recorded }) => {
        await this.#store.add(digest, tree, { title, seconds, facts: recorded });
      },
    };
  }
}

function toolsTag(name: string): string {
  return `tools-${name}`;
}

function sum(sizes: ReadonlyMap<string, number>): number {
  return [...sizes.values()].reduce((all, size) => all + size, 0);
}
