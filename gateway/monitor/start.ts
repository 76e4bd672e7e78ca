import type { System } from '../../firstboot/system.ts';
import type { Condition } from '../alerts/condition.ts';
import type { KernelState } from '../kernel-state.ts';
import { Board, type Now } from './board.ts';
import { Bus } from './bus.ts';
import { entryOf, type Sample, seriesName } from './catalogue.ts';
import { allChecks } from './checks/all.ts';
import { Clock } from './checks/clock.ts';
import { Uplink } from './checks/network.ts';
import { Systemd } from './checks/units.ts';
import { Collector } from './collect/collector.ts';
import { checkConditions, diskConditions, hintConditions } from './conditions.ts';
import { Files } from './files.ts';
import { fullIn } from './forecast.ts';
import { Hints } from './hints.ts';
import { HistoryFile } from './history/file.ts';
import { Recorder } from './history/history.ts';
import { imageName, readImage } from './image.ts';
import type { Alert, History, Monitor, MonitorEvent } from './monitor.ts';
import { exposition } from './prometheus.ts';
import { Keeper } from './restarts.ts';
import type { MonitorSettings } from './settings.ts';
import { type Threshold, thresholds, Watch } from './thresholds.ts';

export type MonitorOptions = {
  system: System;
  kernel: KernelState;
  settings: MonitorSettings;
  /** Names of the VPN's clients by public key: their files are root's. */
  peerNames(): Promise<ReadonlyMap<string, string>>;
  /** Has the helper restart a service, by its id in the service registry. */
  restart(service: string): Promise<void>;
  /** Each look's conditions, all of them that are known. */
  onConditions(conditions: readonly Condition[]): void;
  /** The alerts that stand: monitoring only passes them on. */
  alerts(): readonly Alert[];
};

export type RunningMonitor = Monitor & {
  /** Takes other settings, without a gap in what is measured. */
  configure(settings: MonitorSettings): void;
  /** Passes an alert's beginning or end on to those who listen. */
  announce(alert: Alert): void;
  /** Ends all that runs, and saves the history. */
  stop(): Promise<void>;
};

/** Where the history is kept: the daemon's StateDirectory. */
export const historyFile = '/var/lib/pi-gatewayd/history.bin';

/** What tests replace. */
export type Surroundings = { clock: () => Now; bus: Bus };

const deviceClock = (): Now => ({ time: Date.now() / 1000, steady: performance.now() / 1000 });

/** Looks at the device now and then until it is stopped. */
export async function startMonitor(options: MonitorOptions): Promise<RunningMonitor> {
  const monitoring = await Monitoring.make(options, { clock: deviceClock, bus: new Bus() });
  return monitoring.run();
}

/** Seconds after boot in which services may not have come up yet: that they do not run is no failure. */
const settling = 120;

export class Monitoring implements Monitor {
  readonly #options: MonitorOptions;
  readonly #clock: () => Now;
  readonly #files: Files;
  readonly #systemd: Systemd;
  readonly #uplink = new Uplink();
  readonly #time: Clock;
  readonly #collector: Collector;
  readonly #recorder = new Recorder();
  readonly #file: HistoryFile;
  readonly #hints = new Hints();
  readonly #watch = new Watch();
  readonly #board: Board;
  readonly #keeper: Keeper;
  readonly #listeners = new Set<(event: MonitorEvent) => void>();
  /** Steady seconds of the next save; work under way; what was said of the last one's failure. */
  #save: { due: number; running: Promise<void>; problem: string };
  #settings: MonitorSettings;
  #limits: Threshold[];
  #samples: readonly Sample[] = [];
  #timer: NodeJS.Timeout | undefined;

