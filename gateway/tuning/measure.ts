import type { System } from '../../firstboot/system.ts';
import type { Measurement } from './view.ts';

/**
 * Latency under load: pings beside a transfer that fills the line, in each direction, without shaping and with it
 * (RFC 8290, 1: what bufferbloat is).
 */

export type MeasureOptions = {
  /** An iperf3 server beyond the uplink, of the owner's own. */
  server: string;
  port: number;
  /** Seconds of each of the four transfers. */
  seconds: number;
  /** Takes the shaping away, and puts it back; undefined: there is none. */
  shaping: { off(): Promise<void>; on(): Promise<void> } | undefined;
};

/** Seconds at the start of a transfer that do not count: queues take their time to fill, TCP to find the rate. */
const warmUp = 2;

export async function measure(
  system: System,
  o: MeasureOptions,
  now = new Date(),
): Promise<Measurement> {
  try {
    await o.shaping?.off();
    const idle = median(await pings(system, o.server, 3));
    const before = await underLoad(system, o);
    if (o.shaping === undefined)
      return {
        measured_at: now.toISOString(),
        server: o.server,
        idle_ms: idle,
        before,
        after: null,
        ratio: null,
      };
    await o.shaping.on();
    const after = await underLoad(system, o);
    return {
      measured_at: now.toISOString(),
      server: o.server,
      idle_ms: idle,
      before,
      after,
      ratio: ratioOf(idle, before, after),
    };
  } finally {
    await o.shaping?.on();
  }
}

type Load = Measurement['before'];

/** Of what load adds to the latency in its worse direction, the part that shaping leaves. */
export function ratioOf(idle: number, before: Load, after: Load): number | null {
  const added = (one: Load) => Math.max(0, Math.max(one.upload_ms, one.download_ms) - idle);
  // Less than a millisecond is no bufferbloat to begin with.
  if (added(before) < 1) return null;
  return Math.round((added(after) / added(before)) * 1000) / 1000;
}

async function underLoad(system: System, o: MeasureOptions): Promise<Load> {
  const up = await transfer(system, o, []);
  const down = await transfer(system, o, ['--reverse']);
  return { upload_mbit: up.mbit, upload_ms: up.ms, download_mbit: down.mbit, download_ms: down.ms };
}

async function transfer(
  system: System,
  { server, port, seconds }: MeasureOptions,
  flags: readonly string[],
): Promise<{ mbit: number; ms: number }> {
  const whole = seconds + warmUp;
  const [text, times] = await Promise.all([
    system.run(
      'iperf3',
      // Four at once, as a browser or a backup has them.
      [
        '--client',
        server,
        '--port',
        String(port),
        '--time',
        String(whole),
        '--parallel',
        '4',
        '--json',
        ...flags,
      ],
      { timeout: (whole + 20) * 1000 },
    ),
    new Promise((resolve) => setTimeout(resolve, warmUp * 1000)).then(() =>
      pings(system, server, seconds),
    ),
  ]);
  const { end } = JSON.parse(text) as { end: { sum_received: { bits_per_second: number } } };
  return { mbit: Math.round(end.sum_received.bits_per_second / 1e4) / 100, ms: median(times) };
}

/** Round trips in milliseconds, four a second. @throws Error if nobody answers. */
async function pings(system: System, address: string, seconds: number): Promise<number[]> {
  const count = String(Math.max(3, Math.round(seconds * 4) - 2));
  const text = await system.run('ping', ['-n', '-i', '0.25', '-W', '5', '-c', count, address], {
    timeout: (seconds + 20) * 1000,
  });
  return roundTrips(text);
}

/** ping(8), `time=12.3 ms`. */
export function roundTrips(text: string): number[] {
  return [...text.matchAll(/ time[=<]([\d.]+) ms/g)].map((one) => Number(one[1]));
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return Math.round((sorted[Math.floor(sorted.length / 2)] ?? 0) * 100) / 100;
}
