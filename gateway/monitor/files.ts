import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Files of /proc and /sys. Read at once, not by node's threads: the kernel has them in memory, and four hops
 * to a thread for each of twenty files are what would cost.
 */
export class Files {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  path(path: string): string {
    return join(this.#root, path);
  }

  /** Undefined if there is none, or it cannot be read: a machine need not have it. */
  text(path: string): string | undefined {
    try {
      return readFileSync(this.path(path), 'utf8');
    } catch {
      return undefined;
    }
  }

  number(path: string): number | undefined {
    const text = this.text(path)?.trim();
    return text !== undefined && /^-?\d+$/.test(text) ? Number(text) : undefined;
  }

  names(path: string): string[] {
    try {
      return readdirSync(this.path(path)).toSorted();
    } catch {
      return [];
    }
  }
}

/** Speeds of what the kernel only counts. */
export class Rates {
  readonly #before = new Map<string, { total: number; at: number }>();

  /**
   * @param at Seconds of a clock that nobody sets.
   * @returns undefined the first time, and after the counter began anew.
   */
  per(key: string, total: number, at: number): number | undefined {
    const before = this.#before.get(key);
    this.#before.set(key, { total, at });
    if (!before || total < before.total || at <= before.at) return undefined;
    return (total - before.total) / (at - before.at);
  }

  /** Forgets what was not asked for since then: interfaces and clients come and go. */
  forget(olderThan: number): void {
    for (const [key, { at }] of this.#before) if (at < olderThan) this.#before.delete(key);
  }
}
