/** How slow a server may be. */
export type Limits = {
  /** Milliseconds until it begins to answer. */
  answer: number;
  /** While bytes go either way, each span of so many milliseconds … */
  span: number;
  /** … must bring at least so many. */
  leastBytes: number;
};

/**
 * A registry slower than 256 KiB/s costs more time than it saves: all layers are made in minutes. It
 * may take a while to check what it was sent, but not to say that it is there.
 */
export const usualLimits: Limits = { answer: 15_000, span: 15_000, leastBytes: 15 * 256 * 1024 };

/** Ends a request of a server that does not answer or is too slow. */
export class Pace {
  readonly signal: AbortSignal;
  /** Why it was ended. */
  expired: string | undefined;
  readonly #controller = new AbortController();
  readonly #limits: Limits;
  #timer: NodeJS.Timeout | undefined;
  #bytes = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
    this.signal = this.#controller.signal;
    this.waits();
  }

  /** It is the server's turn to answer. */
  waits(): void {
    this.end();
    const { answer } = this.#limits;
    this.#timer = setTimeout(() => this.#expire(`no answer within ${answer / 1000} s`), answer);
  }

  /** Bytes go either way: passes them on and counts them. */
  async *watch(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    this.end();
    const { span, leastBytes } = this.#limits;
    this.#timer = setInterval(() => {
      if (this.#bytes < leastBytes)
        this.#expire(`fewer than ${Math.ceil(leastBytes / 1024)} KiB in ${span / 1000} s`);
      this.#bytes = 0;
    }, span);
    for await (const chunk of bytes) {
      this.#bytes += chunk.length;
      yield chunk;
    }
    this.end();
  }

  end(): void {
    clearTimeout(this.#timer);
  }

  #expire(why: string): void {
    this.expired = why;
    this.end();
    this.#controller.abort();
  }
}
