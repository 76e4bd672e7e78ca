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
  #asking = false;

  constructor(files: Files, source: Source) {
    this.#files = files;
    this.#kernel = source.kernel;
    this.#names = new ClientNames(() => source.peerNames());
    this.#processor = new Processor(files);
    this.#heat = new Heat(files);
  }

  /** @returns when what has to be asked for is there, too; nobody need wait for it. */
  async collect({ intervals }: MonitorSettings, now: Now): Promise<void> {
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
    if (this.#isDue('kernel', now)) await this.#ask(intervals.wireguard, now);
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

  async #ask(every: number, now: Now): Promise<void> {
    if (this.#asking) return;
    this.#asking = true;
    try {
      const parts = [
        vpnSamples(this.#kernel, this.#names, this.#rates, now.time, now.steady),
        firewallSamples(this.#kernel, this.#rates, now.steady),
      ];
      // A device without a VPN has no state of it.
      const found = await Promise.all(parts.map((part) => part.catch((): Sample[] => [])));
      this.#groups.set('kernel', { due: now.steady + every, samples: found.flat() });
    } finally {
      this.#asking = false;
    }
  }
}
