import { join } from 'node:path';
import type * as z from 'zod';
import { messageOf } from '../errors.ts';
import { fetchParcel, type Parcel, readFacts, type Seal, sendParcel } from '../oci/parcel.ts';
import type { Remote } from '../oci/remote.ts';
import { RemoteError } from '../oci/remote-error.ts';

/** A tree that may come from a shared store, and how to tell that it is whole. */
export type Wanted<Facts> = {
  tag: string;
  facts: z.ZodType<Facts>;
  /** False if the tree is not what its facts say. */
  fits: (tree: string, facts: Facts) => Promise<boolean>;
  /** Takes the checked tree into the cache. */
  place: (tree: string, parcel: Omit<Parcel, 'facts'> & { facts: Facts }) => Promise<void>;
};

/** A tree of the cache to put into the shared store. */
export type Shareable = Parcel & { tree: string };

export type SharedOptions = {
  push: Remote | undefined;
  pull: readonly Remote[];
  scratch: string;
  seal?: Seal | undefined;
  say: (text: string) => void;
};

const withoutIt = 'the build goes on without it';

/** Trees that are asked for and fetched at the same time: one comes while another is unpacked, on few cores. */
const parallel = 3;

/**
 * Layers that several machines share. It never ends a build: a remote that fails or lies is named once and
 * then left alone, and what it does not give is made here.
 */
export class SharedLayers {
  readonly #o: SharedOptions;
  /** Remotes that cannot be used, by name. */
  readonly #failed = new Set<string>();
  /** Remotes that gave what does not hold: nothing more is taken from them. */
  readonly #distrusted = new Set<string>();
  /** Tags whose content did not hold: the next push replaces them. */
  readonly #wrong = new Set<string>();

  constructor(options: SharedOptions) {
    this.#o = options;
  }

  /** True if there is somewhere to ask. */
  get pulls(): boolean {
    return this.#o.pull.length > 0;
  }

  /** True if there is somewhere to put layers. */
  get pushes(): boolean {
    return this.#o.push !== undefined;
  }

  /** Which of the tags some remote has. */
  async offered(tags: readonly string[]): Promise<Set<string>> {
    const found = new Set<string>();
    for (const remote of this.#o.pull)
      await eachOf(tags, async (tag) => {
        if (found.has(tag) || !this.#mayPull(remote)) return;
        try {
          if (await remote.hasTag(tag)) found.add(tag);
        } catch (error) {
          this.#giveUp(remote, error, withoutIt);
        }
      });
    return found;
  }

  /** What the first remote that has the tag records of it. */
  async facts(tag: string): Promise<unknown> {
    for (const remote of this.#o.pull) {
      if (!this.#mayPull(remote)) continue;
      try {
        const facts = await readFacts(remote, tag, this.#o.seal);
        if (facts !== undefined) return facts;
      } catch (error) {
        if (error instanceof RemoteError) this.#giveUp(remote, error, withoutIt);
        else this.#distrust(remote, tag, error);
      }
    }
    return undefined;
  }

  /** Fetches what remotes have, several at once; returns the tags that are now in the cache. */
  async pull<Facts>(
    wanted: readonly Wanted<Facts>[],
    onProgress?: (tag: string, done: number, total: number) => void,
  ): Promise<Set<string>> {
    const there = new Set<string>();
    await eachOf(wanted, async (one) => {
      if (await this.#pullOne(one, (done, total) => onProgress?.(one.tag, done, total)))
        there.add(one.tag);
    });
    return there;
  }

  async #pullOne<Facts>(
    wanted: Wanted<Facts>,
    onProgress: (done: number, total: number) => void,
  ): Promise<boolean> {
    for (const remote of this.#o.pull) {
      if (!this.#mayPull(remote)) continue;
      const tree = join(this.#o.scratch, 'pull', wanted.tag);
      try {
        const { scratch, seal } = this.#o;
        const parcel = await fetchParcel(remote, wanted.tag, { tree, scratch, seal, onProgress });
        if (!parcel) continue;
        const facts = wanted.facts.parse(parcel.facts);
        if (!(await wanted.fits(tree, facts)))
          throw new Error('A layer is refused: it is not what is recorded of it');
        await wanted.place(tree, { ...parcel, facts });
        return true;
      } catch (error) {
        if (error instanceof RemoteError) this.#giveUp(remote, error, withoutIt);
        else this.#distrust(remote, wanted.tag, error);
      }
    }
    return false;
  }

  /** Puts there what the remote lacks; returns how much that was. */
  async push(
    trees: readonly Shareable[],
    o: { tar?: readonly string[]; onTree?: (title: string) => void } = {},
  ): Promise<{ trees: number; bytes: number }> {
    const pushed = { trees: 0, bytes: 0 };
    const remote = this.#o.push;
    if (!remote || this.#failed.has(remote.name)) return pushed;
    try {
      for (const { tree, ...parcel } of trees) {
        if (!this.#wrong.has(parcel.tag) && (await remote.hasTag(parcel.tag))) continue;
        o.onTree?.(parcel.title);
        const { scratch, seal } = this.#o;
        const sent = await sendParcel(remote, parcel, {
          tree,
          scratch: join(scratch, 'push'),
          seal,
          ...(o.tar ? { tar: o.tar } : {}),
        });
        pushed.trees += 1;
        pushed.bytes += sent.bytes;
      }
    } catch (error) {
      this.#giveUp(remote, error, 'what was made stays on this machine');
    }
    return pushed;
  }

  #mayPull(remote: Remote): boolean {
    return !this.#failed.has(remote.name) && !this.#distrusted.has(remote.name);
  }

  #giveUp(remote: Remote, error: unknown, consequence: string): void {
    if (this.#failed.has(remote.name)) return;
    this.#failed.add(remote.name);
    this.#warn(remote, error, consequence);
  }

  #distrust(remote: Remote, tag: string, error: unknown): void {
    this.#wrong.add(tag);
    if (this.#distrusted.has(remote.name)) return;
    this.#distrusted.add(remote.name);
    this.#warn(remote, error, withoutIt);
  }

  #warn(remote: Remote, error: unknown, consequence: string): void {
    this.#o.say(`Warning: ${remote.name}: ${messageOf(error)}; ${consequence}`);
  }
}

/** Does the work for each, several at a time, in their order. */
async function eachOf<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items];
  const worker = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: parallel }, worker));
}
