import { appendFileSync } from 'node:fs';
import { styleText } from 'node:util';

export type StepTiming = { step: string; seconds: number; cached: boolean };

/** One step of the build while it runs. */
export type Step = {
  /** What it is doing now; the end of the line on a terminal. */
  note(text: string): void;
  /** How far it is, in bytes. */
  progress(done: number, total?: number): void;
};

export type ProgressOptions = {
  stream: NodeJS.WriteStream;
  /** A line that is redrawn; otherwise plain lines with the time, for logs. */
  live: boolean;
  color: boolean;
  /** Seconds that each step took the last time, for the remaining time. */
  expected?: Record<string, number>;
  /** What plain lines begin with, where several images are built at once. */
  label?: string;
  /** File that gets each plain line too. */
  log?: string;
};

const frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
/** Milliseconds between redraws of the live line. */
const redraw = 100;
/** Milliseconds between plain lines of one long step. */
const heartbeat = 15_000;

/** Shows what the build does, and keeps each step's time. */
export class Progress {
  readonly timings: StepTiming[] = [];
  readonly #o: ProgressOptions;
  #frame = 0;

  constructor(options: ProgressOptions) {
    this.#o = options;
  }

  /** Runs one step and shows it from start to end. */
  async step<T>(name: string, work: (step: Step) => Promise<T>): Promise<T> {
    const start = performance.now();
    const seconds = () => (performance.now() - start) / 1000;
    let note = '';
    let share: number | undefined;
    let lastPlain = start;
    const left = () => this.#remaining(name, seconds(), share);
    const line = () => [this.#clock(seconds()), left(), note].filter(Boolean).join(' · ');
    const tick = () => {
      if (this.#o.live)
        this.#draw(
          `${this.#paint('cyan', frames[this.#frame++ % frames.length] ?? '')} ${name}  ${line()}`,
        );
      else if (performance.now() - lastPlain > heartbeat) {
        lastPlain = performance.now();
        this.#plain(`${name}: ${line()}`);
      }
    };
    if (!this.#o.live) this.#plain(`${name} …`);
    const timer = setInterval(tick, redraw);
    tick();
    try {
      const result = await work({
        note: (text) => {
          note = text.replaceAll(/\s+/g, ' ').trim();
        },
        progress: (done, total) => {
          share = total ? done / total : undefined;
          note = total
            ? `${mebibytes(done)} of ${mebibytes(total)} MB (${Math.floor((done / total) * 100)} %)`
            : `${mebibytes(done)} MB`;
        },
      });
      this.timings.push({ step: name, seconds: seconds(), cached: false });
      this.#end('green', '✓', `${name}  ${this.#clock(seconds())}`);
      return result;
    } catch (error) {
      this.#end('red', '✗', `${name}  ${this.#clock(seconds())}`);
      throw error;
    } finally {
      clearInterval(timer);
    }
  }

  /** A step that had nothing to do. */
  cached(name: string): void {
    this.timings.push({ step: name, seconds: 0, cached: true });
    this.#end('dim', '✓', `${name}  cached`);
  }

  /** A line of its own. */
  say(text: string): void {
    if (this.#o.live) {
      this.#clear();
      this.#o.stream.write(`${text}\n`);
    } else this.#plain(text);
  }

  #remaining(name: string, spent: number, share: number | undefined): string {
    if (share !== undefined && share > 0.02 && spent > 2)
      return `${this.#clock((spent / share) * (1 - share))} left`;
    const expected = this.#o.expected?.[name];
    return expected && expected > spent + 1 ? `about ${this.#clock(expected - spent)} left` : '';
  }

  #end(color: 'green' | 'red' | 'dim', sign: string, text: string): void {
    if (this.#o.live) {
      this.#clear();
      this.#o.stream.write(`${this.#paint(color, `${sign} ${text}`)}\n`);
    } else this.#plain(`${sign} ${text}`);
  }

  #draw(text: string): void {
    const width = this.#o.stream.columns || 80;
    this.#clear();
    this.#o.stream.write(text.length > width + 8 ? `${text.slice(0, width + 7)}…` : text);
  }

  #clear(): void {
    this.#o.stream.write('\r\x1b[2K');
  }

  #plain(text: string): void {
    const label = this.#o.label === undefined ? '' : `[${this.#o.label}] `;
    const stamped = `${new Date().toISOString().slice(11, 19)} ${label}${text}\n`;
    this.#o.stream.write(stamped);
    if (this.#o.log) appendFileSync(this.#o.log, stamped);
  }

  #clock(seconds: number): string {
    if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
    return `${Math.floor(seconds / 60)} min ${String(Math.round(seconds % 60)).padStart(2, '0')} s`;
  }

  #paint(color: 'green' | 'red' | 'dim' | 'cyan', text: string): string {
    return this.#o.color ? styleText(color, text, { validateStream: false }) : text;
  }
}

function mebibytes(bytes: number): string {
  return (bytes / 1_000_000).toFixed(1);
}
