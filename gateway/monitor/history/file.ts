import { constants } from 'node:fs';
import { mkdir, open, readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { writeDurably } from '../../../firstboot/system.ts';
import { type Block, decode, encode, type HistoryRecord, magic } from './encoding.ts';
import { type Recorder, tiers } from './history.ts';

/** Bytes that are appended until the file is written anew: about 3 days of 60 series. */
const longestTail = 1_000_000;

/** Bytes of a file that this program would not make. */
const longestFile = 16_000_000;

/**
 * Keeps the history on the card: one file, to which the minutes since the last time are appended, and which
 * now and then is written anew without what is too old. After a power cut it holds all that was saved before.
 */
export class HistoryFile {
  readonly #path: string;
  readonly #recorder: Recorder;
  readonly #ids = new Map<string, number>();
  /** The last minute that is in the file. */
  #saved = -1;
  /** Bytes appended since the file was written anew; Infinity: it must be. */
  #tail = Number.POSITIVE_INFINITY;
  /** Bytes handed to the file system, and how often, since the start. */
  readonly written = { bytes: 0, times: 0 };

  constructor(path: string, recorder: Recorder) {
    this.#path = path;
    this.#recorder = recorder;
  }

  /** @returns what is to be said about it, if it was not whole. */
  async load(): Promise<string | undefined> {
    let file: Buffer;
    try {
      const { size } = await stat(this.#path);
      if (size > longestFile) return `${this.#path} is too long for a history: it begins anew`;
      file = await readFile(this.#path);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      return code === 'ENOENT'
        ? undefined
        : `${this.#path} cannot be read, so the history begins anew: ${message}`;
    }
    const { records, lost } = decode(file);
    this.#restore(records);
    if (records.length > 0) this.#saved = this.#recorder.wholeMinute;
    if (lost === 0 && records.length > 0) {
      this.#tail = Math.max(0, file.length - this.#baseLength(records));
      return undefined;
    }
    return records.length === 0
      ? `${this.#path} is no history that this version can read: it begins anew`
      : `The last ${lost} bytes of ${this.#path} are damaged, as by a power cut: what came before is kept`;
  }

  /** Writes what is new. Nothing, if nothing is. */
  async save(): Promise<void> {
    const to = this.#recorder.wholeMinute;
    if (to < 0) return;
    // The clock was set back, and what it wrote is cut off.
    if (to < this.#saved) this.#tail = Number.POSITIVE_INFINITY;
    else if (to === this.#saved) return;
    // Numbers of series that are gone are not given again: they would run out.
    if (this.#tail > longestTail || this.#ids.size > 60_000) await this.#writeAnew(to);
    else await this.#append(to);
    this.#saved = to;
  }

  async #append(to: number): Promise<void> {
    const from = Math.max(this.#saved + 1, to - tiers[1].size + 1);
    const news = this.#recorder.names().filter((name) => !this.#ids.has(name));
    const bytes = Buffer.concat([
      ...(news.length > 0
        ? [encode({ kind: 'names', names: news.map((name) => this.#number(name)) })]
        : []),
      encode(this.#block(1, from, to)),
    ]);
    try {
      // Not made if it is gone: it would have no beginning.
      const file = await open(this.#path, constants.O_WRONLY | constants.O_APPEND);
      try {
        await file.writeFile(bytes);
        await file.datasync();
      } finally {
        await file.close();
      }
    } catch (error) {
      // Half of it may be there; nothing may come after that.
      this.#tail = Number.POSITIVE_INFINITY;
      throw error;
    }
    this.#count(bytes.length);
    this.#tail += bytes.length;
  }

  async #writeAnew(to: number): Promise<void> {
    this.#ids.clear();
    const quarter = this.#recorder.wholeQuarter;
    const names = this.#recorder.names().map((name) => this.#number(name));
    const bytes = Buffer.concat([
      magic,
      encode({ kind: 'names', names }),
      encode(this.#block(2, Math.max(0, quarter - tiers[2].size + 1), quarter)),
      encode(this.#block(1, Math.max(0, to - tiers[1].size + 1), to)),
    ]);
    await mkdir(dirname(this.#path), { recursive: true });
    await writeDurably(this.#path, bytes, 0o600);
    this.#count(bytes.length);
    this.#tail = 0;
  }

  #count(bytes: number): void {
    this.written.bytes += bytes;
    this.written.times += 1;
  }

  #number(name: string): { id: number; name: string } {
    const id = this.#ids.get(name) ?? this.#ids.size;
    this.#ids.set(name, id);
    return { id, name };
  }

  #block(tier: 1 | 2, from: number, to: number): Block {
    return {
      kind: 'block',
      step: tiers[tier].step,
      start: from,
      count: Math.max(0, to - from + 1),
      series: [...this.#ids].map(([name, id]) => ({
        id,
        values: this.#recorder.values(name, tier, from, to),
      })),
    };
  }

  #restore(records: readonly HistoryRecord[]): void {
    const names = new Map<number, string>();
    for (const record of records) {
      if (record.kind === 'names') {
        for (const { id, name } of record.names) {
          names.set(id, name);
          this.#ids.set(name, id);
        }
        continue;
      }
      const quarters = record.step === tiers[2].step;
      // By time, not by series: the clock runs for all of them together.
      for (let index = 0; index < record.count; index += 1)
        for (const { id, values } of record.series) {
          const name = names.get(id);
          const value = values[index];
          if (name === undefined || value === undefined || Number.isNaN(value)) continue;
          if (quarters) this.#recorder.restoreQuarter(record.start + index, name, value);
          else this.#recorder.restoreMinute(record.start + index, name, value);
        }
    }
    // The last minute, too, is whole.
    this.#recorder.finishMinute();
  }

  /** Bytes of what is written when the file is written anew: magic, names, quarters, minutes. */
  #baseLength(records: readonly HistoryRecord[]): number {
    return records.slice(0, 3).reduce((sum, record) => sum + encode(record).length, magic.length);
  }
}
