import type { History } from '../monitor.ts';

/** Finest first: 10 s for an hour, a minute for a day, 15 minutes for 30 days. */
export const tiers = [
  { step: 10, size: 360 },
  { step: 60, size: 1440 },
  { step: 900, size: 2880 },
] as const;

/** 18.7 KB each: all of them take less than 5 MB. */
export const mostTracks = 256;

/** Seconds that a clock may be set back without its being a new time: what was recorded stays. */
const tolerance = 120;

/** The values of one series in rings, and what the coarser ones are averaged of. */
type Track = {
  rings: [Float32Array, Float32Array, Float32Array];
  minute: { sum: number; count: number };
  quarter: { sum: number; count: number };
  /** Minute in which it last had a value. */
  seen: number;
};

/**
 * History in memory, bounded in time and in number of series. All rings share one time line: slot n of a tier
 * stands for the seconds from n × step on.
 */
export class Recorder {
  readonly #tracks = new Map<string, Track>();
  /** The newest slot of each tier that has been begun; -1: none. */
  readonly #latest: [number, number, number] = [-1, -1, -1];
  /** The last 15 minutes that are whole. */
  #wholeQuarter = -1;
  /** Seconds from one look to the next: what is finer has holes. */
  pace = 10;
  /** Called when 15 minutes are whole. */
  onQuarter: (slot: number) => void = () => undefined;

