import { at, readIfThere, type System } from '../../firstboot/system.ts';
import { readForeignJson } from '../foreign-file.ts';
import { changeRate } from './apply.ts';
import { type AutorateState, type Direction, nextRates } from './autorate.ts';
import { median, roundTrips } from './measure.ts';
import { readRequest } from './request.ts';
import type { Uplink } from './settings.ts';
import { mirrorOf, type Shaper } from './shaping.ts';
import { statusFile, tuningStatus } from './view.ts';

/** Changes that are smaller are not worth a call of tc. */
const worth = 0.02;

/** Follows every uplink that is to adapt, until it is stopped. */
export async function followRates(system: System, signal: AbortSignal): Promise<void> {
  const { uplinks } = await readRequest(system);
  const status = tuningStatus.safeParse(await readForeignJson(at(system, statusFile)));
  await Promise.all(
    uplinks.flatMap((one) => {
      const shaper = status.data?.uplinks.find(
        ({ interface: name }) => name === one.interface,
      )?.shaper;
      // Pings would wait in a plain queue of ours, and look like the line's.
      return one.autorate && shaper && shaper !== 'fifo'
        ? [follow(system, one, shaper, signal)]
        : [];
    }),
  );
}

async function follow(
  system: System,
  uplink: Uplink,
  shaper: Shaper,
  signal: AbortSignal,
): Promise<void> {
  const { interface: device, autorate } = uplink;
  const direction = (rate: number | undefined): Direction | undefined =>
    rate === undefined
      ? undefined
      : { rate, highest: rate, lowest: (rate * (autorate?.lowest ?? 100)) / 100 };
  let state: AutorateState = {
    baseline: undefined,
    upload: direction(uplink.upload),
    download: direction(uplink.download),
  };
  const inForce = { upload: uplink.upload ?? 0, download: uplink.download ?? 0 };
  let last = await counters(system, device);
  let round = 0;
  while (!signal.aborted) {
    const targets = autorate?.ping ?? [];
    const latency = await look(system, targets[round % targets.length] ?? '', signal);
    round += 1;
    const now = await counters(system, device);
    const seconds = (now.at - last.at) / 1000;
    const rate = (bytes: number) => Math.max(0, (bytes * 8) / 1e6 / seconds);
    state = nextRates(state, {
      latency,
      sent: rate(now.sent - last.sent),
      received: rate(now.received - last.received),
    });
    last = now;
    for (const [name, target] of [
      ['upload', device],
      ['download', mirrorOf(device)],
    ] as const) {
      const wanted = state[name]?.rate;
      if (wanted === undefined || Math.abs(wanted / inForce[name] - 1) < worth) continue;
      await changeRate(system, target, wanted, shaper);
      inForce[name] = wanted;
    }
  }
}

/** Takes about a second, answered or not. */
async function look(
  system: System,
  target: string,
  signal: AbortSignal,
): Promise<number | undefined> {
  const begun = performance.now();
  const text = await system
    .run('ping', ['-n', '-c', '4', '-i', '0.25', '-W', '1', target], { timeout: 5000, signal })
    .catch(() => '');
  const rest = 1000 - (performance.now() - begun);
  if (rest > 0 && !signal.aborted) await new Promise((resolve) => setTimeout(resolve, rest));
  const times = roundTrips(text);
  return times.length === 0 ? undefined : median(times);
}

type Counters = { at: number; sent: number; received: number };

async function counters(system: System, device: string): Promise<Counters> {
  const read = async (name: string) =>
    Number((await readIfThere(at(system, `/sys/class/net/${device}/statistics/${name}`))) ?? 0);
  return {
    at: performance.now(),
    sent: await read('tx_bytes'),
    received: await read('rx_bytes'),
  };
}
