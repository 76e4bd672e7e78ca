import type { KernelState } from '../../kernel-state.ts';
import type { Now } from '../board.ts';
import { type Sample, seriesName } from '../catalogue.ts';
import { type Files, Rates } from '../files.ts';
import type { MonitorSettings } from '../settings.ts';
import { spaceSamples, transferSamples, wearSamples } from './disks.ts';
import { Heat } from './heat.ts';
import { memorySamples, pressureSamples } from './memory.ts';
import { conntrackSamples, networkSamples } from './network.ts';
import { Own } from './own.ts';
import { Processor } from './processor.ts';
import { ClientNames, firewallSamples, vpnSamples } from './vpn.ts';

type Source = {
  kernel: KernelState;
  peerNames(): Promise<ReadonlyMap<string, string>>;
};

/** Measures each thing in its turn, and keeps what it measured last. */
export class Collector {
  readonly #files: Files;
  readonly #kernel: KernelState;
  readonly #names: ClientNames;
  readonly #processor: Processor;
  readonly #heat: Heat;
  readonly #own = new Own();
  readonly #rates = new Rates();
  readonly #groups = new Map<string, { due: number; samples: readonly Sample[] }>();
  readonly #asking = new Set<string>();

  constructor(files: Files, source: Source) {
    this.#files = files;
    this.#kernel = source.kernel;
    this.#names = new ClientNames(() => source.peerNames());
    this.#processor = new Processor(files);
    this.#heat = new Heat(files);
  }

  /**
   * @param watched Somebody looks at the dashboard: clients' traffic is asked for each time. Else rarely, as
   *   each question starts a process.
   * @returns when what has to be asked for is there, too; nobody need wait for it.
   */
  async collect({ intervals }: MonitorSettings, now: Now, watched: boolean): Promise<void> {
    this.#group('system', intervals.system, now, () => [
      ...this.#processor.samples(),
      ...memorySamples(this.#files),
      ...pressureSamples(this.#files),
      ...this.#heat.samples(),
      ...networkSamples(this.#files, this.#rates, now.steady),
      ...conntrackSamples(this.#files),
      ...transferSamples(this.#files, this.#rates, now.steady),
      ...this.#own.samples(now.steady),
    ]);
    this.#group('slow', intervals.slow, now, () => {
      // What was not seen for long is gone.
      this.#rates.forget(now.steady - 3600);
      return [...spaceSamples(this.#files), ...wearSamples(this.#files)];
    });
    await Promise.all([
      this.#ask('vpn', intervals.wireguard, now, watched, () =>
        vpnSamples(this.#kernel, this.#names, this.#rates, now.time, now.steady),
      ),
      this.#ask('firewall', Math.max(intervals.wireguard, intervals.slow), now, false, () =>
        firewallSamples(this.#kernel, this.#rates, now.steady),
      ),
    ]);
  }

  /** One of each series: of two clients with one name, the first. */
  samples(): Sample[] {
    const samples = new Map<string, Sample>();
    for (const group of this.#groups.values())
      for (const sample of group.samples) {
        const name = seriesName(sample);
        if (!samples.has(name)) samples.set(name, sample);
      }
    return [...samples.values()];
  }

  #group(name: string, every: number, now: Now, measure: () => Sample[]): void {
    if (this.#isDue(name, now))
      this.#groups.set(name, { due: now.steady + every, samples: measure() });
  }

  /** A tenth of a second early is in time: a timer is never exact. */
  #isDue(name: string, now: Now): boolean {
    return now.steady >= (this.#groups.get(name)?.due ?? 0) - 0.1;
  }

  async #ask(
    name: string,
    every: number,
    now: Now,
    watched: boolean,
    ask: () => Promise<Sample[]>,
  ): Promise<void> {
    if (this.#asking.has(name) || !(watched || this.#isDue(name, now))) return;
    this.#asking.add(name);
    try {
      this.#groups.set(name, { due: now.steady + every, samples: await ask() });
    } catch {
      // A device without a VPN or a firewall has no state of it.
      this.#groups.set(name, { due: now.steady + every, samples: [] });
    } finally {
      this.#asking.delete(name);
    }
  }
}
