import { readdir, readFile } from 'node:fs/promises';
import { run } from './exec.ts';

/** What a build has needed at its peak; goes into manifest.json. */
export type Resources = {
  /** Bytes: the sum of the proportional set sizes (Pss, proc(5)) of all processes of the build. */
  peak_memory: number;
  /** Bytes on disk of the scratch and output folders, beyond what the cache keeps. */
  peak_disk: number;
  /** How the two were measured. */
  method: string;
};

/** Milliseconds between two looks at the memory. */
const memoryInterval = 500;
/** Milliseconds between two looks at the disk: each walks the scratch folder. */
const diskInterval = 3000;

/**
 * Samples what the processes of this PID namespace and some folders need.
 *
 * Memory is sampled, not read from a control group's `memory.peak`: that counts the page cache of all
 * files that were read and written, which a machine with less memory simply would not keep. A peak
 * between two samples is missed; the builder's large processes live for seconds.
 */
export class Meter {
  #memory = 0;
  #disk = 0;
  readonly #folders = new Set<string>();
  #timers: NodeJS.Timeout[] = [];
  #looking: { memory?: Promise<void> | undefined; disk?: Promise<void> | undefined } = {};

  start(): void {
    this.#timers = [
      setInterval(() => void this.#look('memory'), memoryInterval).unref(),
      setInterval(() => void this.#look('disk'), diskInterval).unref(),
    ];
  }

  /** Counts what lies in a folder from now on; it need not exist yet. */
  watch(folder: string): void {
    this.#folders.add(folder);
  }

  /** The peaks up to now. */
  async peaks(): Promise<Resources> {
    await Promise.all([this.#look('memory'), this.#look('disk')]);
    return {
      peak_memory: this.#memory,
      peak_disk: this.#disk,
      method: `memory: Pss of all processes, every ${memoryInterval / 1000} s; disk: blocks of scratch and output, every ${diskInterval / 1000} s`,
    };
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.#timers = [];
  }

  /** One look at a time: on a busy machine one may take longer than the interval. */
  #look(what: 'memory' | 'disk'): Promise<void> {
    this.#looking[what] ??= (async () => {
      try {
        if (what === 'memory') this.#memory = Math.max(this.#memory, await memoryInUse());
        else this.#disk = Math.max(this.#disk, await blocksOf([...this.#folders]));
      } finally {
        this.#looking[what] = undefined;
      }
    })();
    return this.#looking[what];
  }
}

/** Bytes (Pss) of every process that /proc shows: in the build's PID namespace, those of the build. */
export async function memoryInUse(): Promise<number> {
  const processes = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const sizes = await Promise.all(
    processes.map(async (pid) => {
      // A process may end between the two calls.
      const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
      return Number(/^Pss:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024;
    }),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** Bytes on disk of the folders; what is mounted below them is not theirs. */
export async function blocksOf(folders: readonly string[]): Promise<number> {
  if (folders.length === 0) return 0;
  // Files come and go while du walks, and a folder may not be there yet.
  const { stdout } = await run('du', ['-xsc', '--block-size=1', ...folders], { okCodes: [1] });
  return Number(/^(\d+)\ttotal$/m.exec(stdout)?.[1] ?? 0);
}
