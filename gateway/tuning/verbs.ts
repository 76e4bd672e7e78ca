import * as z from 'zod';
import { at, type System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { readForeignJson } from '../foreign-file.ts';
import { defineVerb } from '../helper/verb.ts';
import { readUnits } from '../services/units.ts';
import { hasTuning } from './request.ts';
import {
  measureArgs,
  measureFile,
  measurement,
  mtuArgs,
  mtuFile,
  mtuReport,
  statusFile,
  type TuningView,
  tuningStatus,
  tuningView,
} from './view.ts';

const none = z.strictObject({});

/** Looks that take long run in units of their own: the helper has no network. */
const units = {
  mtu: 'pi-gateway-net-mtu.service',
  measure: 'pi-gateway-net-measure.service',
} as const;

export const tuningVerbs = {
  'tuning.state': defineVerb({
    summary: 'Reads what network tuning has set, and what was measured',
    args: none,
    result: tuningView,
    changes: false,
    run: (system) => readTuning(system),
  }),
  'tuning.measure': defineVerb({
    summary: 'Measures latency under load, without shaping and with it',
    args: measureArgs,
    result: tuningView,
    changes: true,
    run: (system, { server, port: number, seconds }) =>
      begin(system, 'measure', [
        ...['tune', '--measure', '--server', server],
        ...['--port', String(number), '--seconds', String(seconds)],
      ]),
  }),
  'tuning.mtu': defineVerb({
    summary: 'Looks for the largest packet that gets to VPN clients whole',
    args: mtuArgs,
    result: tuningView,
    changes: true,
    run: (system, { addresses }) => begin(system, 'mtu', ['mtu', ...addresses]),
  }),
} as const;

export async function readTuning(system: System): Promise<TuningView> {
  const read = async <T>(path: string, schema: z.ZodType<T>): Promise<T | null> => {
    const found = schema.safeParse(await readForeignJson(at(system, path)));
    return found.success ? found.data : null;
  };
  const running = await readUnits(system, Object.values(units)).catch(
    () => new Map<string, { state: string }>(),
  );
  const isRunning = (unit: string) =>
    ['active', 'activating'].includes(running.get(unit)?.state ?? '');
  return {
    available: await hasTuning(system),
    status: await read(statusFile, tuningStatus),
    mtu: await read(mtuFile, mtuReport),
    measurement: await read(measureFile, measurement),
    running: isRunning(units.mtu) ? 'mtu' : isRunning(units.measure) ? 'measure' : null,
  };
}

async function begin(
  system: System,
  what: keyof typeof units,
  args: readonly string[],
): Promise<TuningView> {
  const { available, running } = await readTuning(system);
  if (!available)
    throw new GatewayError(
      'This image was built without network tuning',
      'Build one with it: stages: {tuning: {}} in gateway.yaml',
      'missing',
    );
  if (running !== null)
    throw new GatewayError(
      `A look of this kind is under way already: ${running}`,
      'Wait for its end, at most some minutes',
      'conflict',
    );
  await system.run('systemd-run', [
    '--quiet',
    '--collect',
    `--unit=${units[what]}`,
    '--property=Type=oneshot',
    '--property=RuntimeMaxSec=10min',
    '--no-block',
    '/usr/bin/pi-gateway',
    'net',
    ...args,
  ]);
  return { ...(await readTuning(system)), running: what };
}