  private constructor(options: MonitorOptions, { clock, bus }: Surroundings) {
    const { system, settings } = options;
    this.#options = options;
    this.#clock = clock;
    this.#settings = settings;
    this.#files = new Files(system.root);
    this.#systemd = new Systemd(bus);
    this.#time = new Clock(this.#files);
    this.#collector = new Collector(this.#files, options);
    this.#file = new HistoryFile(this.#files.path(historyFile), this.#recorder);
    this.#board = new Board((check) => this.#tell({ type: 'check', check }));
    this.#keeper = new Keeper((service) => {
      system.say(`${service} is restarted: it runs, but its check has failed for long`);
      return options.restart(service);
    });
    this.#limits = thresholds(readImage(this.#files), settings);
    this.#recorder.pace = settings.intervals.system;
    this.#save = {
      due: clock().steady + settings.history.save,
      running: Promise.resolve(),
      problem: '',
    };
  }

  static async make(options: MonitorOptions, surroundings: Surroundings): Promise<Monitoring> {
    const monitoring = new Monitoring(options, surroundings);
    const said = await monitoring.#file.load();
    if (said !== undefined) options.system.say(said);
    monitoring.#hints.learn(monitoring.#recorder);
    monitoring.#recorder.onQuarter = (slot) => monitoring.#hints.take(monitoring.#recorder, slot);
    monitoring.#defineChecks();
    return monitoring;
  }

  /** Begins to look, and goes on until it is stopped. */
  run(): RunningMonitor {
    this.#schedule();
    this.#beat();
    return this;
  }

  #schedule(): void {
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.#beat(), this.#settings.intervals.system * 1000);
  }

  #beat(): void {
    this.#guard(() => {
      this.tick().looks.catch((error) => this.#wrong(error));
    });
  }

  /** What goes wrong with those who are told is said, and stops neither the others nor the next look. */
  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#wrong(error);
    }
  }

  #wrong(error: unknown): void {
    const problem = error instanceof Error ? error.message : String(error);
    // Once, not at every look.
    if (problem === this.#problem) return;
    this.#problem = problem;
    const where = error instanceof Error ? error.stack : problem;
    this.#options.system.say(`Monitoring went wrong: ${where}`);
  }
  #problem = '';

  /** One look at everything that is due. What takes time goes on beside it, and is seen by the next. */
  tick(): { looks: Promise<void>; saved: Promise<void> } {
    const now = this.#clock();
    const looks = this.#settled() ? this.#board.look(this.#clock) : Promise.resolve();
    const kept = this.#keeper.keep(this.#board, now.steady);
    const watched = this.#listeners.size > 0;
    const collected = this.#collector.collect(this.#settings, now, watched);
    const samples = [...this.#collector.samples(), ...this.#board.samples()];
    this.#samples = [...samples, ...this.#forecasts(samples)];
    this.#record(now);
    this.#guard(() => this.#options.onConditions(this.conditions(now)));
    if (watched) this.#tell({ type: 'series', series: this.series() });
    if (now.steady >= this.#save.due) this.#saveLater(now);
    return {
      looks: Promise.all([looks, kept, collected]).then(() => undefined),
      saved: this.#save.running,
    };
  }

  conditions(now: Now): Condition[] {
    return [
      ...this.#watch.conditions(this.#limits, this.#samples, now.steady),
      ...diskConditions(this.#samples, this.#settings.forecast_days),
      ...checkConditions(this.#board.checks(), this.#keeper),
      ...(this.#settings.hints ? hintConditions(this.#hints.hints()) : []),
    ];
  }

  series() {
    return this.#samples.map((sample) => ({
      name: seriesName(sample),
      unit: entryOf(sample.measure).unit,
      value: sample.value,
    }));
  }

  checks() {
    return this.#board
      .checks()
      .map((check) => ({ ...check, detail: check.detail + this.#keeper.note(check.id) }));
  }

  alerts(): readonly Alert[] {
    return this.#options.alerts();
  }

  history(name: string, span: number): History | undefined {
    return this.#recorder.history(name, this.#clock().time, span);
  }

  subscribe(listener: (event: MonitorEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  prometheus(): string {
    return exposition({
      samples: this.#samples,
      checks: this.#board.checks(),
      alerts: this.alerts(),
      image: imageName(this.#files),
    });
  }

  configure(settings: MonitorSettings): void {
    const paced = settings.intervals.system !== this.#settings.intervals.system;
    this.#settings = settings;
    this.#recorder.pace = settings.intervals.system;
    this.#limits = thresholds(readImage(this.#files), settings);
    this.#defineChecks();
    this.#save.due = Math.min(this.#save.due, this.#clock().steady + settings.history.save);
    if (paced && this.#timer) this.#schedule();
  }

  announce(alert: Alert): void {
    this.#tell({ type: 'alert', alert });
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#systemd.close();
    this.#recorder.finishMinute();
    this.#saveLater(this.#clock());
    await this.#save.running;
  }

  /** Bytes handed to the card for the history, and how often. */
  get written(): { bytes: number; times: number } {
    return this.#file.written;
  }

  #defineChecks(): void {
    const definitions = allChecks({
      root: this.#options.system.root,
      files: this.#files,
      image: readImage(this.#files),
      settings: this.#settings,
      systemd: this.#systemd,
      uplink: this.#uplink,
      clock: this.#time,
      now: () => this.#clock().time,
    });
    this.#board.define(definitions, this.#clock());
  }

  /** Kept once it is so: /proc/uptime need not be read for ever. */
  #settled(): boolean {
    this.#isSettled ||=
      Number.parseFloat(this.#files.text('/proc/uptime') ?? 'Infinity') >= settling;
    return this.#isSettled;
  }
  #isSettled = false;

  #forecasts(samples: readonly Sample[]): Sample[] {
    return samples.flatMap((sample) =>
      sample.measure === 'disk.used' && sample.label !== undefined
        ? [
            {
              measure: 'disk.full_in',
              label: sample.label,
              value: this.#forecast(seriesName(sample)),
            },
          ]
        : [],
    );
  }

  /** A line through 672 values, anew only when there is another one. */
  #forecast(series: string): number | undefined {
    const slot = this.#recorder.wholeQuarter;
    const known = this.#known.get(series);
    if (known?.slot === slot) return known.seconds;
    const seconds = fullIn(this.#recorder, series);
    this.#known.set(series, { slot, seconds });
    return seconds;
  }
  readonly #known = new Map<string, { slot: number; seconds: number | undefined }>();

  #record(now: Now): void {
    const values = new Map<string, number>();
    for (const sample of this.#samples)
      if (sample.value !== undefined && !entryOf(sample.measure).momentary)
        values.set(seriesName(sample), sample.value);
    this.#recorder.record(now.time, values, this.#time.known);
  }

  #saveLater(now: Now): void {
    this.#save.due = now.steady + this.#settings.history.save;
    this.#save.running = this.#save.running.then(async () => {
      try {
        await this.#file.save();
        this.#save.problem = '';
      } catch (error) {
        const problem = `The history cannot be saved: ${error instanceof Error ? error.message : error}`;
        // Once, not every ten minutes: a full disk stays full.
        if (problem !== this.#save.problem) this.#options.system.say(problem);
        this.#save.problem = problem;
      }
    });
  }

  #tell(event: MonitorEvent): void {
    for (const listener of this.#listeners) this.#guard(() => listener(event));
  }
}
