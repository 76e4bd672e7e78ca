import { readIfThere, writeDurably } from './system.ts';

export type Entry = {
  step: string;
  state: 'started' | 'done' | 'failed';
  at: string;
  reason?: string;
};

const states = new Set<string>(['started', 'done', 'failed']);

/**
 * What the first boot has done, on disk before the next step starts. For people and for support:
 * the steps themselves look at the device, so a lost or damaged journal costs nothing but history.
 */
export class Journal {
  readonly #path: string;
  #entries: Entry[] = [];

  constructor(path: string) {
    this.#path = path;
  }

  async load(): Promise<void> {
    const text = await readIfThere(this.#path);
    this.#entries = text === undefined ? [] : parseJournal(text);
  }

  get entries(): readonly Entry[] {
    return this.#entries;
  }

  /** True if the step was begun, and its end is not on record: power was cut, or the program killed. */
  isOpen(step: string): boolean {
    return this.#entries.findLast((entry) => entry.step === step)?.state === 'started';
  }

  /** Every boot of a device that waits for its owner adds some; more than this nobody reads. */
  async add(entry: Omit<Entry, 'at'>): Promise<void> {
    this.#entries = this.#entries.slice(-199);
    this.#entries.push({ ...entry, at: new Date().toISOString() });
    await writeDurably(this.#path, `${JSON.stringify(this.#entries, null, 1)}\n`, 0o600);
  }
}

/** The entries of a journal file; what is no journal counts as an empty one. */
export function parseJournal(text: string): Entry[] {
  try {
    const data: unknown = JSON.parse(text);
    return Array.isArray(data) ? data.filter(isEntry) : [];
  } catch {
    return [];
  }
}

function isEntry(value: unknown): value is Entry {
  if (typeof value !== 'object' || value === null) return false;
  const { step, state, at, reason } = value as Record<string, unknown>;
  return (
    typeof step === 'string' &&
    typeof state === 'string' &&
    states.has(state) &&
    typeof at === 'string' &&
    (reason === undefined || typeof reason === 'string')
  );
}
