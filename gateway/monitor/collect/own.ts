import type { Sample } from '../catalogue.ts';

/** What watching costs. */
export class Own {
  #before: { cpu: number; at: number } | undefined;

  /** @param now Seconds of a steady clock. */
  samples(now: number): Sample[] {
    const { user, system } = process.cpuUsage();
    const cpu = (user + system) / 1e6;
    const before = this.#before;
    this.#before = { cpu, at: now };
    return [
      { measure: 'daemon.memory', value: process.memoryUsage.rss() },
      {
        measure: 'daemon.cpu',
        value:
          before && now > before.at ? (100 * (cpu - before.cpu)) / (now - before.at) : undefined,
      },
    ];
  }
}
