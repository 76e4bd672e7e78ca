import { readIfThere, writeDurably } from './system.ts';

export type Entry = {
  step: string;
  state: 'started' | 'done' | 'failed';
  at: string;
  reason?: string;
};

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

  async add(entry: Omit<Entry, 'at'>): Promise<void> {
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
  const entry = value as Partial<Entry> | null;
  return typeof entry?.step === 'string' && typeof entry.state === 'string';
}
