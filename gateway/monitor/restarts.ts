import type { Board } from './board.ts';

/**
 * systemd restarts what ends. A service that runs but does not do its work is restarted here: after two minutes,
 * then ever more rarely, and after five times no more, as it does not help.
 */

/** Seconds from a failure to the first restart. */
const patience = 120;

/** Seconds between the first and the second; each further time twice as many. */
const firstPause = 240;

const mostRestarts = 5;

/** Seconds that it must be well until it counts as mended, and all begins anew. */
const mended = 900;

type Keeping = {
  restarts: number;
  /** Steady seconds of the next restart. */
  next: number;
  wellSince: number | undefined;
  busy: boolean;
  /** What the last one came to, if it did not work. */
  problem: string | undefined;
};

export class Keeper {
  readonly #keeping = new Map<string, Keeping>();
  readonly #restart: (service: string) => Promise<void>;

  constructor(restart: (service: string) => Promise<void>) {
    this.#restart = restart;
  }

  /** Restarts what it is time for. @param steady Seconds of a clock that nobody sets. */
  async keep(board: Board, steady: number): Promise<void> {
    const definitions = board.definitions();
    const ids = new Set(definitions.map(({ id }) => id));
    for (const id of this.#keeping.keys()) if (!ids.has(id)) this.#keeping.delete(id);
    await Promise.all(
      definitions.map(async ({ id, restart }) => {
        if (restart === undefined) return;
        const check = board.get(id);
        if (check?.health === 'failed') await this.#failed(board, id, restart, steady);
        else if (check?.health === 'ok') this.#well(id, steady);
      }),
    );
  }

  /** What was done about a check that has failed, to be added to what was found. */
  note(id: string): string {
    const keeping = this.#keeping.get(id);
    if (!keeping || keeping.wellSince !== undefined) return '';
    if (keeping.problem !== undefined) return `; it could not be restarted: ${keeping.problem}`;
    if (keeping.restarts === 0) return '';
    const times = keeping.restarts === 1 ? 'once' : `${keeping.restarts} times`;
    return keeping.restarts >= mostRestarts
      ? `; restarted ${times} without success, which is not tried again`
      : `; restarted ${times}`;
  }

  async #failed(board: Board, id: string, service: string, steady: number): Promise<void> {
    const keeping = this.#keeping.get(id) ?? {
      restarts: 0,
      next: steady + patience,
      wellSince: undefined,
      busy: false,
      problem: undefined,
    };
    this.#keeping.set(id, keeping);
    if (keeping.wellSince !== undefined) {
      keeping.wellSince = undefined;
      keeping.next = Math.max(keeping.next, steady + patience);
    }
    // A restart mends no line that is down; when that is up again, this has time to follow.
    if (board.failedNeed(id)) keeping.next = Math.max(keeping.next, steady + patience);
    if (keeping.busy || keeping.restarts >= mostRestarts || steady < keeping.next) return;
    keeping.busy = true;
    keeping.restarts += 1;
    keeping.next = steady + firstPause * 2 ** (keeping.restarts - 1);
    try {
      await this.#restart(service);
      keeping.problem = undefined;
    } catch (error) {
      keeping.problem = error instanceof Error ? error.message : String(error);
    } finally {
      keeping.busy = false;
    }
  }

  #well(id: string, steady: number): void {
    const keeping = this.#keeping.get(id);
    if (!keeping) return;
    keeping.wellSince ??= steady;
    if (steady - keeping.wellSince >= mended) this.#keeping.delete(id);
  }
}
