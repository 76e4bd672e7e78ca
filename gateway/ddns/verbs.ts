import * as z from 'zod';
import { at, readIfThere, type System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { readForeignJson } from '../foreign-file.ts';
import { defineVerb } from '../helper/verb.ts';
import { readUnits } from '../services/units.ts';
import { ddnsStatus, ddnsView } from './answer.ts';
import { settingsPath, statusFile } from './view.ts';

type DdnsAnswer = z.output<typeof ddnsView>;

const service = 'pi-gateway-ddns.service';
/** `ddns update --again` in a unit of its own: the helper may not touch the service's files. */
const again = 'pi-gateway-ddns-again.service';

/** Milliseconds that an answer waits for the run: it takes a few seconds, unless there is no network. */
const patience = 20_000;
/** Milliseconds between two looks at it. */
const pause = 500;

export const ddnsVerbs = {
  'ddns.status': defineVerb({
    summary: 'Which name has which address',
    args: z.strictObject({}),
    result: ddnsView,
    changes: false,
    run: (system) => readDdns(system),
  }),
  'ddns.update': defineVerb({
    summary: 'Looks for a new address and sends it',
    args: z.strictObject({ again: z.boolean().default(false) }),
    result: ddnsView,
    changes: true,
    run: (system, args) => updateDdns(system, args.again),
  }),
} as const;

async function readDdns(system: System): Promise<DdnsAnswer> {
  const status = ddnsStatus.safeParse(await readForeignJson(at(system, statusFile)));
  return {
    configured: (await readIfThere(at(system, settingsPath))) !== undefined,
    running: await isRunning(system),
    status: status.success ? status.data : null,
  };
}

async function isRunning(system: System): Promise<boolean> {
  const units = await readUnits(system, [service, again]);
  return [...units.values()].some(({ state }) => state === 'activating' || state === 'active');
}

/** @param again asks providers once more that had stopped. @param wait in milliseconds; tests have less. */
export async function updateDdns(
  system: System,
  again: boolean,
  wait = patience,
): Promise<DdnsAnswer> {
  if ((await readIfThere(at(system, settingsPath))) === undefined)
    throw new GatewayError(
      'Dynamic DNS is not set up on this device',
      `Put the ddns: section's content into ${settingsPath} (0600, root); see docs/ddns.md`,
      'missing',
    );
  if (!(await isRunning(system))) await start(system, again);
  const until = performance.now() + wait;
  let answer = await readDdns(system);
  while (answer.running && performance.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, Math.min(pause, wait)));
    answer = await readDdns(system);
  }
  return answer;
}

async function start(system: System, isAgain: boolean): Promise<void> {
  if (isAgain)
    await system.run('systemd-run', [
      '--quiet',
      '--collect',
      `--unit=${again}`,
      '--property=Type=oneshot',
      '--no-block',
      '/usr/bin/pi-gateway',
      'ddns',
      'update',
      '--again',
    ]);
  else await system.run('systemctl', ['start', '--no-block', '--', service]);
}
