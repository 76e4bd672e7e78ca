/** Lets a limited number of works run at the same time, the others in the order of their asking. */
export class Gate {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /** @param slots works that may run at the same time, at least 1. */
  constructor(slots: number) {
    this.#free = slots;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      // The slot goes to the next that waits, or back.
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free += 1;
    }
  }
}

/** Runs each work once, by its key; whoever asks again gets the same result or error. */
export class Once {
  readonly #results = new Map<string, Promise<unknown>>();

  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const known = this.#results.get(key);
    if (known) return known as Promise<T>;
    const result = work();
    this.#results.set(key, result);
    return result;
  }
}
