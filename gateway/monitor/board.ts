import type { Sample } from './catalogue.ts';
import type { CheckDefinition, Finding } from './checks/check.ts';
import type { Check, Health } from './monitor.ts';

/** Seconds since 1970, and seconds of a clock that nobody sets. */
export type Now = { time: number; steady: number };

type Entry = {
  definition: CheckDefinition;
  check: Check;
  /** Steady seconds of the next look, and of the beginning of the last that has ended. */
  due: number;
  looked: number;
  looking: boolean;
  /** Since when, and how often in a row, it was found otherwise than `check.health` says. */
  doubt: { health: Health; since: number; looks: number } | undefined;
  samples: readonly Sample[];
};

const severity: Record<Health, number> = { ok: 0, unknown: 0, warning: 1, failed: 2 };

/** Looks at everything in its turn, and says how it is. */
export class Board {
  #entries = new Map<string, Entry>();
  readonly #onChange: (check: Check) => void;

  constructor(onChange: (check: Check) => void = () => undefined) {
    this.#onChange = onChange;
  }

  /** Takes other checks; those that go on keep what is known of them. */
  define(definitions: readonly CheckDefinition[], now: Now): void {
    const before = this.#entries;
    this.#entries = new Map(
      definitions.map((definition) => {
        const { id, title, needs } = definition;
        const known = before.get(id);
        const check = known
          ? { ...known.check, title, needs }
          : {
              id,
              title,
              needs,
              health: 'unknown' as const,
              detail: 'Not looked at yet',
              since: now.time,
            };
        return [
          id,
          {
            definition,
            check,
            due: now.steady,
            looked: known?.looked ?? Number.NEGATIVE_INFINITY,
            looking: false,
            doubt: known?.doubt,
            samples: known?.samples ?? [],
          },
        ];
      }),
    );
  }

  checks(): Check[] {
    return [...this.#entries.values()].map(({ check }) => check);
  }

  get(id: string): Check | undefined {
    return this.#entries.get(id)?.check;
  }

  definitions(): CheckDefinition[] {
    return [...this.#entries.values()].map(({ definition }) => definition);
  }

  samples(): Sample[] {
    return [...this.#entries.values()].flatMap(({ samples }) => samples);
  }

  /**
   * Begins the looks that are due.
   * @param clock Asked again when a look has ended, which may be seconds later.
   */
  async look(clock: () => Now): Promise<void> {
    const now = clock();
    const due = [...this.#entries.values()].filter(
      (entry) => !entry.looking && entry.due <= now.steady + early,
    );
    await Promise.all(
      due.map(async (entry) => {
        entry.looking = true;
        entry.due = now.steady + entry.definition.every;
        try {
          const finding = await entry.definition.look();
          this.#take(entry, finding, now, clock());
        } catch (error) {
          const detail = `It cannot be looked at: ${error instanceof Error ? error.message : error}`;
          this.#take(entry, { health: 'unknown', detail }, now, clock());
        } finally {
          entry.looking = false;
        }
      }),
    );
  }

  #take(entry: Entry, finding: Finding, began: Now, now: Now): void {
    // The settings have changed meanwhile.
    if (this.#entries.get(entry.definition.id) !== entry) return;
    entry.looked = began.steady;
    entry.samples = finding.samples ?? [];
    const { health } = entry.check;
    if (finding.health === health) {
      entry.doubt = undefined;
      entry.check = { ...entry.check, detail: finding.detail };
      return;
    }
    if (severity[finding.health] > severity[health]) {
      const doubt =
        entry.doubt?.health === finding.health
          ? entry.doubt
          : { health: finding.health, since: began.steady, looks: 0 };
      doubt.looks += 1;
      entry.doubt = doubt;
      const { confirm } = entry.definition;
      const sure = this.#explained(entry, doubt.since, now) || doubt.looks >= confirm + patience;
      if (doubt.looks < confirm || !sure) {
        // Again soon, not only in its turn.
        entry.due = Math.min(entry.due, now.steady + soon);
        return;
      }
    }
    entry.doubt = undefined;
    entry.check = {
      ...entry.check,
      health: finding.health,
      detail: finding.detail,
      since: now.time,
    };
    this.#onChange(entry.check);
  }

  /**
   * Whether all that it needs has been looked at since it began to fail and is known to be well or not: of a
   * line that goes down, the line is told, and not what fails on it a second earlier. Those that have not been
   * looked at are looked at now.
   */
  #explained(entry: Entry, since: number, now: Now): boolean {
    let all = true;
    for (const id of this.#needsOf(entry.definition.id)) {
      const need = this.#entries.get(id);
      if (!need || severity[need.check.health] === 2) continue;
      if (need.looked >= since && !need.doubt) continue;
      all = false;
      if (!need.looking) need.due = Math.min(need.due, now.steady);
    }
    return all;
  }

  /** All that it needs, and that needs in turn. */
  #needsOf(id: string, seen = new Set<string>()): Set<string> {
    for (const need of this.#entries.get(id)?.definition.needs ?? [])
      if (!seen.has(need)) {
        seen.add(need);
        this.#needsOf(need, seen);
      }
    return seen;
  }

  /** The first of what it needs that has failed. */
  failedNeed(id: string): Check | undefined {
    for (const need of this.#needsOf(id)) {
      const check = this.get(need);
      if (need !== id && check?.health === 'failed') return check;
    }
    return undefined;
  }
}

/** Further looks after which it is told in any case: checks may need each other. */
const patience = 6;

/** Seconds: a timer is never exact, and a tick later would be 10. */
const early = 0.1;

/** Seconds until something that was found to be worse is looked at again. */
const soon = 10;