  names(): string[] {
    return [...this.#tracks.keys()];
  }

  /** The newest minute that is whole; -1: none. */
  get wholeMinute(): number {
    return this.#latest[1] - 1;
  }

  get wholeQuarter(): number {
    return this.#wholeQuarter;
  }

  /**
   * Takes what was measured now.
   * @param trusted The time is known to be right. A Pi starts with the time of its last shutdown or of the
   *   image: values of such a time are not recorded rather than put over the history.
   * @returns false if it was not recorded.
   */
  record(time: number, values: ReadonlyMap<string, number>, trusted: boolean): boolean {
    const latest = this.#latest[0] * tiers[0].step;
    if (time < latest) {
      if (time > latest - tolerance || !trusted) return false;
      // What is later than a time that is right was recorded by a clock that was wrong.
      this.#cut(time);
    }
    this.#begin(time);
    this.#fineSince = Math.min(this.#fineSince, time);
    for (const [name, value] of values) {
      const track = this.#track(name);
      if (!track || !Number.isFinite(value)) continue;
      track.rings[0][this.#latest[0] % tiers[0].size] = value;
      track.minute.sum += value;
      track.minute.count += 1;
      track.seen = this.#latest[1];
    }
    return true;
  }

  /** Puts back a minute that was saved. */
  restoreMinute(slot: number, name: string, value: number): void {
    const track = this.#track(name);
    if (!track || slot < this.#latest[1]) return;
    if (slot > this.#latest[1]) this.#begin(slot * 60);
    this.#fineSince = Number.POSITIVE_INFINITY;
    track.minute = { sum: value, count: 1 };
    track.seen = slot;
  }

  /** Puts back 15 minutes that were saved; all of them come before the minutes. */
  restoreQuarter(slot: number, name: string, value: number): void {
    const track = this.#track(name);
    if (!track) return;
    if (slot > this.#latest[2]) this.#advance(2, slot);
    if (slot > this.#latest[2] - tiers[2].size) track.rings[2][slot % tiers[2].size] = value;
    this.#wholeQuarter = Math.max(this.#wholeQuarter, slot);
    track.seen = Math.max(track.seen, slot * 15);
  }

  /** Ends the minute under way, so that it can be saved. */
  finishMinute(): void {
    if (this.#latest[1] >= 0) this.#begin((this.#latest[1] + 1) * 60);
  }

  /** Values of a tier from slot to slot, both included; NaN where there is none. */
  values(name: string, tier: 0 | 1 | 2, from: number, to: number): Float32Array {
    const values = new Float32Array(Math.max(0, to - from + 1)).fill(Number.NaN);
    const ring = this.#tracks.get(name)?.rings[tier];
    const latest = this.#latest[tier];
    const { size } = tiers[tier];
    if (!ring) return values;
    for (let slot = Math.max(from, latest - size + 1, 0); slot <= Math.min(to, latest); slot += 1)
      values[slot - from] = ring[slot % size] ?? Number.NaN;
    return values;
  }

  /** The finest values that reach back so far. */
  history(name: string, time: number, span: number): History | undefined {
    const track = this.#tracks.get(name);
    if (!track) return undefined;
    const tier = this.#tierFor(time - span);
    const { step } = tiers[tier];
    // The slot under way is not whole but in the finest.
    const to = Math.floor(time / step) - (tier === 0 ? 0 : 1);
    const from = Math.max(Math.floor((time - span) / step) + 1, to - tiers[tier].size + 1);
    return {
      start: from * step,
      step,
      values: [...this.values(name, tier, from, to)].map((value) =>
        Number.isNaN(value) ? null : value,
      ),
    };
  }

  /** After a restart the finest ring is empty, and minutes tell more of the last hour. */
  #tierFor(from: number): 0 | 1 | 2 {
    const fine = Math.max(this.#fineSince, (this.#latest[0] - tiers[0].size) * tiers[0].step);
    if (from >= fine && this.pace <= tiers[0].step) return 0;
    const minutes = (this.#latest[1] - tiers[1].size) * tiers[1].step;
    return from >= minutes && this.pace <= tiers[1].step ? 1 : 2;
  }

  /** Seconds since 1970 of the first value in the finest ring. */
  #fineSince = Number.POSITIVE_INFINITY;

  #track(name: string): Track | undefined {
    const found = this.#tracks.get(name);
    if (found) return found;
    if (this.#tracks.size >= mostTracks && !this.#makeRoom()) return undefined;
    const track: Track = {
      rings: [empty(0), empty(1), empty(2)],
      minute: { sum: 0, count: 0 },
      quarter: { sum: 0, count: 0 },
      seen: this.#latest[1],
    };
    this.#tracks.set(name, track);
    return track;
  }

  /** Forgets the series that has had no value for longest; none that had one in the last hour. */
  #makeRoom(): boolean {
    const [oldest] = [...this.#tracks].toSorted(([, a], [, b]) => a.seen - b.seen);
    if (!oldest || oldest[1].seen > this.#latest[1] - 60) return false;
    return this.#tracks.delete(oldest[0]);
  }

  /** Begins the slots of this time; those before it are whole. */
  #begin(time: number): void {
    const [fine, minute, quarter] = tiers.map(({ step }) => Math.floor(time / step)) as [
      number,
      number,
      number,
    ];
    if (minute > this.#latest[1]) {
      this.#endMinute();
      if (quarter > this.#latest[2]) {
        this.#endQuarter();
        this.#advance(2, quarter);
      }
      this.#advance(1, minute);
    }
    if (fine > this.#latest[0]) this.#advance(0, fine);
  }

  #endMinute(): void {
    const slot = this.#latest[1];
    if (slot < 0) return;
    const counts = Math.floor(slot / 15) > this.#wholeQuarter;
    for (const track of this.#tracks.values()) {
      if (track.minute.count === 0) continue;
      const value = track.minute.sum / track.minute.count;
      track.rings[1][slot % tiers[1].size] = value;
      track.minute = { sum: 0, count: 0 };
      if (!counts) continue;
      track.quarter.sum += value;
      track.quarter.count += 1;
    }
  }

  #endQuarter(): void {
    const slot = this.#latest[2];
    if (slot <= this.#wholeQuarter) return;
    for (const track of this.#tracks.values()) {
      if (track.quarter.count === 0) continue;
      track.rings[2][slot % tiers[2].size] = track.quarter.sum / track.quarter.count;
      track.quarter = { sum: 0, count: 0 };
    }
    this.#wholeQuarter = slot;
    this.onQuarter(slot);
  }

  /** Makes room for slots up to this one: what lay there is older than the ring. */
  #advance(tier: 0 | 1 | 2, slot: number): void {
    const { size } = tiers[tier];
    const from = Math.max(this.#latest[tier] + 1, slot - size + 1);
    for (const track of this.#tracks.values()) blank(track.rings[tier], from, slot);
    this.#latest[tier] = slot;
  }

  /** Forgets all from this time on. */
  #cut(time: number): void {
    for (const tier of [0, 1, 2] as const) {
      const { step, size } = tiers[tier];
      const slot = Math.floor(time / step);
      const from = Math.max(slot, this.#latest[tier] - size + 1);
      for (const track of this.#tracks.values()) blank(track.rings[tier], from, this.#latest[tier]);
      this.#latest[tier] = Math.min(this.#latest[tier], slot - 1);
    }
    this.#wholeQuarter = Math.min(this.#wholeQuarter, this.#latest[2]);
    for (const track of this.#tracks.values()) {
      track.minute = { sum: 0, count: 0 };
      track.quarter = { sum: 0, count: 0 };
      track.seen = Math.min(track.seen, this.#latest[1]);
    }
  }
}

const empty = (tier: 0 | 1 | 2) => new Float32Array(tiers[tier].size).fill(Number.NaN);

function blank(ring: Float32Array, from: number, to: number): void {
  if (to - from + 1 >= ring.length) ring.fill(Number.NaN);
  else for (let slot = from; slot <= to; slot += 1) ring[slot % ring.length] = Number.NaN;
}
